"AdamW beside PyTorch's, and the models and moments for which the hand-derived gradient is refused."
import inspect, pickle

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lesson8.speed import dot_gradient
from lesson8.steps import AdamW
from test_training import ODD, dot, ratings


@pytest.mark.filterwarnings('ignore:Full backward hook')
@pytest.mark.parametrize('make', ODD.values(), ids=ODD)
def test_formula_is_refused_for_another_model(make):
    "The hand-derived gradient holds for DotProductBias itself; else one sentence names why, and the way out."
    with pytest.raises(ValueError, match='and here .*: leave `gradient` out'): dot_gradient(make())


def test_formula_follows_the_model():
    "A range changed later is used; a weight frozen or replaced later is refused before anything moves."
    x, y = ratings()
    model = dot(); gradient = dot_gradient(model)
    for y_range in ((1, 6), None, (0, 9)):
        model.y_range = y_range
        mine, grads = gradient(x, y), [p.grad.clone() for p in model.parameters()]
        model.zero_grad(); loss = F.mse_loss(model(x), y); loss.backward()
        torch.testing.assert_close(mine, loss.detach())
        torch.testing.assert_close([p.grad for p in model.parameters()], grads, rtol=1e-4, atol=1e-6)
    model.item_bias.requires_grad_(False)
    with pytest.raises(ValueError, match='has been frozen'): gradient(x, y)
    model.item_bias.requires_grad_(True); model.zero_grad()
    model.item_bias.weight = nn.Parameter(torch.zeros(30, 1))
    with pytest.raises(ValueError, match='has been replaced'): gradient(x, y)


def weights(seed=0):
    torch.manual_seed(seed)
    return [nn.Parameter(torch.randn(s)) for s in ((5, 3), (7,), (2, 2))]


def walk(opt, ps, steps, after=lambda: None, seed=1):
    torch.manual_seed(seed)
    for _ in range(steps):
        for p in ps: p.grad = torch.randn_like(p)
        opt.step(); after()


def test_adamw_is_torchs():
    "Same defaults, same steps with the defaults, and a state that either continues for the other."
    ours, theirs = (inspect.signature(c).parameters for c in (AdamW, torch.optim.AdamW))
    assert issubclass(AdamW, torch.optim.Optimizer)
    assert {k: p.default for k, p in ours.items()} == {k: theirs[k].default for k in ours}
    for first, second in ((AdamW, torch.optim.AdamW), (torch.optim.AdamW, AdamW), (AdamW, AdamW)):
        whole, ps = weights(), weights()
        opt = torch.optim.AdamW(whole)
        walk(opt, whole, 5); walk(opt, whole, 5, seed=2)
        a, b = first(ps), second(ps)
        walk(a, ps, 5); b.load_state_dict(pickle.loads(pickle.dumps(a.state_dict()))); walk(b, ps, 5, seed=2)
        for p, q in zip(ps, whole): torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)
    other = torch.optim.AdamW(ps, amsgrad=True).state_dict()
    with pytest.raises(ValueError, match='amsgrad'): AdamW(ps).load_state_dict(other)


def test_adamw_with_scheduler_groups_hooks_and_closure():
    def trained(cls):
        ps = weights()
        opt = cls(ps[:1], lr=.1)
        opt.add_param_group(dict(params=ps[1:], weight_decay=0., betas=(.5, .6)))
        schedule = torch.optim.lr_scheduler.OneCycleLR(opt, .1, 20)
        walk(opt, ps, 10, schedule.step)
        return opt, ps
    (opt, ps), (_, other) = trained(AdamW), trained(torch.optim.AdamW)
    for p, q in zip(ps, other): torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-7)
    opt.zero_grad(set_to_none=False); assert all((p.grad == 0).all() for p in ps)
    opt.zero_grad(); assert all(p.grad is None for p in ps)
    seen = []
    opt.register_step_pre_hook(lambda *a: seen.append('pre'))
    opt.register_step_post_hook(lambda *a: seen.append('post'))
    def loss():
        value = sum((p**2).sum() for p in ps); value.backward()
        return value
    before = [p.clone() for p in ps]
    assert opt.step(loss) > 0 and seen == ['pre', 'post'] and not torch.equal(before[0], ps[0])


def test_adamw_makes_one_call_a_group(monkeypatch):
    calls, kernel, ps = [], torch._fused_adamw_, weights()
    def counted(weights, *args, **kwargs):
        calls.append(len(weights))
        return kernel(weights, *args, **kwargs)
    monkeypatch.setattr(torch, '_fused_adamw_', counted)
    walk(AdamW(ps), ps, 1); walk(AdamW([dict(params=ps[:1]), dict(params=ps[1:])]), ps, 1)
    assert calls == [3, 1, 2]
    ps[1].data = ps[1].data.double()  # two types in a group: a call each
    walk(AdamW(ps), ps, 1); assert calls[3:] == [2, 1]
    for kwargs in (dict(lr=-1), dict(betas=(.9, 1.)), dict(weight_decay=-.1), dict(eps=-1)):
        with pytest.raises(ValueError, match='give a finite number'): AdamW(ps, **kwargs)
