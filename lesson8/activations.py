#| export
from contextlib import contextmanager
from functools import wraps
import math
import torch
import torch.nn.functional as F
from torch import Tensor, nn
#| export
from lesson8.checks import check_choice, check_tensor
from lesson8.training import evaluating
#| exports
#| code-fold: true
#| code-summary: "How a formula and its derivative become a step of autograd"
class _Pointwise(torch.autograd.Function):
    "A formula and its derivative as one step of autograd, which keeps the input and nothing else."
    generate_vmap_rule = True  # so that torch.func can map and differentiate it

    @staticmethod
    def forward(x, formula, derivative): return formula(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, _, ctx.derivative = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, grad):  # made of steps that autograd knows: it can be differentiated again
        x, = ctx.saved_tensors
        return grad*ctx.derivative(x), None, None

def _rounded_once(f, args, kwargs):
    "f with its settings; 16-bit numbers are computed with as 32-bit ones, as PyTorch does."
    def call(x):
        if x.dtype not in (torch.float16, torch.bfloat16): return f(x, *args, **kwargs)
        return f(x.float(), *args, **kwargs).to(x.dtype)
    return call

def _as_float(x): return x.to(torch.get_default_dtype())
#| exports
#| code-fold: true
#| code-summary: "The decorator that all nine share"
def _activation(derivative, whole=None):
    """Make a function that autograd knows from a formula and its `derivative`, which take the same arguments.

    `whole` says what is done with whole numbers first; without it they are a TypeError."""
    def decorate(formula):
        @wraps(formula)
        def function(input, *args, **kwargs):
            check_tensor('input', input)
            if whole and not (input.is_floating_point() or input.is_complex()):
                return formula(whole(input), *args, **kwargs)
            check_tensor('input', input, floating=True)
            return _Pointwise.apply(input, *(_rounded_once(f, args, kwargs) for f in (formula, derivative)))
        function.derivative = derivative
        return function
    return decorate

def grad_of(
    activation,  # one of the nine functions of this module
):  # a function of the same arguments
    "The derivative of an activation as a function: `grad_of(mish)(x)`."
    try: return activation.derivative
    except AttributeError: raise ValueError(f'{activation!r} is no activation of this module') from None
#| exports
#| code-fold: true
#| code-summary: "relu, leaky_relu, elu"
def _relu_grad(x): return torch.where(x <= 0, 0, torch.ones_like(x))

@_activation(_relu_grad, whole=lambda x: x)
def relu(
    input: Tensor,  # any shape, whole numbers too
) -> Tensor:  # shape and type of input
    "max(0, x). Twin of `torch.nn.functional.relu`."
    return torch.where(input < 0, 0, input)

def _leaky_relu_grad(x, negative_slope=.01): return torch.where(x > 0, 1, negative_slope*torch.ones_like(x))

@_activation(_leaky_relu_grad)
def leaky_relu(
    input: Tensor,  # any shape
    negative_slope: float = .01,  # slope left of 0
) -> Tensor:  # shape and type of input
    "x where it is positive, `negative_slope`*x elsewhere. Twin of `torch.nn.functional.leaky_relu`."
    return torch.where(input > 0, input, input*negative_slope)

def _elu_grad(x, alpha=1.): return torch.where(x <= 0, alpha*x.clamp_max(0).exp(), 1)

@_activation(_elu_grad)
def elu(
    input: Tensor,  # any shape
    alpha: float = 1.,  # it falls to -alpha
) -> Tensor:  # shape and type of input
    "x where it is positive, alpha*(exp(x) - 1) elsewhere. Twin of `torch.nn.functional.elu`."
    return torch.where(input <= 0, alpha*torch.expm1(input), input)
#| exports
#| code-fold: true
#| code-summary: "sigmoid, tanh, softplus"
def _sigmoid_grad(x): return (s := sigmoid(x))*(1 - s)

@_activation(_sigmoid_grad, whole=_as_float)
def sigmoid(
    input,  # a tensor of any shape, whole numbers too
) -> Tensor:  # shape of input
    "1/(1 + exp(-x)). Twin of `torch.nn.functional.sigmoid`."
    e = (-input.abs()).exp()  # at most 1: nothing overflows
    return torch.where(input < 0, e, 1)/(1 + e)

def _tanh_grad(x): return 1 - tanh(x)**2

@_activation(_tanh_grad, whole=_as_float)
def tanh(
    input,  # a tensor of any shape, whole numbers too
) -> Tensor:  # shape of input
    "(exp(x) - exp(-x))/(exp(x) + exp(-x)). Twin of `torch.nn.functional.tanh`."
    e = torch.expm1(-2*input.abs())  # exact near 0, where exp(x) - 1 is not
    return torch.copysign(e/(2 + e), input)

def _softplus_grad(x, beta=1, threshold=20): return torch.where(beta*x > threshold, 1, sigmoid(beta*x))

