"""Dropout against PyTorch in value, gradient and chance, for random shapes, types and p; Monte Carlo predictions; the net of the chapter.

The same seed gives the same masks on the CPU, so values are compared number by number; that chance itself is right is tested apart.
"""
import copy, math, pickle

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from conftest import many
from lesson8.batches import Batches
from lesson8.dropout import Dropout, Dropout2d, digit_net, dropout_mask, mc_predict

PROBABILITY = st.sampled_from((0., 1.)) | st.floats(0, 1)
FLOATS = st.sampled_from((torch.float64, torch.float32, torch.bfloat16, torch.float16))


def seeded(layer, x, seed, g):
    "(output, gradient of x when g is that of the output) from a seed of the global generator."
    torch.manual_seed(seed)
    x = x.clone().requires_grad_()
    y = layer(x)
    return y, torch.autograd.grad(y, x, g)[0]


@many
@given(st.lists(st.integers(0, 4), max_size=4), PROBABILITY, FLOATS, st.integers(0, 2**31))
def test_dropout(shape, p, dtype, seed):
    x, g = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    (a, ga), (b, gb) = (seeded(make(p), x, seed, g) for make in (Dropout, nn.Dropout))
    assert a.dtype == dtype and torch.equal(a, b) and torch.equal(ga, gb)
    torch.manual_seed(seed)
    mask = dropout_mask(x, p) if p else torch.ones_like(x)
    assert torch.equal(a, x*mask) and torch.equal(ga, g*mask)


@many
@given(st.tuples(*[st.integers(0, 4)]*2, *[st.integers(1, 4)]*2), PROBABILITY, FLOATS, st.integers(0, 2**31))
def test_dropout2d(shape, p, dtype, seed):
    x, g = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    for a, b in zip(*(seeded(make(p), x, seed, g) for make in (Dropout2d, nn.Dropout2d))): assert torch.equal(a, b)
    y = Dropout2d(p)(torch.ones(shape)).flatten(2)
    assert (y == y[..., :1]).all(), 'a channel is kept or lost as a whole'


@pytest.mark.parametrize('p', [.1, .5, .8])
def test_chance(p):
    "Shares of zeros over numbers, rows, columns and batches, each within 4.5 standard deviations: a false alarm in 100,000 checks."
    zeros = (dropout_mask((40, 50, 60), p, torch.Generator().manual_seed(1)) == 0).double()
    for dims in ((0, 1, 2), (0, 1), (0, 2), (1, 2)):
        share = zeros.mean(dims)
        n = zeros.numel()/share.numel()
        assert ((share - p).abs() < 4.5*math.sqrt(p*(1 - p)/n)).all()
    for dim in range(3):  # neighbours along an axis do not hang together
        a, b = zeros.narrow(dim, 1, zeros.shape[dim] - 1) - p, zeros.narrow(dim, 0, zeros.shape[dim] - 1) - p
        assert abs((a*b).mean()) < 4.5*p*(1 - p)/math.sqrt(a.numel())
    layer, ones = Dropout(p), torch.ones(100)
    assert len({tuple(layer(ones).tolist()) for _ in range(20)}) == 20, 'a new mask each time'


@pytest.mark.parametrize('make', [Dropout, Dropout2d])
def test_modes(make):
    "Evaluation mode and p = 0 give the input itself, whatever it is, and use no random number."
    inputs = torch.randn(2, 3, 4, 4), torch.arange(3), torch.tensor([math.nan, math.inf])
    for layer in (make(.7).eval(), make(0), nn.Sequential(make(.5)).eval()):
        state = torch.get_rng_state()
        for x in inputs: assert layer(x) is x
        assert torch.equal(state, torch.get_rng_state())
    layer = make(.5)
    layer.eval(); layer.train()
    assert (layer(torch.ones(9, 9, 2, 2)) == 0).any(), 'and back in training it drops again'


def test_unusual_numbers():
    "What is not finite behaves as in PyTorch: inf times zero is nan."
    x = torch.tensor([math.inf, -math.inf, math.nan, 1.]*8)
    for p in (.5, 1.):
        torch.manual_seed(0); a = Dropout(p)(x)
        torch.manual_seed(0); b = nn.Dropout(p)(x)
        assert torch.equal(a.nan_to_num(7, 8, 9), b.nan_to_num(7, 8, 9))


