"""Pooling against PyTorch in value and gradient, for random shapes and settings; nets and frames for it.

The chapter does this with 200 cases each, and so does this file unless LESSON8_EXAMPLES says otherwise.
"""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, strategies as st

from conftest import many
from lesson8.objects import large_objects, small_objects, vote_of_sixteen
from lesson8.pooling import (AdaptiveConcatPool2d, adaptive_avg_pool2d, adaptive_max_pool2d, avg_pool2d,
                             max_pool2d, pool_net, shift)


def pairs(low, high):
    one = st.integers(low, high)
    return one | st.tuples(one, one)


def both(v): return v if isinstance(v, tuple) else (v, v)


@st.composite
def maps(draw, least=(1, 1)):
    """Maps in double precision, with a batch axis or without; empty batches and single pixels are among them.

    Every other time they are a few whole numbers, so that windows have ties."""
    grow = draw(st.sampled_from((0, 1, 8)))
    size = [o + draw(st.integers(0, grow)) for o in least]
    gen = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    n, c = draw(st.integers(0, 3)), draw(st.integers(1, 4))
    x = torch.randn(n, c, *size, generator=gen, dtype=torch.float64)
    if draw(st.booleans()): x = x.round()
    return x[0] if len(x) and draw(st.booleans()) else x


