"""The exported modules on a GPU and on the CPU beside it: MovieLens-100k at a small and a large batch,
several seeds.

    python bench/gpu.py [--data FOLDER] [--seeds 3] [--threads 1] [--cpu]

FOLDER holds u.data, and torch and numpy are all it needs; without --data lesson8.data fetches it. Writes
bench/results/gpu.json; without a GPU it measures nothing, or with --cpu the CPU alone. Each device trains the same models on the same batches in the same order, so
their errors must agree within the spread of seeds; the script fails if they do not. Times are wall time of a
whole fit of five epochs, validation included, after one fit to warm up; the device is waited for.
"""
import argparse, statistics, sys, time
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs without installation, too
from lesson8.batches import Batches
from lesson8.embeddings import DotProductBias
from lesson8.speed import dot_gradient
from lesson8.steps import AdamW
from lesson8.training import fit

from _record import row, save

# The settings of bench/collab.py, and for the large batch ones chosen in the same way, on 8,000 of the 80,000
# training ratings.
SETTINGS = dict(bs512=dict(bs=512, n_factors=50, lr=5e-3, wd=.1, beta2=.99, eps=1e-8),
                bs8192=dict(bs=8192, n_factors=50, lr=8e-2, wd=.3, beta2=.97, eps=1e-4))


def tensors(folder):
    """((x, y) to train on, (x, y) to validate on): the split of fastai's RandomSplitter(seed=42) on the order
    of u.data."""
    table = np.loadtxt(Path(folder)/'u.data', dtype=np.int64)[:, :3]
    x, y = torch.from_numpy(table[:, :2] - 1), torch.from_numpy(table[:, 2].astype('float32'))
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(42))
    cut = len(y)//5
    return (x[order[cut:]], y[order[cut:]]), (x[order[:cut]], y[order[:cut]])


def run(train, valid, device, seed, by_hand, bs, n_factors, lr, wd, beta2, eps, epochs=5):
    "(valid MSE, wall seconds, number of steps)"
    torch.manual_seed(seed)
    model = DotProductBias(943, 1682, n_factors).to(device)
    batches, check = Batches(*train, bs,
                             seed=seed).to(device), Batches(*valid, 20_000, shuffle=False).to(device)
    wait = torch.cuda.synchronize if device == 'cuda' else lambda: None
    wait(); start = time.perf_counter()
    opt, gradient = partial(AdamW, betas=(.9, beta2), eps=eps), dot_gradient(model) if by_hand else None
    history = fit(model, batches, check, epochs=epochs, lr=lr, wd=wd, opt=opt, gradient=gradient,
                  progress=False)
    wait()
    return history.last['valid_loss'], time.perf_counter() - start, epochs*len(batches)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--data', default=None, help='folder with u.data of MovieLens-100k')
    p.add_argument('--cpu', action='store_true', help='measure even without a GPU')
    p.add_argument('--seeds', type=int, default=3)
    p.add_argument('--threads', type=int, default=1, help='CPU threads')
    a = p.parse_args()
    torch.set_num_threads(a.threads)
    if not (a.cpu or torch.cuda.is_available()):
        return print('no GPU here, nothing measured; --cpu measures the CPU alone')
    if a.data is None:
        from lesson8.fetch import fetch
        a.data = fetch('ml-100k')
    train, valid = tensors(a.data)
    devices = ['cpu'] + ['cuda']*torch.cuda.is_available()
    runs = {}
    for name, settings in SETTINGS.items():
        for by_hand in (True, False):
            # warms up
            for device in devices: run(train, valid, device, 0, by_hand, **settings | dict(epochs=1))
            for seed in range(a.seeds):
                for device in devices:
                    runs.setdefault((name, by_hand, device),
                                    []).append(run(train, valid, device, seed, by_hand, **settings))
    rows = []
    for (name, by_hand, device), found in runs.items():
        id = f"gpu.dot.{name}{'' if by_hand else '_autograd'}.{device}"
        mse, seconds, steps = zip(*found)
        rows += [row(f'{id}.valid_mse', mse, 'mse'), row(f'{id}.fit_seconds', seconds, 's'),
                 row(f'{id}.step_microseconds', [1e6*s/n for s, n in zip(seconds, steps)], 'us')]
        if device == 'cuda':
            cpu = runs[name, by_hand, 'cpu']
            rows.append(row(f'{id}.speedup', [c[1]/g[1] for c, g in zip(cpu, found)], 'ratio'))
            gap, spread = abs(statistics.fmean(c[0] for c in cpu) - statistics.fmean(mse)), max(
                statistics.stdev(mse), .001) if len(mse) > 1 else .002
            assert gap < 3*spread, (
                f'{id}: valid MSE differs from the CPU by {gap:.4f}, more than three times the spread '
                f'{spread:.4f}')
    save('gpu', rows, ('torch', 'numpy'))


if __name__ == '__main__': main()