@pytest.mark.parametrize('p', [-.01, 1.01, math.nan, math.inf, True, None, '0.5', [.5]])
def test_bad_p(p):
    for make in (Dropout, Dropout2d, lambda p: dropout_mask((2, 2), p)):
        with pytest.raises(ValueError, match='p is .*: give a finite number of 0 or more and at most 1'): make(p)


@pytest.mark.parametrize('x', [torch.arange(4).view(1, 1, 2, 2), torch.ones(1, 1, 2, 2, dtype=torch.bool)])
def test_whole_numbers(x):
    "Refused in training with the way out; PyTorch refuses, too."
    for make in (Dropout, Dropout2d):
        with pytest.raises(TypeError, match=r'write x.float\(\)'): make()(x)
    with pytest.raises(RuntimeError): nn.Dropout()(x)


def test_channels_need_four_axes():
    "PyTorch only warns, and takes other shapes as something else."
    for shape in ((3,), (3, 4), (3, 4, 5), (2, 2, 2, 2, 2)):
        with pytest.raises(ValueError, match='x has shape .*: expected'): Dropout2d()(torch.ones(shape))


def test_inplace():
    for make, theirs in ((Dropout, nn.Dropout), (Dropout2d, nn.Dropout2d)):
        x, z = torch.randn(4, 5, 2, 2), None
        y = x.clone()
        torch.manual_seed(0); out = make(.4, True)(y)
        torch.manual_seed(0); z = theirs(.4, True)(x.clone())
        assert out is y and torch.equal(y, z)
        with pytest.raises(RuntimeError, match='in-place'): make(inplace=True)(torch.ones(2, 2, 2, 2, requires_grad=True))
    w = torch.ones(50, requires_grad=True)
    Dropout(.5, True)(w*2).sum().backward()
    assert set(w.grad.tolist()) == {0., 4.}


def test_masks():
    "From a tensor or a shape; a generator of one's own leaves the global one alone; no gradient, no aliasing."
    def g(): return torch.Generator().manual_seed(5)
    state, like = torch.get_rng_state(), torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    a = dropout_mask(like, .3, g())
    assert a.dtype == torch.float64 and not a.requires_grad and not like.any()
    assert torch.equal(state, torch.get_rng_state())
    for shape in ((3, 4), [3, 4], torch.Size((3, 4))):
        assert torch.equal(dropout_mask(shape, .3, g()), dropout_mask(torch.empty(3, 4), .3, g()))
    assert dropout_mask((0, 3)).shape == (0, 3) and dropout_mask(()).shape == ()
    assert not dropout_mask((50,), 1.).any() and (dropout_mask((50,), 0.) == 1).all()
    assert set(dropout_mask((99,), .75).tolist()) == {0., 4.}


def test_layers_are_plain_modules():
    "No weights, no state; copied and pickled; the same words as PyTorch's."
    for a, b in ((Dropout(.3), nn.Dropout(.3)), (Dropout2d(.3, True), nn.Dropout2d(.3, True))):
        assert not list(a.parameters()) and not a.state_dict() and repr(a) == repr(b)
        for c in (copy.deepcopy(a), pickle.loads(pickle.dumps(a))): assert (c.p, c.inplace) == (a.p, a.inplace)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert Dropout()(nn.Linear(3, 3)(torch.ones(2, 3))).dtype == torch.bfloat16
    assert Dropout()(torch.ones(2, 3, device='meta')).device.type == 'meta'


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_on_a_gpu():
    x = torch.ones(1000, device='cuda')
    assert Dropout().to('cuda')(x).device == x.device and .4 < (Dropout()(x) == 0).float().mean() < .6


class Flat(nn.Module):
    "Two inputs, PyTorch's dropout and ours, and batch norm."
    def __init__(self):
        super().__init__()
        self.norm, self.drop, self.ours = nn.BatchNorm1d(6), nn.Dropout(.5), Dropout(.5)
    def forward(self, a, b): return self.ours(self.drop(self.norm(a)) + b)


