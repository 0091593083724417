"What notebook cells do not test of training: terminals, interruptions, odd models, waiting for the device."
import inspect, pickle, subprocess, sys
from functools import partial

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from conftest import require
from lesson8.batches import Batches, check_batches
from lesson8.embeddings import DotProductBias
from lesson8.history import TrainingStopped, accuracy, plot_history
from lesson8.lr_finder import LRFinder, lr_find
from lesson8.speed import dot_gradient
from lesson8.steps import num_threads
from lesson8.training import evaluating, fit, predict
from run import run_notebook

SLOW = '''
import time, torch
from torch import nn
from lesson8.batches import Batches
from lesson8.training import fit
def slow(x): time.sleep(.06); return x
train = Batches(torch.randn(30, 2), torch.randn(30, 1), 1, transform=slow)
'''


def ratings(n=400, seed=0):
    "A small data set of pairs and ratings."
    g = torch.Generator().manual_seed(seed)
    x = torch.stack([torch.randint(20, (n,), generator=g), torch.randint(30, (n,), generator=g)], 1)
    return x, torch.randint(1, 6, (n,), generator=g).float()


def dot(seed=0):
    torch.manual_seed(seed)
    return DotProductBias(20, 30, 4)


def test_fit_fits_on_a_screen():
    assert len(inspect.getsource(fit).splitlines()) <= 45


def run_slow(code):
    res = subprocess.run([sys.executable, '-c', SLOW + code], capture_output=True, text=True, check=True)
    assert res.stdout == 'done\n'
    return res.stderr


def test_bar_in_a_terminal():
    "It is drawn while the run lasts, and wiped at the end."
    shown = run_slow('fit(nn.Linear(2, 1), train, epochs=1); print("done")')
    assert '%|' in shown and '/30' in shown and not shown.splitlines()[-1].strip()


@pytest.mark.parametrize('code', [
    'fit(nn.Linear(2, 1), train, epochs=1, progress=False)',
    'train.transform = None; fit(nn.Linear(2, 1), train, epochs=1)',
    'import sys; sys.modules["tqdm"] = None; fit(nn.Linear(2, 1), train, epochs=1)'],
    ids=['switched off', 'short run', 'no tqdm'])
def test_no_bar(code): assert run_slow(code + '; print("done")') == ''


def test_bar_in_a_notebook(tmp_path):
    "One output, updated, and nothing on stderr; at the end it is empty and not saved. The value stays."
    record = '''
from IPython.display import DisplayHandle
seen, update = [], DisplayHandle.update
def note(self, obj, **kwargs): seen.append(obj['text/plain']); return update(self, obj, **kwargs)
DisplayHandle.update = note
'''
    cells = [SLOW + record, 'fit(nn.Linear(2, 1), train, epochs=1)', 'print(seen)']
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    nbformat.write(nb, tmp_path/'bar.ipynb')
    res = run_notebook(tmp_path/'bar.ipynb', tmp_path/'out.ipynb')
    assert not res.error, res.error
    _, fitted, printed = nbformat.read(tmp_path/'out.ipynb', 4).cells
    value, = fitted.outputs
    assert value.output_type == 'execute_result'
    assert 'train_loss' in value.data['text/html'] and 'train_loss' in value.data['text/plain']
    seen = eval(printed.outputs[0].text)
    assert seen[-1] == '' and sum('/30' in s for s in seen) >= 2


@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError])
def test_threads_come_back_when_interrupted(error):
    def stop(x): raise error
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        stops = Batches(*ratings(), 50, transform=stop)
        with pytest.raises(error): fit(dot(), stops, threads=1, progress=False)
        assert torch.get_num_threads() == 2
    finally: torch.set_num_threads(before)


class Reads(TorchDispatchMode):
    "Counts how often a number is read from the device, which makes a GPU wait."
    n = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


@pytest.mark.parametrize('by_hand', [True, False])
def test_no_step_waits_for_the_device(by_hand):
    x, y = ratings()
    reads = []
    for bs in (8, 80):  # 50 steps an epoch and 5
        model = dot()
        gradient = dot_gradient(model) if by_hand else None
        train, valid = Batches(x, y, bs), Batches(x, y, 400, shuffle=False)
        with Reads() as mode: fit(model, train, valid, epochs=2, gradient=gradient, progress=False)
        reads.append(mode.n)
    assert reads[0] == reads[1] < 10
    with Reads() as mode: [t.item() for t in torch.ones(3)]
    assert mode.n == 3, 'the counter counts'


class Scaled(DotProductBias):
    "A subclass that computes something else."
    def score(self, x): return 2*super().score(x)


