"What a notebook cell cannot test of the training loop: terminals and kernels, interruptions, missing packages, waiting for the device."
import inspect, subprocess, sys

import nbformat
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from conftest import require
from lesson8 import training
from lesson8.embeddings import DotProductBias
from lesson8.training import Batches, fit, predict
from run import run_notebook

SLOW = '''
import time, torch
from torch import nn
from lesson8.training import Batches, fit
def slow(x): time.sleep(.06); return x
train = Batches(torch.randn(30, 2), torch.randn(30, 1), 1, transform=slow)
'''


def ratings(n=400, seed=0):
    "A small data set of pairs and ratings."
    g = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(20, (n,), generator=g), torch.randint(30, (n,), generator=g)], 1), torch.randint(1, 6, (n,), generator=g).float()


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


@pytest.mark.parametrize('code', ['fit(nn.Linear(2, 1), train, epochs=1, progress=False)', 'train.transform = None; fit(nn.Linear(2, 1), train, epochs=1)',
                                  'import sys; sys.modules["tqdm"] = None; fit(nn.Linear(2, 1), train, epochs=1)'], ids=['switched off', 'short run', 'no tqdm'])
def test_no_bar(code): assert run_slow(code + '; print("done")') == ''


def test_bar_in_a_notebook(tmp_path):
    "It is one output that is updated, nothing is written to stderr, and at the end it is empty and not saved; the value of the cell stays."
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
        with pytest.raises(error): fit(dot(), Batches(*ratings(), 50, transform=stop), progress=False)
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
        with Reads() as mode: fit(dot(), Batches(x, y, bs), Batches(x, y, 400, shuffle=False), epochs=2, by_hand=by_hand, progress=False)
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


@pytest.mark.filterwarnings('ignore:Full backward hook')
@pytest.mark.parametrize('make', [
    lambda: Scaled(20, 30, 4), *[lambda f=f: f(dot()) for f in (hooked, frozen, clipped, watched, replaced)]],
    ids=['subclass', 'hook', 'frozen', 'clipped', 'watched', 'replaced'])
def test_formula_is_not_used_for_another_model(make, monkeypatch):
    "The hand-derived gradient holds for DotProductBias itself: anything else goes through autograd."
    torch.manual_seed(0); model = make()
    torch.manual_seed(0); other = make()  # no copy: that would lose the hooks of tensors
    def batches(): return Batches(*ratings(), 50, seed=0)
    used = []
    monkeypatch.setattr(training, 'dot_gradient', lambda m: used.append(m))
    a, b = fit(model, batches(), progress=False), fit(other, batches(), by_hand=False, progress=False)
    assert not used and a.losses == b.losses
    with pytest.raises(TypeError): fit(dot(), batches(), progress=False)  # here it is used, and the stand-in returned None
    assert used


@pytest.mark.parametrize('loss', [F.l1_loss, nn.MSELoss(reduction='sum')], ids=['l1', 'sum'])
def test_formula_is_not_used_for_another_loss(loss):
    a, b = (fit(dot(), Batches(*ratings(), 50, seed=0), loss=loss, by_hand=by_hand, progress=False).losses for by_hand in (True, False))
    assert a == b != fit(dot(), Batches(*ratings(), 50, seed=0), progress=False).losses


@pytest.mark.parametrize('by_hand', [True, False])
def test_targets_that_do_not_fit_are_refused(by_hand):
    "From a loader that checks nothing: one target for all pairs would be compared with each of them."
    x, y = ratings()
    with pytest.raises(ValueError, match='of shape'): fit(dot(), [(x, y[:1])], by_hand=by_hand, progress=False)


def test_transformed_inputs_are_not_checked_as_pairs():
    "What the batches turn into pairs is not pairs yet when training begins."
    x, y = ratings()
    pairs = Batches((x[:, 0], x[:, 1]), y, 50, seed=0, transform=lambda u, i: torch.stack([u, i], 1))
    torch.manual_seed(0); a = fit(dot(), pairs, progress=False).losses
    torch.manual_seed(0); assert a == fit(dot(), Batches(x, y, 50, seed=0), progress=False).losses


@pytest.mark.parametrize('metrics', [[lambda p, y: 0, lambda p, y: 1], dict(seconds=lambda p, y: 0.)], ids=['two lambdas', 'taken'])
def test_metrics_need_names_of_their_own(metrics):
    with pytest.raises(ValueError, match='two columns of the history'): fit(dot(), Batches(*ratings(), 50), Batches(*ratings(), 50), metrics=metrics)


def test_same_result_again():
    a, b = (fit(dot(), Batches(*ratings(), 50, seed=3), progress=False).losses for _ in range(2))
    assert a == b


def test_torch_loader_and_mixed_precision():
    "Anything that yields batches trains, in bfloat16 as well; the weights stay float32."
    x, y = ratings()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(F.one_hot(x[:, 1], 30).float(), y[:, None]), 50)
    net = nn.Linear(30, 1)
    h = fit(net, data, data, epochs=8, lr=.2, autocast=torch.bfloat16, progress=False)
    assert h.last['valid_loss'] < .8*h['valid_loss'][0] and net.weight.dtype == torch.float32
    assert predict(net, data, torch.bfloat16)[0].dtype == torch.bfloat16


def test_after_epoch_stops():
    seen = []
    h = fit(dot(), Batches(*ratings(), 50), epochs=9, progress=False, after_epoch=lambda model, history: seen.append(len(history)) or len(history) == 3)
    assert seen == [1, 2, 3] and len(h) == 3 and len(h.losses) == 24


@pytest.mark.parametrize('by_hand', [True, False])
def test_gpu_trains_to_the_same(by_hand):
    require('gpu', torch.cuda.is_available(), 'a machine with an NVIDIA GPU')
    runs = [fit(dot().to(device), Batches(*ratings(), 50, seed=0).to(device), by_hand=by_hand, progress=False) for device in ('cpu', 'cuda')]
    torch.testing.assert_close(*(torch.tensor(h.losses) for h in runs), rtol=1e-3, atol=1e-3)
