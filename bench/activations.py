"""Activations: stacks with and without a bend, twenty layers by start, units that die, and a contest in two nets.

    python bench/activations.py                     everything, one thread, about 35 minutes
    python bench/activations.py --only ID ...       only rows whose ids start so, e.g. activations.dense; the other rows of the file stay
    python bench/activations.py --only ID --dry     printed, not written

The learning rate is chosen for every row by itself, from a grid that grows until the best is not at its end: trained on 10,000 of the first
50,000 training digits, scored on the last 10,000, with seeds 0 and 1 (`twenty`: seed 0); ID.at_lr_... are those scores.
Then the net is trained anew on 10,000 of all 60,000 and scored once on the test digits. A seed says which 10,000, in which order, and where
the weights start, so rows of one net can be compared seed by seed: ID.minus_relu are these differences. `relu_again` is ReLU with the same
digits in another order and from another start: what chance alone does. `repeat` is Mish against ReLU in the dense net with thirty other
seeds; `unseen` scores ten of them on the training digits that took no part, 41,000 and more, so that it isn't the choice of test digits that
decides. ID.run_... are the single accuracies where they lie more than .1 apart. The nets use PyTorch's own layers, which lesson8.activations equals in value and gradient; both are timed (activations.ms...).
"""
import argparse, os, sys, time
from functools import partial
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from torch import nn

from _record import RESULTS, row, save, stored_rows
from lesson8 import activations
from lesson8.activations import dead_units
from lesson8.batches import Batches
from lesson8.history import TrainingStopped, accuracy
from lesson8.images import mnist
from lesson8.steps import num_threads
from lesson8.training import fit, predict

RATES, ROWS, BS = (.00003, .0001, .0003, .001, .003, .01, .03, .1, .3, 1.), 10000, 64
PARTS = dict(dense=(.0003, .03, 5, 2, 10), stack=(.0003, .03, 5, 2, 5), twenty=(.0003, .003, 5, 1, 5), conv=(.003, .03, 2, 2, 10))
# first grid from, to; epochs; seeds to choose the learning rate by; seeds to report
ACTS = dict(relu=nn.ReLU, none=nn.Identity, leaky_relu=nn.LeakyReLU, elu=nn.ELU, gelu=nn.GELU, silu=nn.SiLU, mish=nn.Mish, softplus=nn.Softplus,
            tanh=nn.Tanh, sigmoid=nn.Sigmoid)
GAINS = dict(sigmoid=None, sigmoid_4=4., tanh=None, tanh_1=1., relu=None, relu_kaiming=2**.5)  # weights of deviation gain/sqrt(inputs); None: PyTorch's
DYING = (.01, .03, .1, .3)


def stack(n, act, width=64, gain=None):
    "n linear layers from 784 pixels to 10 scores, with `act` in between; with `gain`, weights drawn anew and biases 0."
    sizes = [784] + [width]*(n - 1) + [10]
    net = nn.Sequential(*[m for a, b in zip(sizes, sizes[1:]) for m in (nn.Linear(a, b), act())][:-1])
    for m in net if gain else ():
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=gain/m.in_features**.5); nn.init.zeros_(m.bias)
    return net


def conv(act):
    "Three convolutions with stride 2 and two linear layers, without batch norm."
    return nn.Sequential(nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 8, 5, 2, 2), act(), nn.Conv2d(8, 16, 3, 2, 1), act(), nn.Conv2d(16, 32, 3, 2, 1), act(),
                         nn.Flatten(), nn.Linear(512, 64), act(), nn.Linear(64, 10))


def specs():
    "All rows with an accuracy: id -> function without arguments that makes the net."
    s = {f'activations.dense.{name}': partial(stack, 4, act, 128) for name, act in ACTS.items()}
    s['activations.dense.relu_again'] = s['activations.dense.relu']
    s |= {f'activations.conv.{name}': partial(conv, act) for name, act in ACTS.items()}
    s['activations.conv.relu_again'] = s['activations.conv.relu']
    s |= {f'activations.stack.{n}_{name}': partial(stack, n, ACTS[name]) for n, name in ((1, 'none'), (10, 'none'), (2, 'relu'), (10, 'relu'))}
    s['activations.stack.10_none_1'] = partial(stack, 10, nn.Identity, gain=1.)
    s['activations.stack.10_relu_kaiming'] = partial(stack, 10, nn.ReLU, gain=2**.5)
    return s | {f'activations.twenty.{name}': partial(stack, 20, ACTS[name.split('_')[0]], gain=gain) for name, gain in GAINS.items()}


def part(id): return PARTS[id.split('.')[1]]


def run(make, lr, seed, x, y, start=None, epochs=5):
    "A trained net and the CPU seconds it took; None if its loss was not finite."
    rows = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:ROWS]
    start = seed if start is None else start
    batches = Batches(x[rows].flatten(1)/255, y[rows], BS, seed=start)
    torch.manual_seed(start)
    net, begin = make(), time.process_time()
    try: fit(net, batches, loss=F.cross_entropy, epochs=epochs, lr=lr, threads=1, progress=False)
    except TrainingStopped: return None, time.process_time() - begin
    return net, time.process_time() - begin


