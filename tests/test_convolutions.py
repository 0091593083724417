"""conv2d, conv_matrix and unfold against PyTorch in value and gradient, for random shapes and settings.

The chapter does this with 200 cases, and so does this file unless LESSON8_EXAMPLES says otherwise.
"""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, strategies as st

from conftest import many, require
from lesson8.convolutions import conv2d, conv_matrix, out_size, show_numbers, unfold


def close(a, b): torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def pairs(low, high): return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def cases(draw):
    """Pictures, weights, bias (or None) in double precision, and settings that fit.

    Kernels as large as the picture, single pixels and empty batches are among them."""
    g, k, s, p, d = draw(st.integers(1, 4)), *[draw(pairs(*o)) for o in ((1, 5), (1, 5), (0, 4), (1, 4))]
    more = draw(st.just((0, 0)) | pairs(0, 8))  # (0, 0): the kernel reaches over the whole padded picture
    size = [max(1, d*(k - 1) + 1 - 2*p + m) for k, d, p, m in zip(k, d, p, more)]
    n, c, o = draw(st.integers(0, 4)), g*draw(st.integers(1, 3)), g*draw(st.integers(1, 3))
    gen = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x, w, b = (torch.randn(shape, generator=gen, dtype=torch.float64, requires_grad=True)
               for shape in ((n, c, *size), (o, c//g, *k), (o,)))
    return x, w, b if draw(st.booleans()) else None, dict(stride=s, padding=p, dilation=d, groups=g)


def compare(ours, theirs, wrt):
    "Equal values, and equal gradients under the same random gradient of the output."
    close(ours, theirs)
    g = torch.randn_like(theirs)
    for a, b in zip(torch.autograd.grad(ours, wrt, g), torch.autograd.grad(theirs, wrt, g)): close(a, b)


@many
@given(cases())
def test_conv2d(case):
    x, w, b, kw = case
    wrt = [t for t in (x, w, b) if t is not None]
    compare(conv2d(x, w, b, **kw), F.conv2d(x, w, b, **kw), wrt)
    if len(x): compare(conv2d(x[0], w, b, **kw), F.conv2d(x[0], w, b, **kw), wrt)


@many
@given(cases())
def test_conv_matrix(case):
    x, w, _, kw = case
    y = F.conv2d(x, w, **kw)
    M = conv_matrix(w, tuple(x.shape[2:]), **kw)
    assert M.is_coalesced() and M.shape == (y.shape[1:].numel(), x.shape[1:].numel())
    # rows in order, each place once
    torch._validate_sparse_coo_tensor_args(M.indices(), M.values().detach(), M.shape, is_coalesced=True)
    g = torch.randn_like(y)
    back, = torch.autograd.grad(y, x, g, retain_graph=True)
    compare((M @ x.flatten(1).T).T.reshape(y.shape), y, [x, w])
    close((M.detach().T @ g.flatten(1).T).T.reshape(x.shape), back)


@many
@given(cases())
def test_unfold(case):
    x, w, _, kw = case
    args = tuple(w.shape[2:]), kw['dilation'], kw['padding'], kw['stride']
    compare(unfold(x, *args), F.unfold(x, *args), [x])
    sizes = [out_size(*a) for a in zip(x.shape[2:], w.shape[2:], kw['stride'], kw['padding'], kw['dilation'])]
    assert unfold(x, *args).shape[2] == sizes[0]*sizes[1]


@pytest.mark.filterwarnings('ignore:Using padding')
@many
@given(cases(), st.sampled_from(['same', 'valid']))
def test_padding_by_name(case, name):
    x, w, b, kw = case
    kw |= dict(stride=1, padding=name)
    spans = zip(kw['dilation'], w.shape[2:], x.shape[2:])
    size = [d*(k - 1) + 1 + m for d, k, m in spans]  # large enough for 'valid', too
    x = torch.randn(len(x), x.shape[1], *size, dtype=torch.float64, requires_grad=True)
    compare(conv2d(x, w, b, **kw), F.conv2d(x, w, b, **kw), [x, w])


WRONG = 'stride', 'dilation', 'padding', 'groups', 'channels', 'kernels', 'kernel', 'bias', 'type', 'axes'


@many
@given(cases(), st.sampled_from(WRONG), st.integers(-3, 0))
def test_one_clear_error(case, what, low):
    "What doesn't go together is a ValueError (types: TypeError) in one sentence; PyTorch refuses it, too."
    x, w, b, kw = (t.detach() if isinstance(t, torch.Tensor) else t for t in case)
    b = torch.zeros(len(w), dtype=x.dtype)
    if what in ('stride', 'dilation'): kw[what] = (1, low)
    elif what == 'padding': kw[what] = (low - 1, 0)
    elif what == 'groups': kw[what] = x.shape[1] + 1
    elif what == 'channels': x = torch.cat([x, x[:, :1]], 1)
    elif what == 'kernels':
        w, b = torch.cat([w, w[:1]])[:, :1], torch.zeros(len(w) + 1, dtype=x.dtype)
        kw['groups'] = x.shape[1]
    elif what == 'kernel':
        w = torch.zeros(*w.shape[:2], x.shape[2] + 2*kw['padding'][0] + 1, w.shape[3], dtype=x.dtype)
    elif what == 'bias': b = torch.zeros(len(w) + 1, dtype=x.dtype)
    elif what == 'type': w = w.float()
    elif what == 'axes': x = x[None]
    assume(what != 'kernels' or len(w) % kw['groups'])
    with pytest.raises(TypeError if what == 'type' else ValueError) as e: conv2d(x, w, b, **kw)
    assert '\n' not in str(e.value) and len(str(e.value)) > 30
    if len(x):  # PyTorch looks less closely at an empty batch
        with pytest.raises((RuntimeError, TypeError)): F.conv2d(x, w, b, **kw)


@pytest.mark.parametrize('name', ['groups', 'stride', 'padding', 'dilation'])
@pytest.mark.parametrize('value', [True, 1.])
def test_neither_true_nor_a_float_is_a_whole_number(name, value):
    x, w = torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2)
    with pytest.raises(ValueError, match=f'{name} is {value}'): conv2d(x, w, **{name: value})


@pytest.mark.parametrize('whole', [np.int64, np.uint8, torch.tensor], ids=['int64', 'uint8', 'tensor'])
def test_whole_numbers_of_numpy_and_torch(whole):
    "Settings read from an array or computed as a tensor are whole numbers, in PyTorch as here."
    x, w = torch.randn(2, 4, 9, 8), torch.randn(6, 2, 3, 3)
    kw = dict(stride=2, padding=1, dilation=2, groups=2)
    theirs = {k: whole(v) for k, v in kw.items()}
    torch.testing.assert_close(conv2d(x, w, **theirs), F.conv2d(x, w, **theirs))
    torch.testing.assert_close(conv2d(x, w, **theirs), conv2d(x, w, **kw))
    a, b = conv_matrix(w, (whole(9), whole(8)), **theirs), conv_matrix(w, (9, 8), **kw)
    assert torch.equal(a.to_dense(), b.to_dense())
    del kw['groups'], theirs['groups']
    assert torch.equal(unfold(x, whole(3), **theirs), F.unfold(x, 3, **kw))
    assert torch.equal(unfold(x, (whole(3), 2)), F.unfold(x, (3, 2)))
    places = out_size(whole(9), whole(3), *map(whole, (2, 1, 2)))
    assert places == 4 and type(places) is int


def test_defaults_are_those_of_pytorch():
    x, w = torch.randn(2, 4, 9, 8), torch.randn(6, 4, 3, 3)
    torch.testing.assert_close(conv2d(x, w), F.conv2d(x, w))
    assert torch.equal(unfold(x, 3), F.unfold(x, 3))
    by_matrix = (conv_matrix(w, (9, 8)) @ x.flatten(1).T).T.reshape(2, 6, 7, 6)
    torch.testing.assert_close(by_matrix, F.conv2d(x, w), rtol=1e-4, atol=1e-5)
    assert out_size(9, 3) == F.conv2d(x, w).shape[2]


@pytest.mark.parametrize('name', ['full', 'Same', 'same'])
def test_padding_has_two_names_and_one_of_them_needs_stride_1(name):
    x, w = torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3)
    with pytest.raises(ValueError, match=f"padding is '{name}' with stride"):
        conv2d(x, w, stride=(1, 2), padding=name)
    assert conv2d(x, w, stride=(1, 2), padding='valid').shape == (1, 1, 3, 2)


@pytest.mark.parametrize('stride, dilation', [(0, 1), (1, 0), (1, -2)])
def test_settings_are_checked_beside_a_named_padding(stride, dilation):
    wrong = f'{"stride" if stride < 1 else "dilation"} is'
    x, w = torch.ones(1, 1, 5, 5), torch.ones(1, 1, 3, 3)
    with pytest.raises(ValueError, match=wrong):
        conv2d(x, w, stride=stride, padding='same', dilation=dilation)


def test_show_numbers():
    "Zeros stay blank, and the colours are symmetric about zero: 4 is as strong as -4 would be."
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    ax = show_numbers(torch.tensor([[0., 2.], [-1., 4.]]), plt.figure().gca(), 'a title', '{:.1f}')
    assert sorted(t.get_text() for t in ax.texts) == ['-1.0', '2.0', '4.0'] and ax.get_title() == 'a title'
    assert {t.get_text(): t.get_position() for t in ax.texts}['2.0'] == (1, 0)
    assert ax.images[0].get_clim() == (-4, 4)
    plt.close()


def test_same_on_a_gpu():
    require('gpu', torch.cuda.is_available(), 'a machine with an NVIDIA GPU')
    torch.manual_seed(0)
    x, w, b = (torch.randn(s, dtype=torch.float64) for s in ((3, 4, 9, 8), (6, 2, 3, 3), (6,)))
    xc, wc, bc = (t.cuda() for t in (x, w, b))
    kw = dict(stride=2, padding=1, groups=2)
    close(conv2d(xc, wc, bc, **kw).cpu(), conv2d(x, w, b, **kw))
    ours, theirs = ((conv_matrix(k, (9, 8), **kw) @ t.flatten(1).T).cpu() for k, t in ((wc, xc), (w, x)))
    close(ours, theirs)
