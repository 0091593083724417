"""Max and average pooling, adaptive ones included, against PyTorch in value and gradient, for random shapes and settings.

The chapter does this with 200 cases each, and so does this file unless LESSON8_EXAMPLES says otherwise.
"""
import torch
import torch.nn.functional as F
from hypothesis import assume, given, strategies as st

from conftest import many
from lesson8.pooling import AdaptiveConcatPool2d, adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d, max_pool2d


def pairs(low, high): return st.integers(low, high) | st.tuples(st.integers(low, high), st.integers(low, high))


def both(v): return v if isinstance(v, tuple) else (v, v)


@st.composite
def maps(draw, least=(1, 1)):
    "Maps in double precision, with a batch axis or without: every other time few whole numbers, so that windows have ties; empty batches, single pixels."
    grow = draw(st.sampled_from((0, 1, 8)))
    size = [o + draw(st.integers(0, grow)) for o in least]
    gen = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = torch.randn(draw(st.integers(0, 3)), draw(st.integers(1, 4)), *size, generator=gen, dtype=torch.float64)
    if draw(st.booleans()): x = x.round()
    return x[0] if len(x) and draw(st.booleans()) else x


@st.composite
def cases(draw, dilated):
    "Maps and settings of a pooling that fits them; windows as large as the padded map among them."
    k, d = draw(pairs(1, 5)), draw(pairs(1, 3)) if dilated else 1
    p = tuple(draw(st.integers(0, o//2)) for o in both(k))
    least = [max(1, d*(o - 1) + 1 - 2*q) for o, d, q in zip(both(k), both(d), p)]
    kwargs = dict(kernel_size=k, stride=draw(st.none() | pairs(1, 6)), padding=p, ceil_mode=draw(st.booleans()))
    if dilated: kwargs |= dict(dilation=d)
    else: kwargs |= dict(count_include_pad=draw(st.booleans()), divisor_override=draw(st.none() | st.sampled_from((-3, 1, 2, 9))))
    return draw(maps(least)), kwargs


def same(ours, theirs, x, **kwargs):
    "Equal value, equal gradient under the same random gradient of the output."
    a, b = (x.clone().requires_grad_() for _ in range(2))
    ya, yb = ours(a, **kwargs), theirs(b, **kwargs)
    torch.testing.assert_close(ya, yb, rtol=1e-12, atol=1e-12)
    g = torch.randn_like(yb)
    for u, v in zip(torch.autograd.grad(ya, a, g), torch.autograd.grad(yb, b, g)): torch.testing.assert_close(u, v, rtol=1e-12, atol=1e-12)


@many
@given(cases(dilated=True))
def test_max_pool2d(case):
    x, kwargs = case
    assume(not max_pool2d(torch.zeros_like(x), **kwargs).isinf().any())  # nothing but padding in a window: see below
    same(max_pool2d, F.max_pool2d, x, **kwargs)
    for ours, theirs in zip(*[f(x, **kwargs, return_indices=True) for f in (max_pool2d, F.max_pool2d)]):
        assert torch.equal(ours, theirs)


@many
@given(cases(dilated=False))
def test_avg_pool2d(case): same(avg_pool2d, F.avg_pool2d, case[0], **case[1])


@many
@given(maps(), st.integers(1, 9) | st.tuples(*[st.none() | st.integers(1, 9)]*2))
def test_adaptive(x, output_size):
    same(adaptive_avg_pool2d, F.adaptive_avg_pool2d, x, output_size=output_size)
    same(adaptive_max_pool2d, F.adaptive_max_pool2d, x, output_size=output_size)
    for ours, theirs in zip(*[f(x, output_size, return_indices=True) for f in (adaptive_max_pool2d, F.adaptive_max_pool2d)]):
        assert torch.equal(ours, theirs)
    max_half, mean_half = AdaptiveConcatPool2d(output_size)(x).chunk(2, -3)
    assert torch.equal(max_half, F.adaptive_max_pool2d(x, output_size))
    torch.testing.assert_close(mean_half, F.adaptive_avg_pool2d(x, output_size))


def test_nothing_but_padding():
    """With a dilation a window may miss a small picture altogether. The value is -inf, as in PyTorch, and there is no gradient;
    PyTorch (2.15) notes a place outside the picture there and its backward pass writes outside its memory, so it is not called."""
    x = torch.zeros(1, 1, 2, 1, requires_grad=True)
    best, where = max_pool2d(x, 2, None, 1, (3, 2), True, return_indices=True)
    assert torch.equal(best, F.max_pool2d(x.detach(), 2, None, 1, (3, 2), True)) and best.isinf().all() and 0 <= where.item() < 2
    best.sum().backward()
    assert not x.grad.any()


def test_infinities_and_dtypes():
    "A window of nothing but -inf points at one of its own cells, not at padding; half precision stays half precision."
    x = torch.full((1, 3, 3), -torch.inf)
    best, where = max_pool2d(x, 3, 2, 1, return_indices=True)
    assert (best == -torch.inf).all() and ((0 <= where) & (where < 9)).all()
    nan = torch.tensor([[[1., torch.nan], [3., 2.]]])
    assert max_pool2d(nan, 2).isnan().all() and avg_pool2d(nan, 2).isnan().all()
    for dtype in (torch.bfloat16, torch.float16):
        y = torch.randn(2, 3, 6, 6).to(dtype)
        assert torch.equal(max_pool2d(y, 3, 1, 1), F.max_pool2d(y, 3, 1, 1)) and avg_pool2d(y, 2).dtype == dtype