@_activation(_softplus_grad)
def softplus(
    input: Tensor,  # any shape
    beta: float = 1,  # how sharply it bends
    threshold: float = 20,  # where beta*x is above it, x itself is taken
) -> Tensor:  # shape and type of input
    "log(1 + exp(beta*x))/beta, a rounded ReLU. Twin of `torch.nn.functional.softplus`."
    bx = beta*input
    return torch.where(bx > threshold, input, (bx.clamp_min(0) + torch.log1p((-bx.abs()).exp()))/beta)
#| exports
#| code-fold: true
#| code-summary: "gelu"
def _gelu_parts(x, approximate):
    "Phi(x), the share of a normal distribution that lies below x, and its derivative."
    if check_choice('approximate', approximate, ('none', 'tanh')) == 'none':
        return torch.erfc(x*-.5**.5)/2, (x*x/-2).exp()*(2*math.pi)**-.5
    a, b = (2/math.pi)**.5, .044715
    t = tanh(a*(x + b*x**3))
    return (1 + t)/2, (1 - t*t)*(a*(1 + 3*b*x*x))/2

def _gelu_grad(x, approximate='none'):
    below, density = _gelu_parts(x, approximate)
    return below + x*density

@_activation(_gelu_grad)
def gelu(
    input: Tensor,  # any shape
    approximate: str = 'none',  # or 'tanh', a formula without the error function
) -> Tensor:  # shape and type of input
    "x*Phi(x), with Phi of the normal distribution. Twin of `torch.nn.functional.gelu`."
    return input*_gelu_parts(input, approximate)[0]
#| exports
#| code-fold: true
#| code-summary: "silu and mish"
def _silu_grad(x): return (s := sigmoid(x))*(1 + x*(1 - s))

@_activation(_silu_grad)
def silu(
    input: Tensor,  # any shape
) -> Tensor:  # shape and type of input
    "x*sigmoid(x), also called swish. Twin of `torch.nn.functional.silu`."
    return input*sigmoid(input)

def _mish_grad(x):
    t = tanh(softplus(x))
    return t + x*(1 - t*t)*sigmoid(x)

@_activation(_mish_grad)
def mish(
    input: Tensor,  # any shape
) -> Tensor:  # shape and type of input
    "x*tanh(softplus(x)). Twin of `torch.nn.functional.mish`."
    return input*tanh(softplus(input))
#| exports
#| code-fold: true
#| code-summary: "Activation and Mish, as layers"
class Activation(nn.Module):
    "An activation as a layer: `Activation(leaky_relu, negative_slope=.2)`."
    def __init__(
        self,
        function,  # of a tensor
        **settings,  # its other arguments
    ):
        super().__init__()
        self.function, self.settings = function, settings

    def forward(self, input: Tensor) -> Tensor: return self.function(input, **self.settings)

    def extra_repr(self):
        return ', '.join([self.function.__name__] + [f'{k}={v}' for k, v in self.settings.items()])

class Mish(Activation):
    "`mish` as a layer; for backward it keeps its input only. Twin of `torch.nn.Mish`."
    def __init__(self): super().__init__(mish)
#| exports
#| code-fold: true
#| code-summary: "dead_units and signal_sizes"
@contextmanager
def _watched(model, kind):
    "While it lasts, a dict fills with the output of each layer of a kind, by name: that of its last call."
    outs = {}
    def note(name): return lambda m, args, out: outs.__setitem__(name, out)
    hooks = [m.register_forward_hook(note(name)) for name, m in model.named_modules() if isinstance(m, kind)]
    if not hooks: raise ValueError(f'the model has no layer of the kind {kind}')
    try: yield outs
    finally:
        for h in hooks: h.remove()

@torch.no_grad()
def dead_units(
    model: nn.Module,  # stays as it is
    x: Tensor,  # (n, ...) the rows to look at, on the model's device
    kind=nn.ReLU,  # class of the layers to look at, or a tuple of classes
) -> dict:  # name of the layer -> (units or channels,) bool
    "Which units answer 0 to every row: ReLU passes them no gradient, so none of these rows can wake them."
    with _watched(model, kind) as outs, evaluating(model): model(x)
    return {name: (out <= 0).transpose(0, 1).flatten(1).all(1) for name, out in outs.items()}

def signal_sizes(
    model: nn.Module,  # stays as it is, gradients too
    x: Tensor,  # (n, ...) rows, 2 or more
    y: Tensor,  # their targets
    loss=F.cross_entropy,  # function of (predictions, targets), a mean
    kind=nn.Linear,  # class of the layers to look at, or a tuple of classes
) -> dict:  # name of the layer -> (spread, gradient)
    """What is left of the signal at each layer, forwards and backwards.

    Spread: how far a unit's answers to different rows differ (standard deviation). Gradient: of a row's loss by
    a unit's answer. Both are root mean squares over the units."""
    def rms(t): return t.square().mean().sqrt().item()
    with torch.enable_grad(), _watched(model, kind) as outs, evaluating(model):
        grads = torch.autograd.grad(loss(model(x), y), list(outs.values()))
    return {name: (rms(out.detach().std(0)), rms(g)*len(x)) for (name, out), g in zip(outs.items(), grads)}