def batches(n=11, bs=4, **kw):
    gen = torch.Generator().manual_seed(0)
    return Batches((torch.randn(n, 6, generator=gen), torch.ones(n, 6)), torch.arange(n), bs, **kw)


def test_mc_predict():
    "Masks on, all else as when predicting; each layer is afterwards in the mode it was in."
    net = Flat().train(); net.ours.eval()
    state = copy.deepcopy(net.state_dict())
    torch.manual_seed(0)
    outs, y = mc_predict(net, batches(shuffle=False), 300)
    assert outs.shape == (300, 11, 6) and torch.equal(y, torch.arange(11)) and not outs.requires_grad
    assert net.training and net.norm.training and net.drop.training and not net.ours.training
    assert all(torch.equal(v, state[k]) for k, v in net.state_dict().items()), 'batch norm counts nothing'
    for drop in ('drop', 'ours'):
        assert len(outs[:, 0, 0].unique()) == 3, '0, twice b, and twice b plus four times a'
    net.eval()
    with torch.no_grad(): plain = net(*batches(shuffle=False).xs)
    assert (outs.mean(0) - plain).abs().max() < 1.
    assert len({tuple(r.flatten().tolist()) for r in outs}) == 300


def test_mc_predict_keeps_rows_together():
    "Shuffled batches give each row's predictions beside its own target."
    net = nn.Sequential(nn.Flatten(), Dropout(.5)).eval()
    x = torch.arange(1., 10)[:, None].expand(9, 40).clone()
    outs, y = mc_predict(net, Batches(x, torch.arange(9), 4), 5)
    assert torch.equal(outs.amax((0, 2)), 2*(y + 1.)) and y.tolist() != list(range(9))


def test_mc_predict_refuses():
    for net in (nn.Linear(6, 2), nn.Sequential(nn.Dropout(0.), Dropout(0))):
        with pytest.raises(ValueError, match='no dropout layer with p above 0'): mc_predict(net, batches())
    with pytest.raises(ValueError, match='batches is empty'): mc_predict(Dropout(), [])
    for n in (0, 1.5, True):
        with pytest.raises(ValueError, match='n is .*whole number of 1'): mc_predict(Dropout(), batches(), n)


@pytest.mark.parametrize('kw', [{}, dict(conv=False), dict(norm='after dropout'), dict(norm='before dropout', conv=False),
                                dict(width=.125), dict(width=.01), dict(drop2d=True, norm='after dropout')])
def test_digit_net(kw):
    "The p's change neither start values nor, in evaluation mode, the answer; in training they mask what they are called after."
    def make(**more): torch.manual_seed(0); return digit_net(**kw, **more)
    x, plain = torch.rand(6, 1, 28, 28), make()
    for more in (dict(maps=.5), dict(units=.5), dict(pixels=.5), dict(maps=.4, units=.3, pixels=.2)):
        net = make(**more)
        for a, b in zip(plain.parameters(), net.parameters()): assert torch.equal(a, b)
        assert torch.equal(plain.eval()(x), net.eval()(x)) and net(x).shape == (6, 10)
        on = [m for m in net if isinstance(m, Dropout) and m.p]
        expected = [more.get('pixels', 0)]*('pixels' in more) + [more.get('maps', 0)]*2*('maps' in more and kw.get('conv', True))
        assert [m.p for m in on] == expected + [more.get('units', 0)]*(1 if kw.get('conv', True) else 2)*('units' in more)
        if on and kw.get('width', 1) == 1: assert not torch.equal(net.train()(x), net(x))  # a narrow net may be dead
    kinds = [type(m) for m in plain]
    if norm := kw.get('norm'):
        norms = [k for k, t in enumerate(kinds) if t in (nn.BatchNorm1d, nn.BatchNorm2d)]
        step = -1 if norm == 'after dropout' else 1
        assert norms and all(issubclass(kinds[k + step], Dropout) for k in norms)
    assert (Dropout2d in kinds) == kw.get('drop2d', False)


def test_digit_net_refuses():
    with pytest.raises(ValueError, match="norm is 'after': choose 'after dropout'"): digit_net(norm='after')
    with pytest.raises(ValueError, match='p is 1.5'): digit_net(maps=1.5)