@st.composite
def cases(draw, dilated):
    "Maps and settings of a pooling that fits them; windows as large as the padded map among them."
    k, d = draw(pairs(1, 5)), draw(pairs(1, 3)) if dilated else 1
    p = tuple(draw(st.integers(0, o//2)) for o in both(k))
    least = [max(1, d*(o - 1) + 1 - 2*q) for o, d, q in zip(both(k), both(d), p)]
    stride, ceil = draw(st.none() | pairs(1, 6)), draw(st.booleans())
    kwargs = dict(kernel_size=k, stride=stride, padding=p, ceil_mode=ceil)
    if dilated: kwargs |= dict(dilation=d)
    else:
        divisor = draw(st.none() | st.sampled_from((-3, 1, 2, 9)))
        kwargs |= dict(count_include_pad=draw(st.booleans()), divisor_override=divisor)
    return draw(maps(least)), kwargs


def same(ours, theirs, x, **kwargs):
    "Equal value, equal gradient under the same random gradient of the output."
    a, b = (x.clone().requires_grad_() for _ in range(2))
    ya, yb = ours(a, **kwargs), theirs(b, **kwargs)
    torch.testing.assert_close(ya, yb, rtol=1e-12, atol=1e-12)
    g = torch.randn_like(yb)
    for u, v in zip(torch.autograd.grad(ya, a, g), torch.autograd.grad(yb, b, g)):
        torch.testing.assert_close(u, v, rtol=1e-12, atol=1e-12)


@many
@given(cases(dilated=True))
def test_max_pool2d(case):
    x, kwargs = case
    assume(not max_pool2d(torch.zeros_like(x), **kwargs).isinf().any())  # a window of padding only: see below
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
    both = adaptive_max_pool2d, F.adaptive_max_pool2d
    for ours, theirs in zip(*[f(x, output_size, return_indices=True) for f in both]):
        assert torch.equal(ours, theirs)
    max_half, mean_half = AdaptiveConcatPool2d(output_size)(x).chunk(2, -3)
    assert torch.equal(max_half, F.adaptive_max_pool2d(x, output_size))
    torch.testing.assert_close(mean_half, F.adaptive_avg_pool2d(x, output_size))


def test_nothing_but_padding():
    """With a dilation a window may miss a small picture altogether. The value is -inf, as in PyTorch.

    There is no gradient; PyTorch (2.15) returns an index outside the picture there and its backward pass writes
    outside its memory, so it is not called."""
    x = torch.zeros(1, 1, 2, 1, requires_grad=True)
    best, where = max_pool2d(x, 2, None, 1, (3, 2), True, return_indices=True)
    assert torch.equal(best, F.max_pool2d(x.detach(), 2, None, 1, (3, 2), True))
    assert best.isinf().all() and 0 <= where.item() < 2
    best.sum().backward()
    assert not x.grad.any()


def test_infinities_and_dtypes():
    "A window of nothing but -inf points at one of its own cells, not at padding; half precision stays half."
    x = torch.full((1, 3, 3), -torch.inf)
    best, where = max_pool2d(x, 3, 2, 1, return_indices=True)
    assert (best == -torch.inf).all() and ((0 <= where) & (where < 9)).all()
    nan = torch.tensor([[[1., torch.nan], [3., 2.]]])
    assert max_pool2d(nan, 2).isnan().all() and avg_pool2d(nan, 2).isnan().all()
    for dtype in (torch.bfloat16, torch.float16):
        y = torch.randn(2, 3, 6, 6).to(dtype)
        assert torch.equal(max_pool2d(y, 3, 1, 1), F.max_pool2d(y, 3, 1, 1))
        assert avg_pool2d(y, 2).dtype == dtype


@pytest.mark.parametrize('ours, theirs', [(max_pool2d, F.max_pool2d), (avg_pool2d, F.avg_pool2d)])
@pytest.mark.parametrize('args', [(2,), (3, 2), (3, 2, 1), ((3, 2), None, (1, 0))])
def test_defaults_are_those_of_pytorch(ours, theirs, args):
    "Padding counts, nothing sticks out, windows move by their size. (The other tests give all settings.)"
    torch.testing.assert_close(ours(x := torch.randn(2, 3, 8, 7) + 5, *args), theirs(x, *args))


@pytest.mark.parametrize('whole', [np.int64, np.uint8, torch.tensor], ids=['int64', 'uint8', 'tensor'])
def test_whole_numbers_of_numpy_and_torch(whole):
    "Settings read from an array or computed as a tensor are whole numbers."
    x = torch.randn(2, 3, 9, 8)
    k, s, p, two = map(whole, (3, 2, 1, 2))
    assert torch.equal(max_pool2d(x, k, s, p, two), F.max_pool2d(x, 3, 2, 1, 2))
    torch.testing.assert_close(avg_pool2d(x, (k, two), (s, s), p), F.avg_pool2d(x, (3, 2), (2, 2), 1))
    torch.testing.assert_close(adaptive_avg_pool2d(x, k), F.adaptive_avg_pool2d(x, 3))
    assert torch.equal(adaptive_max_pool2d(x, (two, None)), F.adaptive_max_pool2d(x, (2, None)))
    assert AdaptiveConcatPool2d(two)(x).shape == (2, 6, 2, 2)
    assert torch.equal(shift(x, two, p), shift(x, 2, 1))
    digits, y = torch.randint(256, (40, 28, 28), dtype=torch.uint8), torch.arange(40) % 10
    for make, kw in ((small_objects, dict(scraps=3)), (large_objects, dict(size=40, scraps=2)),
                     (vote_of_sixteen, dict(cells=5))):
        theirs = {n: whole(v) for n, v in kw.items()}
        (a, ya), (b, yb) = make(digits, y, whole(6), **theirs), make(digits, y, 6, **kw)
        assert torch.equal(a, b) and torch.equal(ya, yb)


@pytest.mark.parametrize('value', [True, 2., '2', None, (1, 2, 3), 0])
def test_one_clear_error(value):
    "A setting that is not a whole number, or two, is named in one sentence with what is expected."
    x = torch.zeros(1, 1, 4, 4)
    for f in (max_pool2d, avg_pool2d, adaptive_max_pool2d, adaptive_avg_pool2d):
        with pytest.raises(ValueError, match='_size is .*: give a whole number of 1') as e: f(x, value)
        assert repr(value) in str(e.value) and '\n' not in str(e.value)


@pytest.mark.parametrize('down', ['stride', 'max', 'average'])
@pytest.mark.parametrize('head', ['dense', 'average', 'max', 'concat'])
def test_pool_net(head, down):
    "Each layer halves the map as `down` says, down to 7x7, and the head is the pooling that it is called."
    net = pool_net(head, down, channels=(4, 6, 8, 5), size=28, kernels=(3, 5, 3, 3)).eval()
    maps = net[:-4](torch.randn(2, 1, 28, 28))
    pool = dict(max=torch.nn.MaxPool2d, average=torch.nn.AvgPool2d).get(down)
    assert maps.shape == (2, 5, 7, 7) and sum(isinstance(m, pool or ()) for m in net) == (2 if pool else 0)
    heads = dict(dense=maps, average=maps.mean((2, 3)), max=maps.amax((2, 3)),
                 concat=torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], 1))
    torch.testing.assert_close(net[:-2](torch.randn(0, 1, 28, 28)).shape, heads[head].flatten(1)[:0].shape)
    torch.testing.assert_close(net[-4:](maps), net[-1](heads[head].flatten(1)))
    normed = pool_net(head, down, norm=True)
    assert [isinstance(n[-2], torch.nn.BatchNorm1d) for n in (net, normed)] == [False, True]


@pytest.mark.parametrize('down', ['stride', 'max', 'average'])
@pytest.mark.parametrize('size', [28, 33, 56, 7])
def test_pool_net_of_any_size(down, size):
    "A stride keeps the odd row at the end, a pooling drops it; the dense head fits either way."
    net = pool_net('dense', down, (4,)*4, (3,)*4, size)
    assert net(torch.zeros(2, 1, size, size)).shape == (2, 10)


def test_pool_net_as_it_comes():
    "Strides, 8, 16 and 32 kernels of 3x3 without bias (the batch norm behind has one), ten classes."
    shapes = [tuple(p.shape) for p in pool_net('average').parameters() if p.ndim > 1]
    assert shapes == [(8, 1, 3, 3), (16, 8, 3, 3), (32, 16, 3, 3), (10, 32)]
    convs = [m for m in pool_net('average') if isinstance(m, torch.nn.Conv2d)]
    assert [m.stride[0] for m in convs] == [2, 2, 1] and not any(m.bias is not None for m in convs)


@pytest.mark.parametrize('f', [max_pool2d, avg_pool2d])
def test_padding_is_at_most_half_a_window(f):
    x = torch.zeros(1, 1, 6, 6)
    for k in (2, 3, 4):
        assert f(x, k, 1, k//2).shape[-1] == 6 + 2*(k//2) - k + 1
        with pytest.raises(ValueError, match=f'padding is {k//2 + 1} and the'): f(x, k, 1, k//2 + 1)


def test_shift():
    x = torch.arange(1, 7).view(1, 2, 3)
    moves = {(1, 0): [[0, 1, 2], [0, 4, 5]], (-1, 0): [[2, 3, 0], [5, 6, 0]], (0, 1): [[0, 0, 0], [1, 2, 3]],
             (0, -1): [[4, 5, 6], [0, 0, 0]], (3, 0): [[0]*3]*2, (0, 0): [[1, 2, 3], [4, 5, 6]]}
    for (right, down), expected in moves.items(): assert shift(x, right, down).tolist() == [expected]
    for kw in (dict(right=4), dict(down=-3), dict(right=1.)):
        with pytest.raises(ValueError, match=f'{[*kw][0]} is .*give a whole number from'): shift(x, **kw)


def shades():
    "One 'digit' a class, evenly grey, so that a cell's shade is its class: 25 for 0, 50 for 1 ..."
    return torch.arange(25, 251, 25, dtype=torch.uint8)[:, None, None].expand(10, 28, 28), torch.arange(10)


def cells(frames):
    "(n, 16, 14, 14): the cells of frames, row by row."
    return frames.view(-1, 4, 14, 4, 14).transpose(2, 3).reshape(-1, 16, 14, 14)


@pytest.mark.parametrize('scraps', [0, 4, 15])
def test_small_objects(scraps):
    "One whole digit, which is the class, at any of 16 places; a scrap is one of a digit's quarters."
    frames, y = small_objects(*shades(), 300, scraps=scraps, seed=1)
    ink = (cells(frames) > 0).flatten(2).sum(2)
    assert frames.shape == (300, 1, 56, 56) and frames.max() <= 1
    assert ((ink == 196).sum(1) == 1).all() and ((ink == 49).sum(1) == scraps).all()
    where = (ink == 196).int().argmax(1)
    shade = cells(frames)[torch.arange(300), where].mean((1, 2))
    assert torch.equal((shade*255/25).round().long() - 1, y)
    assert set(where.tolist()) == set(range(16)) and set(y.tolist()) == set(range(10))
    if scraps:
        first = (cells(frames) > 0)[ink == 49].flatten(1).int().argmax(1)  # each scrap's first pixel
        assert set(first.tolist()) == {0, 7, 7*14, 7*14 + 7}
    assert not torch.equal(frames, small_objects(*shades(), 300, scraps=scraps, seed=2)[0])
    same = torch.equal(frames, small_objects(*shades(), 300, seed=1)[0])
    assert same == (scraps == 15), 'all cells, by default'


@pytest.mark.parametrize('size', [28, 41, 56])
def test_large_objects(size):
    "One digit of size x size pixels, which is the class, anywhere in the frame; the rest is blank."
    frames, y = large_objects(*shades(), 300, size=size, seed=1)
    ink = frames[:, 0] > 0
    assert frames.shape == (300, 1, 56, 56) and torch.equal(ink.sum((1, 2)), torch.full((300,), size*size))
    rows, cols = ink.any(2), ink.any(1)
    assert (rows.sum(1) == size).all() and (cols.sum(1) == size).all()
    assert torch.equal((frames.amax((1, 2, 3))*255/25).round().long() - 1, y) and len(y.unique()) == 10
    where = set(zip(rows.int().argmax(1).tolist(), cols.int().argmax(1).tolist()))
    assert {r for r, _ in where} == set(range(57 - size)) if size > 28 else len(where) > 100
    assert not torch.equal(frames, large_objects(*shades(), 300, size=size, seed=2)[0])
    assert torch.equal(frames, large_objects(*shades(), 300, seed=1)[0]) == (size == 56), 'fills it, by default'


def test_a_large_object_is_the_digit_enlarged():
    "Twice as large by PyTorch's bilinear interpolation; scraps lie on top, and never make a pixel paler."
    digits = torch.randint(256, (40, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    frames, y = large_objects(digits, torch.arange(40), 20)
    twice = F.interpolate(digits[y, None].float()/255, scale_factor=2, mode='bilinear', align_corners=False)
    torch.testing.assert_close(frames, twice)
    alone = large_objects(*shades(), 50, scraps=0)[0].amax((1, 2, 3))
    covered, z = large_objects(*shades(), 50, scraps=16)
    own = ((z + 1)*25/255)[:, None, None, None]
    assert (covered >= own - 1e-6).all() and (covered > own + 1e-6).any() and len(alone) == 50
    over = (cells(covered) > own.view(50, 1, 1, 1) + 1e-6).flatten(2).sum(2)
    assert set(over.unique().tolist()) == {0, 49}, 'a quarter of a cell, or nothing to see'


@pytest.mark.parametrize('k', [1, 6, 16])
def test_vote_of_sixteen(k):
    "k of the 16 cells show the class, the others the other nine; of a class any of its digits is drawn."
    frames, y = vote_of_sixteen(*shades(), 300, cells=k, seed=1)
    shown = (cells(frames).mean((2, 3))*255/25).round().long() - 1
    assert ((shown == y[:, None]).sum(1) == k).all() and set(y.tolist()) == set(range(10))
    if k < 16: assert all(set(shown[y == c].flatten().tolist()) == set(range(10)) for c in range(10))
    assert len({tuple(r) for r in (shown == y[:, None]).int().tolist()}) > 10 or k == 16
    assert not torch.equal(frames, vote_of_sixteen(*shades(), 300, cells=k, seed=2)[0])
    same = torch.equal(frames, vote_of_sixteen(*shades(), 300, seed=1)[0])
    assert same == (k == 6), 'six cells, by default'
    digits = torch.arange(10, 210, 10, dtype=torch.uint8)[:, None, None].expand(20, 28, 28)
    seen = (cells(vote_of_sixteen(digits, torch.arange(20)//2, 300)[0]).mean((2, 3))*25.5).round().unique()
    assert seen.tolist() == list(range(1, 21)), 'both digits of each class'


@pytest.mark.parametrize('make', [small_objects, large_objects, vote_of_sixteen])
def test_full_ink_is_one(make):
    black = torch.full((10, 28, 28), 255, dtype=torch.uint8)
    assert make(black, torch.arange(10), 3)[0].max() == 1