def hooked(model):
    model.user_bias.register_forward_hook(lambda module, args, out: out*3)
    return model


def frozen(model):
    model.item_bias.requires_grad_(False)
    return model


def clipped(model):
    model.user_factors.weight.register_hook(lambda grad: grad.clamp(-1e-4, 1e-4))
    return model


def watched(model):
    model.register_full_backward_hook(lambda module, grad_in, grad_out: None)
    return model


def replaced(model):
    model.user_factors = nn.Embedding(20, 4, max_norm=.01)
    return model


def patched(model):
    model.score = lambda x: 0*x[:, 0].float() + model.user_bias.weight.sum()
    return model


def tied():
    torch.manual_seed(0)
    model = DotProductBias(20, 20, 4)
    model.item_factors.weight = model.user_factors.weight
    return model


def ranged(model):
    model.y_range = torch.tensor([0., 5.5])
    return model


CHANGES = hooked, frozen, clipped, watched, replaced, patched, ranged
ODD = {f.__name__: lambda f=f: f(dot()) for f in CHANGES}
ODD |= dict(subclass=lambda: Scaled(20, 30, 4), tied=tied)


@pytest.mark.filterwarnings('ignore:Full backward hook')
@pytest.mark.parametrize('make', [m for k, m in ODD.items() if k not in ('ranged', 'replaced')])
def test_fit_trains_what_the_model_computes(make):
    "Losses and weights are those of a bare loop with autograd, whatever was done to the model."
    (x, y), steps = ratings(), 3
    x = x.clamp(max=19)
    torch.manual_seed(0); model = make()
    torch.manual_seed(0); other = make()  # no copy: that would lose the hooks of tensors
    h = fit(model, [(x, y)]*steps, epochs=1, lr=.1, wd=0, schedule=None, opt=torch.optim.SGD, progress=False)
    opt, losses = torch.optim.SGD([p for p in other.parameters() if p.requires_grad], .1), []
    for _ in range(steps):
        opt.zero_grad(); loss = F.mse_loss(other(x), y); losses.append(loss.item())
        loss.backward(); opt.step()
    assert h.losses == losses
    for p, q in zip(model.parameters(), other.parameters()): assert torch.equal(p, q)


def test_gradient_serves_a_second_fit_and_no_second_model():
    model = dot(); gradient, before = dot_gradient(model), model.item_bias.weight.clone()
    fit(model, Batches(*ratings(), 50), epochs=1, gradient=gradient, progress=False)
    between = model.item_bias.weight.clone()
    fit(model, Batches(*ratings(), 50), epochs=1, gradient=gradient, progress=False)
    assert not torch.equal(before, between) and not torch.equal(between, model.item_bias.weight)
    with pytest.raises(ValueError, match='got a gradient'):
        fit(dot(), Batches(*ratings(), 50), gradient=gradient, progress=False)


@pytest.mark.parametrize('by_hand', [True, False])
def test_targets_that_do_not_fit_are_refused(by_hand):
    "From a loader that checks nothing: one target for all pairs would be compared with each of them."
    (x, y), model = ratings(), dot()
    gradient = dot_gradient(model) if by_hand else None
    with pytest.raises(ValueError, match='shape'): fit(model, [(x, y[:1])], gradient=gradient, progress=False)


def test_training_knows_no_model():
    "Neither at import nor while it trains one."
    code = '''
import sys, torch
from lesson8.lr_finder import lr_find
from lesson8.training import fit
for f in lr_find, fit: f(torch.nn.Linear(2, 1), [(torch.ones(3, 2), torch.ones(3, 1))], progress=False)
print([m for m in sys.modules if m in ('lesson8.embeddings', 'lesson8.deep_collab', 'torch._dynamo')])
'''
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == '[]\n', 'no model, and not the two seconds of PyTorch\'s compiler either'


def test_frozen_and_unfrozen_while_training():
    "What `after_epoch` freezes stays where it is from then on, what it unfreezes begins to learn."
    model, seen = dot(), []
    model.item_bias.requires_grad_(False)
    def swap(model, history):
        seen.append({k: p.clone() for k, p in model.named_parameters()})
        if len(history) == 2: model.item_bias.requires_grad_(True); model.user_bias.requires_grad_(False)
    fit(model, Batches(*ratings(), 50), epochs=4, wd=.3, progress=False, after_epoch=swap)
    moved = [[k for k in a if not torch.equal(a[k], b[k])] for a, b in zip(seen, seen[1:])]
    both = ['user_factors.weight', 'item_factors.weight']
    assert moved == [both + ['user_bias.weight']] + [both + ['item_bias.weight']]*2
    with pytest.raises(ValueError, match='no weight to train'):
        freeze_all = lambda m, h: m.requires_grad_(False) and None
        fit(model, Batches(*ratings(), 50), progress=False, after_epoch=freeze_all)
    model = dot()
    def freeze(m, h): m.item_bias.requires_grad_(False); seen.append(m.item_bias.weight.clone())
    with pytest.raises(ValueError, match='frozen'):
        fit(model, Batches(*ratings(), 50), gradient=dot_gradient(model), progress=False, after_epoch=freeze)
    assert torch.equal(seen[-1], model.item_bias.weight)


