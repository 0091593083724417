"""Controls for bench/pooling.py: large objects, clutter over them, heads with batch norm or as many weights, average
pooling between the layers, and its rows for small objects and the vote once more, at rates chosen by another search.

    python bench/pooling_controls.py                     everything, one thread, about 6 minutes on a quiet machine
    python bench/pooling_controls.py --only ID ...       only rows whose ids start so; the other rows stay

The highest learning rate is chosen for every row by itself, among four, and on beyond the largest or the
smallest as long as that is the best: each is trained once (seed 0) on the first 50,000 training digits, or frames made of them, and scored on the
last 10,000; rows held_out_... have all the scores.
Then the net is trained anew, seeds 0-4, on all 60,000 and scored once on the test digits.
"""
import argparse
from functools import cache, partial

import torch

from _record import RESULTS, row, save, stored_rows
from lesson8.images import mnist
from lesson8.objects import large_objects
from lesson8.pooling import shift
from lesson8.steps import num_threads
from pooling import FRAME_NET, SEEDS, TASKS, TEST, run, sample, score

RATES = (.01, .02, .05, .1)
TASKS |= {'large': (large_objects, dict(scraps=0)), 'covered': (large_objects, dict(scraps=15))}


def specs():
    "All rows: id -> (kind of data, frames or digits to train on, epochs, arguments of pool_net)."
    nets = {f'max_{head}_norm': dict(head=head, down='max', norm=True) for head in ('average', 'concat')}
    # about as many weights in all as max_dense
    nets['matched_average'] = dict(head='average', down='max', norm=True, channels=(8, 16, 128))
    nets['average_dense'] = dict(head='dense', down='average')  # as max_dense, but nothing picks the largest
    s = {}
    def frames(task, head, norm):
        s[f'pooling_controls.{task}.{head}.{"norm" if norm else "plain"}'] = (
            task, 4000, 4, dict(head=head, norm=norm, **FRAME_NET))
    for task in ('small', 'large', 'vote', 'covered', 'empty'):
        for head in ('average', 'max'): frames(task, head, True)
    frames('large', 'concat', True)
    for name, net in nets.items(): s[f'pooling_controls.digits.{name}'] = ('digits', 10000, 2, net)
    for head in ('average', 'max', 'concat', 'dense'): frames('large', head, False)
    return s


@cache
def made(kind, part, n, seed):
    "n digits or frames of a part of the data: 'train' and 'test'; 'fit' and 'held', of the training digits."
    d = mnist()
    x, y = dict(train=(d.train_x, d.train_y), test=(d.test_x, d.test_y), fit=(d.train_x[:50000], d.train_y[:50000]),
                held=(d.train_x[50000:], d.train_y[50000:]))[part]
    return sample(kind, x, y, n, seed)


def jigsaw(frames, seed=0):
    "Each frame's 4x4 cells in a random order."
    cells = frames.view(-1, 4, 14, 4, 14).transpose(2, 3).reshape(-1, 16, 14, 14)
    order = torch.rand(len(cells), 16, generator=torch.Generator().manual_seed(seed)).argsort(1)
    cells = cells[torch.arange(len(cells))[:, None], order]
    return cells.view(-1, 4, 4, 14, 14).transpose(2, 3).reshape(-1, 1, 56, 56)


def pieces_apart(net, frames):
    "Scores of a pooled head when each of the 4x4 cells goes through the convolutions alone, blank all around."
    cells = frames.view(-1, 4, 14, 4, 14).transpose(2, 3).reshape(-1, 1, 14, 14)
    maps = net[:-4](cells).view(len(frames), 16, -1, 4)
    return net[-4:](maps.transpose(1, 2).reshape(len(frames), -1, 8, 8))


def places_shuffled(net, frames):
    "Scores of a head when the places of the last map come in another order, the same for all frames."
    maps = net[:-4](frames).flatten(2)
    order = torch.randperm(maps.shape[2], generator=torch.Generator().manual_seed(0))
    side = int(len(order)**.5)
    return net[-4:](maps[..., order].view(len(frames), -1, side, side))


@torch.no_grad()
def right(way, net, x, y): return (way(net.eval(), x).argmax(1) == y).float().mean().item()


def trained(spec, part, lr, seed):
    return run(spec, lr, seed, *made(spec[0], part, spec[1], seed))[0]


def measure(id, spec, seeds=SEEDS):
    "Choose the learning rate, then train over seeds: the row of accuracies, and those under the controls."
    digits, held = spec[0] == 'digits', made(spec[0], 'held', 4000, 1)
    def try_rate(lr): tried[lr] = score(trained(spec, 'fit', lr, 0), *held)
    tried = {}
    for lr in RATES: try_rate(lr)
    while (lr := max(tried, key=tried.get)) == max(tried): try_rate(2*lr)
    while (lr := max(tried, key=tried.get)) == min(tried): try_rate(lr/2)
    x, y = made(spec[0], 'test', TEST[digits], 2)
    nets = [trained(spec, 'train', lr, seed) for seed in range(seeds)]
    def over(name, nets, x): return row(name, [score(m, x, y) for m in nets], 'accuracy')
    rows = [over(id, nets, x), row(f'{id}.lr', [lr], 'lr')]
    rows += [row(f'{id}.held_out_{lr}', [v], 'accuracy') for lr, v in tried.items()]
    if digits: rows += [over(f'{id}.shift_4', nets, shift(x, 4))]
    if spec[0] == 'large': rows += large_rows(id, nets, x, y)
    return rows


def large_rows(id, nets, x, y):
    "What is left of the accuracy on large objects when the frames, or the maps of them, are cut up."
    rows = [row(f'{id}.jigsaw', [score(m, jigsaw(x), y) for m in nets], 'accuracy')]
    way, name = (places_shuffled, 'shuffled') if '.dense.' in id else (pieces_apart, 'apart')
    return rows + [row(f'{id}.{name}', [right(way, m, x, y) for m in nets], 'accuracy')]


def again(id, seed):
    "The accuracy of one more seed of a stored row, at its stored learning rate."
    lr, spec = stored_rows(RESULTS/'pooling_controls.json')[f'{id}.lr']['value'], specs()[id]
    with num_threads(1): return score(trained(spec, 'train', lr, seed), *made(spec[0], 'test', 4000, 2))


# about two seconds
CHEAP = {'pooling_controls.large.average.norm': partial(again, 'pooling_controls.large.average.norm')}


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--only', nargs='*', default=['pooling_controls.'], help='beginnings of ids')
    p.add_argument('--seeds', type=int, default=SEEDS)
    a = p.parse_args()
    torch.set_num_threads(1)
    if mnist().name != 'mnist': raise SystemExit('this needs the full MNIST')
    todo = {id: spec for id, spec in specs().items() if id.startswith(tuple(a.only))}
    if not todo: raise SystemExit(f"no row starts with {a.only}; there are: {', '.join(specs())}")
    rows = []
    for id, spec in todo.items():
        rows += measure(id, spec, a.seeds)
        save('pooling_controls', rows, keep=len(todo) < len(specs()))


if __name__ == '__main__': main()
