"""conv2d, conv_matrix and unfold against PyTorch in value and gradient, for random shapes and settings.

The chapter does this with 200 cases, and so does this file unless LESSON8_EXAMPLES says otherwise.
"""
import subprocess, sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, strategies as st

from conftest import many, require
from lesson8.convolutions import conv2d, conv_matrix, conv_net, layer_table, out_size, random_shift, receptive_field, top_patches, unfold


def close(a, b): torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def pairs(low, high): return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def cases(draw):
    "Pictures, weights, bias (or None) in double precision, and settings that fit; kernels as large as the picture, single pixels, empty batches."
    g, k, s, p, d = draw(st.integers(1, 4)), draw(pairs(1, 5)), draw(pairs(1, 5)), draw(pairs(0, 4)), draw(pairs(1, 4))
    more = draw(st.just((0, 0)) | pairs(0, 8))  # (0, 0): the kernel reaches over the whole padded picture
    size = [max(1, d*(k - 1) + 1 - 2*p + m) for k, d, p, m in zip(k, d, p, more)]
    n, c, o = draw(st.integers(0, 4)), g*draw(st.integers(1, 3)), g*draw(st.integers(1, 3))
    gen = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x, w, b = (torch.randn(shape, generator=gen, dtype=torch.float64, requires_grad=True) for shape in ((n, c, *size), (o, c//g, *k), (o,)))
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
    torch._validate_sparse_coo_tensor_args(M.indices(), M.values().detach(), M.shape, is_coalesced=True)  # rows in order, each place once
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
    size = [d*(k - 1) + 1 + m for d, k, m in zip(kw['dilation'], w.shape[2:], x.shape[2:])]  # large enough for 'valid', too
    x = torch.randn(len(x), x.shape[1], *size, dtype=torch.float64, requires_grad=True)
    compare(conv2d(x, w, b, **kw), F.conv2d(x, w, b, **kw), [x, w])


@many
@given(cases(), st.sampled_from(['stride', 'dilation', 'padding', 'groups', 'channels', 'kernels', 'kernel', 'bias', 'type', 'axes']), st.integers(-3, 0))
def test_one_clear_error(case, what, low):
    "What does not go together is a ValueError (for types: TypeError) in one sentence, and PyTorch refuses it, too."
    x, w, b, kw = (t.detach() if isinstance(t, torch.Tensor) else t for t in case)
    b = torch.zeros(len(w), dtype=x.dtype)
    if what in ('stride', 'dilation'): kw[what] = (1, low)
    elif what == 'padding': kw[what] = (low - 1, 0)
    elif what == 'groups': kw[what] = x.shape[1] + 1
    elif what == 'channels': x = torch.cat([x, x[:, :1]], 1)
    elif what == 'kernels': w, b, kw['groups'] = torch.cat([w, w[:1]])[:, :1], torch.zeros(len(w) + 1, dtype=x.dtype), x.shape[1]
    elif what == 'kernel': w = torch.zeros(*w.shape[:2], x.shape[2] + 2*kw['padding'][0] + 1, w.shape[3], dtype=x.dtype)
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
    with pytest.raises(ValueError, match=f'{name} is {value}'): conv2d(torch.ones(1, 1, 3, 3), torch.ones(1, 1, 2, 2), **{name: value})


@many
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12))
def test_shift_keeps_the_picture(n, h, w):
    x = torch.randint(1, 9, (n, 2, h, w))
    y = random_shift(x, 1)
    padded = F.pad(x, (1,)*4)
    for a, p in zip(y, padded): assert any(torch.equal(a, p[:, i:i+h, j:j+w]) for i in range(3) for j in range(3))


def test_receptive_field_is_what_gradients_reach():
    torch.manual_seed(0)
    net = conv_net((4, 4, 4), (5, 3, 3), size=64)[:9].eval()
    with torch.no_grad():
        for m in net.modules():
            if isinstance(m, torch.nn.Conv2d): m.weight.abs_()
    x = torch.rand(1, 1, 64, 64, requires_grad=True)
    y, f = net(x), receptive_field(net)
    for i in (0, 3, y.shape[2] - 1):
        hit = torch.autograd.grad(y[0, 0, i, 4], x, retain_graph=True)[0][0, 0].any(1).nonzero().flatten()
        assert (hit.min().item(), hit.max().item()) == (max(0, f.start + i*f.step), min(63, f.start + i*f.step + f.size - 1))


def test_import_is_light():
    code = 'import lesson8.convolutions, sys; print([m for m in ("pandas", "matplotlib", "fastai", "fastcore", "sklearn", "scipy") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == '[]'


def test_same_on_a_gpu():
    require('gpu', torch.cuda.is_available(), 'a machine with an NVIDIA GPU')
    torch.manual_seed(0)
    x, w, b = (torch.randn(s, dtype=torch.float64) for s in ((3, 4, 9, 8), (6, 2, 3, 3), (6,)))
    xc, wc, bc = (t.cuda() for t in (x, w, b))
    kw = dict(stride=2, padding=1, groups=2)
    close(conv2d(xc, wc, bc, **kw).cpu(), conv2d(x, w, b, **kw))
    close((conv_matrix(wc, (9, 8), **kw) @ xc.flatten(1).T).cpu(), conv_matrix(w, (9, 8), **kw) @ x.flatten(1).T)
    close(random_shift(xc, 0), xc)
    net, pictures = conv_net(), torch.rand(20, 1, 28, 28)
    before = top_patches(net[:4], pictures, 3)
    net.cuda()
    assert torch.equal(top_patches(net[:4], pictures, 3)[0], before[0]) and len(layer_table(net)) == 5