def test_steps_are_in_training_mode_and_all_else_is_not():
    class Net(nn.Linear):
        def forward(self, x): seen.append(self.training); return super().forward(x)
    net, seen = Net(2, 1).eval(), []
    data = [(torch.ones(3, 2), torch.ones(3, 1))]*2
    fit(net, data, data[:1], epochs=2, progress=False, after_epoch=lambda m, h: seen.append(m.training))
    assert seen == [True, True, False, False]*2 and not net.training


def test_questions_change_nothing():
    "predict, also when it fails, and lr_find leave modes, weights and random numbers as they were."
    last = nn.Sequential(nn.Linear(8, 1), nn.Dropout(.5)).eval()
    net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(.5), last)
    x, y = torch.randn(60, 2), torch.randn(60, 1)
    batches, modes = Batches(x, y, 8, seed=5), [m.training for m in net.modules()]
    before = [torch.get_rng_state(), batches.generator.get_state(), *(p.clone() for p in net.parameters())]
    lr_find(net, batches, steps=20, progress=False)
    with pytest.raises(RuntimeError): predict(net, [(x[:, :1], y)])
    predict(net, [(x, y)])
    with evaluating(net) as device: assert device == x.device and not any(m.training for m in net.modules())
    assert [m.training for m in net.modules()] == modes
    after = [torch.get_rng_state(), batches.generator.get_state(), *net.parameters()]
    for a, b in zip(before, after): assert torch.equal(a, b)
    lr_find(net, Batches(x, y, 8), steps=20, progress=False)  # its order comes from torch's own numbers
    assert torch.equal(before[0], torch.get_rng_state())
    model = dot()
    with pytest.raises(ValueError, match='gradient is for this model'):
        lr_find(model, Batches(*ratings(), 50), gradient=dot_gradient(model))


def test_predict_without_parameters():
    class Mean(nn.Module):
        def forward(self, x): return x.mean(1)
    x = torch.randn(6, 2)
    assert torch.equal(predict(Mean(), Batches(x, x[:, 0], 4, shuffle=False))[0], x.mean(1))


def test_finder():
    "The suggestion is a tenth of the rate at the lowest loss; a single finite loss makes a picture, too."
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    assert LRFinder([1e-3, 1e-2, .1, 1.], [4., 3., 1., 99.]).suggestion == .1/10
    low, high = LRFinder([1e-6], [2.]).plot().get_ylim()
    assert low < 2 < high
    plt.close('all')


class Picky(nn.Linear):
    def check_data(self, x, y):
        if (y > 4).any(): raise ValueError('a target above 4')


def test_data_are_checked_by_the_method_of_the_class_alone():
    x, y = ratings()
    seen, x = [], x.float()
    bad, good = Batches(x, y[:, None]), Batches(x[y < 5], y[y < 5, None])
    for train, valid in ((bad, None), (good, bad)):
        with pytest.raises(ValueError, match='a target above 4'):
            fit(Picky(2, 1), train, valid, progress=False, after_epoch=lambda m, h: seen.append(1))
    assert not seen
    net = nn.Linear(2, 1); net.check = net.check_data = seen.append  # attributes that happen to be called so
    fit(net, Batches(x, y[:, None], 100), epochs=1, progress=False)
    assert not seen and check_batches('train', Batches(x, y)) == 7


def test_accuracy_wants_a_class_a_row():
    with pytest.raises(ValueError, match=r'y has shape \(4, 1\): expected \(4,\)'):
        accuracy(torch.eye(4), torch.arange(4)[:, None])


def test_stopped_early_and_drawn():
    "Validation dots stand where their epochs ended, though more steps follow; the error survives pickling."
    import matplotlib
    matplotlib.use('Agg')
    import matplotlib.pyplot as plt
    net, x = nn.Linear(2, 1), torch.ones(8, 2)
    def spoil(m, h):
        if len(h) == 2: m.weight.data.fill_(float('nan'))
    with pytest.raises(TrainingStopped) as e:
        train, valid = Batches(x, x[:, :1], 2), Batches(x, x[:, :1], 8)
        fit(net, train, valid, epochs=4, progress=False, after_epoch=spoil)
    again = pickle.loads(pickle.dumps(e.value))
    assert str(again) == str(e.value) and 'at step 9 (epoch 3' in str(again)
    dots = plot_history(again.history)[0].lines[2]
    assert len(again.history.losses) == 12 and dots.get_xdata().tolist() == [4, 8]
    plt.close('all')