def score(net, x, y): return .1 if net is None else accuracy(*predict(net, Batches(x.flatten(1)/255, y, 1000, shuffle=False))).item()


def choose(id, make, data, start=0):
    "The learning rate with the best held-out accuracy, and all that were tried."
    fx, fy, hx, hy = data.train_x[:50000], data.train_y[:50000], data.train_x[50000:], data.train_y[50000:]
    low, high, epochs, seeds, _ = part(id)
    low, high, tried = RATES.index(low), RATES.index(high), {}
    while True:
        for lr in RATES[low:high + 1]:
            if lr not in tried:
                tried[lr] = round(sum(score(run(make, lr, seed, fx, fy, seed + start, epochs)[0], hx, hy) for seed in range(seeds))/seeds, 4)
        best = max(tried, key=tried.get)
        if best == RATES[low] and low: low -= 1
        elif best == RATES[high] and high < len(RATES) - 1: high += 1
        else: return best, dict(sorted(tried.items()))


def accuracies(id, scores):
    "A row of accuracies; of a unit of its own if all nets guess the same class, as a row without a spread can't be held."
    return row(id, scores, 'accuracy' if max(scores) > min(scores) else 'accuracy, always the same')


def measure(id, make, data):
    "Choose the learning rate, then train over seeds: the row of accuracies, that of CPU seconds, and the single accuracies."
    other, (*_, epochs, _, seeds) = 1000 if id.endswith('_again') else 0, part(id)
    lr, tried = choose(id, make, data, other)
    nets, seconds = zip(*[run(make, lr, seed, data.train_x, data.train_y, seed + other, epochs) for seed in range(seeds)])
    scores = [score(net, data.test_x, data.test_y) for net in nets]
    rows = [accuracies(id, scores) | dict(runs=[round(v, 4) for v in scores]), row(f'{id}.lr', [lr], 'lr'), row(f'{id}.cpu_seconds', seconds, 's'),
            *[row(f'{id}.at_lr_{rate}', [v], 'held-out accuracy') for rate, v in tried.items()]]
    print(f"{id:<36}{rows[0]['value']:.4f} sd {rows[0]['sd']:.4f}  lr {lr}  {seconds[0]:.1f} CPU s", flush=True)
    return rows, scores


def contest(todo, data):
    "The rows of all nets, and the differences from ReLU in the same net, seed by seed; ReLU may be among the stored ones."
    rows, scores = [], {id: r['runs'] for id, r in stored_rows(RESULTS/'activations.json').items() if 'runs' in r}
    for id, make in todo.items():
        new, scores[id] = measure(id, make, data)
        rows += new
        base = scores.get(f"{id.rpartition('.')[0]}.relu")
        if id.split('.')[1] in ('dense', 'conv') and not id.endswith('.relu'):
            rows += [row(f'{id}.minus_relu', [a - b for a, b in zip(scores[id], base)], 'accuracy'), *single(id, scores[id])]
    return rows


def single(id, scores):
    "The accuracies one by one, if they lie so far apart that a mean says little."
    return [row(f'{id}.run_{k}', [v], 'accuracy') for k, v in enumerate(scores)] if max(scores) - min(scores) > .1 else []


def repeat(data, first=10, runs=30):
    "The winner of the contest against ReLU once more, with seeds that took no part in it: one question, one comparison."
    def scores(name):
        lr = stored_rows(RESULTS/'activations.json')[f'activations.dense.{name}.lr']['value']
        nets = [run(specs()[f'activations.dense.{name}'], lr, seed, data.train_x, data.train_y)[0] for seed in range(first, first + runs)]
        return [score(net, data.test_x, data.test_y) for net in nets]
    mish, relu = scores('mish'), scores('relu')
    print('activations.repeat', *mish, *relu, flush=True)
    return [row('activations.repeat.mish', mish, 'accuracy'), row('activations.repeat.relu', relu, 'accuracy'),
            row('activations.repeat.mish.minus_relu', [a - b for a, b in zip(mish, relu)], 'accuracy')]


def unseen(data, first=10, runs=10):
    "Mish against ReLU in the first ten runs of `repeat`, scored on those of the first 50,000 training digits that the run was not trained on."
    def scores(name):
        lr = stored_rows(RESULTS/'activations.json')[f'activations.dense.{name}.lr']['value']
        for seed in range(first, first + runs):
            rest = torch.ones(len(data.train_x), dtype=torch.bool)
            rest[torch.randperm(len(rest), generator=torch.Generator().manual_seed(seed))[:ROWS]] = False
            rest[50000:] = False  # learning rates were chosen on these
            yield score(run(specs()[f'activations.dense.{name}'], lr, seed, data.train_x, data.train_y)[0], data.train_x[rest], data.train_y[rest])
    mish, relu = list(scores('mish')), list(scores('relu'))
    return [row('activations.unseen.mish', mish, 'accuracy'), row('activations.unseen.relu', relu, 'accuracy'),
            row('activations.unseen.mish.minus_relu', [a - b for a, b in zip(mish, relu)], 'accuracy')]


