"""The nine activations against PyTorch's, values and gradients: random numbers, extremes, -0., infinities, nan.

The chapter has short forms of these tests. Beyond them, functions that are broken in one place each show that the
comparison notices.
"""
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, strategies as st

from conftest import many
from lesson8 import activations
from lesson8.activations import Mish, dead_units, grad_of, signal_sizes

CALLS = [('relu', {}), ('leaky_relu', {}), ('leaky_relu', dict(negative_slope=.3)), ('elu', {}), ('elu', dict(alpha=2.)),
         ('gelu', {}), ('gelu', dict(approximate='tanh')), ('silu', {}), ('mish', {}), ('softplus', {}),
         ('softplus', dict(beta=2, threshold=5)), ('sigmoid', {}), ('tanh', {})]
SIGNED = 'relu', 'leaky_relu', 'elu', 'silu', 'mish', 'tanh'  # in gelu PyTorch keeps the sign of 0 at some lengths only
SPECIAL = [0., -0., 1e-8, -1e-8, 1e-30, -1e-30, 20., 20.5, -20., 88., -88., 104., -104., 1e4, -1e4, 3e38, -3e38,
           math.inf, -math.inf, math.nan]
TOLERANCE = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 1e-5, torch.float64: 1e-12}
ids = dict(ids=lambda v: v if isinstance(v, str) else ','.join(f'{k}={w}' for k, w in v.items()))
every = pytest.mark.parametrize('name, settings', CALLS, **ids)


def both(f, x, settings):
    "Value and gradient."
    x = x.clone().requires_grad_()
    y = f(x, **settings)
    return y.detach(), torch.autograd.grad(y.sum(), x)[0]


def same(f, name, x, settings):
    "That f gives what PyTorch's function of this name gives: values, gradients, types, shapes and the sign of 0."
    (y, g), (yt, gt) = both(f, x, settings), both(getattr(F, name), x, settings)
    if name == 'elu': g, gt = (t.where(~x.isnan(), 0) for t in (g, gt))  # PyTorch: 1 or nan, as the length is
    tol = TOLERANCE[x.dtype]
    for a, b in ((y, yt), (g, gt)): torch.testing.assert_close(a, b, rtol=tol, atol=tol, equal_nan=True)
    small = (x.abs() < 1e-6) & (x != 0)                                  # here only a relative difference says anything
    torch.testing.assert_close(y[small], yt[small], rtol=max(tol, 1e-6), atol=0)
    if name in SIGNED: assert torch.equal(y[x == 0].signbit(), yt[x == 0].signbit())


@many
@given(st.sampled_from(CALLS), st.lists(st.one_of(st.sampled_from(SPECIAL), st.floats(width=32)), max_size=12),
       st.sampled_from(list(TOLERANCE)))
def test_any_numbers(call, values, dtype):
    name, settings = call
    same(getattr(activations, name), name, torch.tensor(values, dtype=dtype), settings)


@every
@pytest.mark.parametrize('dtype', TOLERANCE, ids=str)
def test_random_and_special_numbers(name, settings, dtype):
    f, g = getattr(activations, name), torch.Generator().manual_seed(0)
    for x in (torch.randn(1000, generator=g)*3, torch.randn(3, 5, generator=g).T, torch.tensor(SPECIAL),
              torch.tensor(.5), torch.empty(0, 3)):
        same(f, name, x.to(dtype), settings)


@every
def test_first_and_second_derivatives_by_differences(name, settings):
    f = getattr(activations, name)
    x = torch.linspace(-6, 6, 24, dtype=torch.float64).requires_grad_()  # 0, where some have a kink, is not among them
    assert torch.autograd.gradcheck(lambda x: f(x, **settings), x)
    assert torch.autograd.gradgradcheck(lambda x: f(x, **settings), x)
    mapped = torch.func.vmap(torch.func.grad(lambda v: f(v, **settings)))(x.detach())
    torch.testing.assert_close(grad_of(f)(x.detach(), **settings), mapped)


def broken(formula, slope):
    "A function of value `formula` and gradient `slope`."
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x): ctx.save_for_backward(x); return formula(x)
        @staticmethod
        def backward(ctx, grad): return grad*slope(ctx.saved_tensors[0])
    return Broken.apply


BROKEN = {
    'relu: slope 1 at 0': ('relu', F.relu, lambda x: (x >= 0).float()),
    'relu: no slope for nan': ('relu', F.relu, lambda x: (x > 0).float()),
    'relu: the sign of 0 is lost': ('relu', lambda x: F.relu(x) + 0, grad_of(activations.relu)),
    'relu: nan becomes 0': ('relu', lambda x: torch.where(x > 0, x, 0*x.nan_to_num()), grad_of(activations.relu)),
    'leaky_relu: slope of the wrong side at 0': ('leaky_relu', F.leaky_relu, lambda x: torch.where(x >= 0, 1, .01)),
    'elu: exp(x) - 1, rounded': ('elu', lambda x: torch.where(x > 0, x, x.exp() - 1), grad_of(activations.elu)),
    'sigmoid: exp(x) overflows': ('sigmoid', lambda x: x.exp()/(1 + x.exp()), grad_of(activations.sigmoid)),
    'tanh: exp(x) overflows': ('tanh', lambda x: (x.exp() - (-x).exp())/(x.exp() + (-x).exp()), grad_of(activations.tanh)),
    'softplus: overflows': ('softplus', lambda x: (1 + x.exp()).log(), grad_of(activations.softplus)),
    'softplus: slope forgets the threshold': ('softplus', F.softplus, lambda x: x.exp()/(1 + x.exp())),
    'gelu: the tanh formula by default': ('gelu', lambda x: F.gelu(x, approximate='tanh'), grad_of(activations.gelu)),
    'silu: slope without x': ('silu', F.silu, torch.sigmoid),
    'mish: slope off by a thousandth': ('mish', F.mish, lambda x: 1.001*activations.grad_of(activations.mish)(x)),
    'mish: 0 at minus infinity': ('mish', lambda x: F.mish(x.clamp_min(-100)), grad_of(activations.mish)),
}


@pytest.mark.parametrize('what', BROKEN)
def test_a_broken_function_is_noticed(what):
    name, formula, slope = BROKEN[what]
    x = torch.cat([torch.tensor(SPECIAL), torch.linspace(-4, 4, 50)])
    same(getattr(activations, name), name, x, {})
    with pytest.raises(AssertionError): same(broken(formula, slope), name, x, {})


def test_layer_looks_inside_a_net_without_a_trace():
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Dropout(.5), torch.nn.Linear(3, 2), Mish())
    net[0].bias.data[1] = -1e3
    x, y = torch.rand(20, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(20, dtype=torch.long)
    assert dead_units(net, x)['1'].tolist()[1] and list(signal_sizes(net, x, y)) == ['0', '3']
    assert signal_sizes(net, x, y) == signal_sizes(net, x, y)  # dropout is off while it looks
    assert net.training and all(p.grad is None for p in net.parameters()) and not any(m._forward_hooks for m in net)
    with pytest.raises(ValueError, match='no layer of the kind'): dead_units(net[:1], x)
    assert not net[0]._forward_hooks and net.training