def test_numpy_integers():
    n = np.int64(2)
    x, y = ratings()
    batches = Batches(x.float(), y[:, None], np.int64(100), seed=n)
    assert len(fit(nn.Linear(2, 1), batches, epochs=n, threads=np.int64(1), progress=False)) == 2
    assert len(lr_find(nn.Linear(2, 1), batches, steps=np.int64(5), progress=False).losses) == 5
    with num_threads(n): assert torch.get_num_threads() == 2
    for wrong in (True, 2., '2'):
        with pytest.raises(ValueError, match='whole number'): fit(nn.Linear(2, 1), batches, epochs=wrong)
        with pytest.raises(ValueError, match='whole number'): Batches(x, y, wrong)


def test_default_optimiser_of_fit():
    "Betas (.9, .99) and fit's weight decay, as in the course's numbers."
    x, y = ratings()
    ways = {}, dict(opt=partial(torch.optim.AdamW, betas=(.9, .99))), dict(opt=torch.optim.AdamW)
    def losses(**kwargs):
        return fit(dot(), Batches(x, y, 50, seed=0), wd=.1, schedule=None, progress=False, **kwargs).losses
    runs = [losses(**kw) for kw in ways]
    torch.testing.assert_close(torch.tensor(runs[0]), torch.tensor(runs[1]), rtol=1e-4, atol=1e-5)
    assert max(abs(a - b) for a, b in zip(runs[0], runs[2])) > 1e-3


def test_transformed_inputs_are_not_checked_as_pairs():
    "What the batches turn into pairs is not pairs yet when training begins."
    x, y = ratings()
    pairs = Batches((x[:, 0], x[:, 1]), y, 50, seed=0, transform=lambda u, i: torch.stack([u, i], 1))
    torch.manual_seed(0); a = fit(dot(), pairs, progress=False).losses
    torch.manual_seed(0); assert a == fit(dot(), Batches(x, y, 50, seed=0), progress=False).losses


NAMELESS = dict(lambdas=[lambda p, y: 0, lambda p, y: 1], taken=dict(seconds=lambda p, y: 0.))
@pytest.mark.parametrize('metrics', NAMELESS.values(), ids=NAMELESS)
def test_metrics_need_names_of_their_own(metrics):
    with pytest.raises(ValueError, match='two columns of the history'):
        fit(dot(), Batches(*ratings(), 50), Batches(*ratings(), 50), metrics=metrics)


def test_same_result_again():
    a, b = (fit(dot(), Batches(*ratings(), 50, seed=3), progress=False).losses for _ in range(2))
    assert a == b


def test_torch_loader_and_mixed_precision():
    "Anything that yields batches trains, in bfloat16 as well; the weights stay float32."
    x, y = ratings()
    rows = torch.utils.data.TensorDataset(F.one_hot(x[:, 1], 30).float(), y[:, None])
    data = torch.utils.data.DataLoader(rows, 50)
    net = nn.Linear(30, 1)
    h = fit(net, data, data, epochs=8, lr=.2, autocast=torch.bfloat16, progress=False)
    assert h.last['valid_loss'] < .8*h['valid_loss'][0] and net.weight.dtype == torch.float32
    assert predict(net, data, torch.bfloat16)[0].dtype == torch.bfloat16


def test_after_epoch_stops():
    seen = []
    def third(model, history):
        seen.append(len(history))
        return len(history) == 3
    h = fit(dot(), Batches(*ratings(), 50), epochs=9, progress=False, after_epoch=third)
    assert seen == [1, 2, 3] and len(h) == 3 and len(h.losses) == 24


@pytest.mark.parametrize('by_hand', [True, False])
def test_gpu_trains_to_the_same(by_hand):
    require('gpu', torch.cuda.is_available(), 'a machine with an NVIDIA GPU')
    models = [dot().to(device) for device in ('cpu', 'cuda')]
    ways = [dot_gradient(m) if by_hand else None for m in models]
    runs = [fit(m, Batches(*ratings(), 50, seed=0).to(device), gradient=g, progress=False)
            for m, g, device in zip(models, ways, ('cpu', 'cuda'))]
    torch.testing.assert_close(*(torch.tensor(h.losses) for h in runs), rtol=1e-3, atol=1e-3)
