"""Pooling: digits by way down and head, small objects and the vote of sixteen by head, each over seeds 0-4.

Large objects and the controls are in bench/pooling_controls.py.

    python bench/pooling.py                     everything, one thread, about 10 minutes on a quiet machine
    python bench/pooling.py --only ID ...       only rows whose ids start so, e.g.
                                                pooling.digits.stride_average; the other rows of the file stay
    python bench/pooling.py --only ID --dry     printed, not written

The highest learning rate is chosen for every row by itself, the candidates in rising order until it gets
worse: trained on the first 50,000 training digits, scored on the last 10,000. Then the net is trained anew on
all 60,000 (or frames made of them) and scored once on the test digits. Nets are those of lesson8.pooling,
frames those of lesson8.objects. Rows with more frames (pooling.small_12000...) take the learning rate of the
row with 4,000.
"""
import argparse, os, sys, time
from functools import partial
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F

from _record import RESULTS, row, save, stored_rows
from lesson8.batches import Batches
from lesson8.history import accuracy
from lesson8.images import mnist
from lesson8.objects import small_objects, vote_of_sixteen
from lesson8.pooling import pool_net, shift
from lesson8.steps import num_threads
from lesson8.training import fit, predict

RATES, SEEDS, SHIFTS, TEST = (.01, .02, .05, .1, .2, .4, .8), 5, (1, 2, 3, 4, 5, 6), (4000, 10000)
FRAME_NET = dict(channels=(8, 16, 64), kernels=(5, 3, 3), size=56)
DIGITS = {f'{down}_{head}': dict(head=head, down=down) for down in ('max', 'stride')
          for head in ('dense', 'average')}
# about the multiply-adds of max_dense
DIGITS['wide_dense'] = dict(head='dense', down='stride', channels=(14, 24, 32))
DIGITS['wide_average'] = dict(head='average', down='stride', channels=(14, 24, 32))
TASKS = {'small': (small_objects, dict(scraps=15)), 'empty': (small_objects, dict(scraps=0)),
         'vote': (vote_of_sixteen, {})}


def specs():
    "All rows: id -> (kind of data, frames or digits to train on, epochs, arguments of pool_net)."
    s = {f'pooling.digits.{name}': ('digits', 10000, 2, net) for name, net in DIGITS.items()}
    for task in TASKS:
        for head in ('average', 'max') + (('concat',) if task != 'empty' else ()):
            for norm in (False, True):
                s[f'pooling.{task}.{head}.{"norm" if norm else "plain"}'] = (
                    task, 4000, 4, dict(head=head, norm=norm, **FRAME_NET))
    for task in ('small', 'vote'):  # three times the frames: what more examples change
        for head in ('average', 'max'):
            s[f'pooling.{task}_12000.{head}.norm'] = (task, 12000, 4, dict(head=head, norm=True, **FRAME_NET))
    return s


def sample(kind, x, y, n, seed):
    "n training digits or frames."
    if kind == 'digits':
        rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:n]
        return x[rows, None].float()/255, y[rows]
    make, kwargs = TASKS[kind]
    return make(x, y, n, seed=seed, **kwargs)


def run(spec, lr, seed, x, y):
    "A net trained on digits or frames, and the CPU seconds it took."
    _, _, epochs, net = spec
    batches = Batches(x, y, 64, seed=seed)
    torch.manual_seed(seed)
    net = pool_net(**net).to(memory_format=torch.channels_last)
    start = time.process_time()
    fit(net, batches, loss=F.cross_entropy, epochs=epochs, lr=lr, threads=1, progress=False)
    return net, time.process_time() - start


def score(net, x, y):
    return accuracy(*predict(net, Batches(x, y, 500, shuffle=False))).item()


def measure(id, spec, data, seeds=SEEDS):
    "Choose the learning rate, then train over seeds: the row of accuracies and that of CPU seconds."
    fx, fy, hx, hy = data.train_x[:50000], data.train_y[:50000], data.train_x[50000:], data.train_y[50000:]
    held = sample(spec[0], hx, hy, 4000, 1)
    small = (spec[0], 4000 if spec[0] in TASKS else spec[1], *spec[2:])
    tried = {}
    for lr in RATES:
        tried[lr] = round(score(run(small, lr, 0, *sample(small[0], fx, fy, small[1], 0))[0], *held), 4)
        if tried[lr] < max(tried.values()): break
    lr = max(tried, key=tried.get)
    test = sample(spec[0], data.test_x, data.test_y, TEST[spec[0] == 'digits'], 2)
    train = (data.train_x, data.train_y)
    nets, seconds = zip(*[run(spec, lr, seed, *sample(spec[0], *train, spec[1], seed))
                          for seed in range(seeds if spec[1] < 12000 else 3)])
    rows = [row(id, [score(net, *test) for net in nets], 'accuracy') | dict(held_out=tried),
            row(f'{id}.lr', [lr], 'lr'), row(f'{id}.cpu_seconds', seconds, 's')]
    if spec[0] == 'digits':
        rows += [row(f'{id}.shift_{px}', [score(net, shift(test[0], px), test[1]) for net in nets],
                     'accuracy') for px in SHIFTS]
    print(f"{id:<36}{rows[0]['value']:.4f} sd {rows[0]['sd']:.4f}  lr {lr}  {seconds[0]:.1f} CPU s",
          flush=True)
    return rows


def again(id, seed):
    "The accuracy of one more seed of a stored row, at its stored learning rate."
    lr = stored_rows(RESULTS/'pooling.json')[f'{id}.lr']['value']
    data, spec = mnist(), specs()[id]
    test = sample(spec[0], data.test_x, data.test_y, TEST[spec[0] == 'digits'], 2)
    train = sample(spec[0], data.train_x, data.train_y, spec[1], seed)
    with num_threads(1): return score(run(spec, lr, seed, *train)[0], *test)


# about two seconds each
CHEAP = {id: partial(again, id) for id in ('pooling.digits.stride_average', 'pooling.vote.average.norm')}


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--only', nargs='*', default=['pooling.'], help='beginnings of ids')
    p.add_argument('--seeds', type=int, default=SEEDS)
    p.add_argument('--dry', action='store_true', help='write nothing')
    a = p.parse_args()
    torch.set_num_threads(1)
    data, todo = mnist(), {id: spec for id, spec in specs().items() if id.startswith(tuple(a.only))}
    if data.name != 'mnist': raise SystemExit('this needs the full MNIST')
    if not todo: raise SystemExit(f"no row starts with {a.only}; there are: {', '.join(specs())}")
    rows = [r for id, spec in todo.items() for r in measure(id, spec, data, a.seeds)]
    if not a.dry: save('pooling', rows, keep=len(todo) < len(specs()))


if __name__ == '__main__': main()