def dying_layers(data, lr=.1, seeds=5):
    "Share of dead units by layer of the dense net with ReLU at a rate ten times too large, and in how many nets a layer is wholly dead."
    x = data.train_x[:5000].flatten(1)/255
    nets = [run(partial(stack, 4, nn.ReLU, 128), lr, seed, data.train_x, data.train_y)[0] for seed in range(seeds)]
    shares = [[float(d.float().mean()) for d in dead_units(net, x).values()] for net in nets if net is not None]
    return [*[row(f'activations.layers.share_{k}.lr_{lr}', layer, 'share') for k, layer in enumerate(zip(*shares), 1)],
            row(f'activations.layers.wholly_dead.lr_{lr}', [sum(max(s) == 1 for s in shares)], 'nets')]


def dying(data, seeds=5):
    "Accuracy and share of dead units of the dense net, for learning rates beyond the best, with ReLU and with leaky ReLU."
    rows, x = [], data.train_x[:5000].flatten(1)/255
    for lr in DYING:
        for name in ('relu', 'leaky_relu'):
            nets = [run(partial(stack, 4, ACTS[name], 128), lr, seed, data.train_x, data.train_y)[0] for seed in range(seeds)]
            rows.append(accuracies(f'activations.dying.{name}.lr_{lr}', [score(net, data.test_x, data.test_y) for net in nets]))
            if name == 'relu':
                shares = [torch.cat(list(dead_units(net, x).values())).float().mean().item() for net in nets if net is not None]
                rows.append(row(f'activations.dying.share.lr_{lr}', shares, 'share'))
            print(rows[-1], flush=True)
    return rows


def between(data, lr=.02):
    "Held-out accuracy in the net of convolutions at a rate between two of the grid: does the grid decide the contest?"
    fx, fy, hx, hy = data.train_x[:50000], data.train_y[:50000], data.train_x[50000:], data.train_y[50000:]
    *_, epochs, seeds, _ = PARTS['conv']
    def scores(make): return [score(run(make, lr, seed, fx, fy, epochs=epochs)[0], hx, hy) for seed in range(seeds)]
    return [row(f'activations.between.{name}.at_lr_{lr}', scores(partial(conv, ACTS[name])), 'held-out accuracy') for name in ('relu', 'mish', 'gelu')]


def timing(rounds=15):
    "Milliseconds for a million numbers there and back, PyTorch's and ours in turn."
    x, rows = torch.randn(1000, 1000, generator=torch.Generator().manual_seed(0)).requires_grad_(), []
    g = torch.ones(1000, 1000)
    def once(f):
        start = time.perf_counter()
        torch.autograd.grad(f(x), x, g)
        return 1000*(time.perf_counter() - start)
    for name in ACTS:
        if name == 'none': continue
        pair = {'torch': getattr(F, name), 'ours': getattr(activations, name)}
        for f in pair.values(): once(f)
        times = [{who: once(f) for who, f in pair.items()} for _ in range(rounds)]
        rows += [row(f'activations.ms.{name}.{who}', [t[who] for t in times], 'ms') for who in pair]
    return rows


def again(id, seed):
    "The accuracy of one more seed of a stored row, at its stored learning rate."
    lr, data = stored_rows(RESULTS/'activations.json')[f'{id}.lr']['value'], mnist()
    with num_threads(1): return score(run(specs()[id], lr, seed, data.train_x, data.train_y, epochs=part(id)[2])[0], data.test_x, data.test_y)


CHEAP = {'activations.dense.mish': partial(again, 'activations.dense.mish')}  # about two seconds


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--only', nargs='*', default=['activations.'], help='beginnings of ids')
    p.add_argument('--dry', action='store_true', help='write nothing')
    a = p.parse_args()
    torch.set_num_threads(1)
    data, todo = mnist(), {id: make for id, make in specs().items() if id.startswith(tuple(a.only))}
    if data.name != 'mnist': raise SystemExit('this needs the full MNIST')
    def asked(group): return any(group.startswith(o) or o.startswith(f'{group}.') for o in a.only)
    rows = contest(todo, data)
    if asked('activations.repeat'): rows += repeat(data)
    if asked('activations.between'): rows += between(data)
    if asked('activations.unseen'): rows += unseen(data)
    if asked('activations.dying'): rows += dying(data)
    if asked('activations.layers'): rows += dying_layers(data)
    if asked('activations.ms'): rows += timing()
    if not rows: raise SystemExit(f"no row starts with {a.only}; there are: {', '.join(specs())}, activations.repeat, .between, .unseen, .dying, .layers, .ms")
    if not a.dry: save('activations', rows, keep=a.only != ['activations.'])


if __name__ == '__main__': main()
