"""Collaborative filtering on MovieLens-100k: this package and its peers, in turn in one process, one thread
each.

    python bench/collab.py [--rounds 5] [--only dot surprise]    measures and writes bench/results/collab.json
    python bench/collab.py --choose                              the grid from which our settings were chosen

All learn from the 80,000 ratings of fastai's split with seed 42 and are scored on the other 20,000. A fit's
time leaves out imports and preparing the data, and includes the validation after each epoch where the
contender has one (fastai, ours). CPU time (all threads) is what ratios are made of: wall time suffers from
whatever else the machine does. Our settings were chosen on 8,000 of the 80,000, see `choose`.
"""
import os
os.environ.setdefault('OMP_NUM_THREADS', '1')
import argparse, contextlib, io, itertools, statistics, time, warnings
from functools import cache, partial

import torch
import torch.nn.functional as F

from lesson8.batches import Batches
from lesson8.data import movielens_100k, random_split, rating_tensors
from lesson8.embeddings import DotProductBias
from lesson8.speed import dot_gradient
from lesson8.steps import AdamW
from lesson8.training import fit
from lesson8.vocab import Vocab

from _record import row, save

# What `choose` found: the quickest within one percent of the lowest error; and for batches of 64 the lowest
# error.
BEST = dict(n_factors=20, bs=768, lr=1.5e-2, wd=.2, beta2=.97, eps=1e-4)
BEST_64 = dict(n_factors=16, bs=64, lr=1e-2, wd=.05, beta2=.97, eps=1e-3)


@cache
def data():
    "(ratings, x, y, train rows, valid rows)"
    ml = movielens_100k()
    x, y = rating_tensors(ml.ratings, Vocab(ml.users.user), Vocab(ml.items.item))
    return ml.ratings, x, y, *random_split(len(y), .2, 42)


def timed(f):
    "What f returns, CPU seconds of all threads, wall seconds."
    cpu, wall = time.process_time(), time.perf_counter()
    out = f()
    return out, time.process_time() - cpu, time.perf_counter() - wall


def ours(seed, by_hand=True, rows=None, n_factors=50, bs=64, lr=5e-3, wd=.1, beta2=.99, eps=1e-5):
    "(valid MSE, CPU seconds, wall seconds) of `fit` with our DotProductBias."
    _, x, y, train, valid = data()
    if rows is not None: train, valid = rows
    torch.manual_seed(seed)
    model = DotProductBias(943, 1682, n_factors)
    batches, check = Batches(x[train], y[train], bs,
                             seed=seed), Batches(x[valid], y[valid], 4096, shuffle=False)
    opt, gradient = partial(AdamW, betas=(.9, beta2), eps=eps), dot_gradient(model) if by_hand else None
    settings = dict(epochs=5, lr=lr, wd=wd, opt=opt, gradient=gradient, threads=1, progress=False)
    history, *times = timed(lambda: fit(model, batches, check, **settings))
    return history.last['valid_loss'], *times


def plain(seed):
    "The loop of chapter 02: autograd, torch's fused AdamW and OneCycleLR, bs 512; no validation in between."
    _, x, y, train, valid = data()
    torch.manual_seed(seed)
    model = DotProductBias(943, 1682, 50)
    x_train, y_train, steps = x[train], y[train], 5*157
    def loop():
        opt = torch.optim.AdamW(model.parameters(), 5e-3, weight_decay=.1, betas=(.9, .99), fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(opt, 5e-3, steps)
        for _ in range(5):
            for rows in torch.randperm(len(train)).split(512):
                F.mse_loss(model(x_train[rows]), y_train[rows]).backward()
                opt.step(); opt.zero_grad(); schedule.step()
    _, *times = timed(loop)
    with torch.no_grad(): return F.mse_loss(model(x[valid]), y[valid]).item(), *times


def fastai(seed, shuffled):
    "collab_learner with 50 factors, bs 64, five epochs; as it comes it draws rows with replacement."
    from fastai.collab import CollabDataLoaders, TabularCollab, collab_learner
    from fastai.tabular.core import TabDataLoader, TabWeightedDL
    from fastai.torch_core import set_seed
    TabularCollab._dl_type = TabDataLoader if shuffled else TabWeightedDL
    dls = CollabDataLoaders.from_df(data()[0][['user', 'item', 'rating']], valid_pct=.2, seed=42, bs=64)
    set_seed(seed)
    learn = collab_learner(dls, n_factors=50, y_range=(0, 5.5))
    with learn.no_bar(), learn.no_logging(): _, *times = timed(lambda: learn.fit_one_cycle(5, 5e-3, wd=.1))
    return learn.recorder.values[-1][1], *times


def surprise(seed, name):
    "scikit-surprise with its defaults."
    import surprise
    ratings, _, _, train, valid = data()
    triples = lambda rows: list(ratings.iloc[rows.numpy()][['user', 'item',
                                                            'rating']].itertuples(index=False, name=None))
    reader = surprise.Reader(rating_scale=(1, 5))
    trainset = surprise.Dataset.load_from_df(ratings.iloc[train.numpy()][['user', 'item', 'rating']],
                                             reader).build_full_trainset()
    algo = getattr(surprise, name)(random_state=seed)
    _, *times = timed(lambda: algo.fit(trainset))
    return statistics.fmean((p.est - p.r_ui)**2 for p in algo.test(triples(valid))), *times


def myfm(seed):
    "myFM's Bayesian factorisation machine on user and item: rank 10, 200 Gibbs iterations."
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        from myfm import MyFMRegressor
    import numpy as np, scipy.sparse as sp
    _, x, y, train, valid = data()
    def one_hot(rows):
        cols = (x[rows] + torch.tensor([0, 943])).numpy()
        return sp.csr_matrix((np.ones(cols.size), cols.ravel(), np.arange(0, cols.size + 1, 2)),
                             shape=(len(rows), 943 + 1682))
    X, model = one_hot(train), MyFMRegressor(rank=10, random_seed=seed)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        _, *times = timed(lambda: model.fit(X, y[train].numpy(), n_iter=200, group_shapes=[943, 1682]))
    return float(((model.predict(one_hot(valid)) - y[valid].numpy())**2).mean()), *times


CONTENDERS = dict(  # name: (what measures it, runs a round)
    dot=(partial(ours, **BEST), 2),
    dot_autograd=(partial(ours, **BEST, by_hand=False), 2),
    dot_bs64=(partial(ours, **BEST_64), 2),
    dot_fastai_settings=(ours, 1),
    plain_loop=(plain, 2),
    fastai_as_it_comes=(partial(fastai, shuffled=False), 1),
    fastai_shuffled=(partial(fastai, shuffled=True), 1),
    surprise_svd=(partial(surprise, name='SVD'), 1),
    surprise_svdpp=(partial(surprise, name='SVDpp'), 1),
    myfm=(myfm, 1))

# Rows that a test re-runs with a seed of its own: quick, and without a peer.
CHEAP = {'collab.dot.valid_mse': lambda seed: ours(seed, **BEST)[0]}


def choose(seeds=3, slack=1.01):
    """Print the grid: settings chosen on 8,000 of the 80,000 training ratings, none of the 20,000 is looked
    at.

    Of all settings whose error is at most one percent above the lowest, the quickest comes first."""
    train = data()[3]
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    grids = [dict(n_factors=[10, 20, 30, 50], bs=[512, 768], lr=[1e-2, 1.5e-2], wd=[.1, .2, .3], beta2=[.97],
                  eps=[1e-8, 1e-4]),
             dict(n_factors=[10, 16, 20], bs=[64], lr=[5e-3, 1e-2], wd=[.05, .1], beta2=[.97],
                  eps=[1e-4, 1e-3])]
    for grid in grids:
        found = []
        for values in itertools.product(*grid.values()):
            settings = dict(zip(grid, values))
            runs = [ours(seed, rows=(order[8000:], order[:8000]), **settings) for seed in range(seeds)]
            found.append((statistics.fmean(r[0] for r in runs), min(r[1] for r in runs), settings))
        lowest = min(o[0] for o in found)
        print(
            f'lowest error {lowest:.4f} of {len(found)} settings; those within one percent of it, the '
            f'quickest first:')
        for mse, cpu, settings in sorted((o for o in found if o[0] <= slack*lowest),
                                         key=lambda o: o[1]): print(f'{mse:.4f}  {cpu:.3f} s  {settings}')
        print(flush=True)


def results(runs):
    "The rows of the result file: each contender's error and times, and ratios round by round."
    out, cpu = [], {}
    for name, rounds in runs.items():
        flat = [r for rs in rounds for r in rs]
        cpu[name] = [statistics.fmean(r[1] for r in rs) for rs in rounds]
        out += [row(f'collab.{name}.valid_mse', [r[0] for r in flat], 'mse'),
                row(f'collab.{name}.fit_cpu_seconds', [r[1] for r in flat], 's'),
                row(f'collab.{name}.fit_seconds', [r[2] for r in flat], 's')]
    for id, over, under in [('collab.dot.speedup_fastai', 'fastai_as_it_comes', 'dot'),
                            ('collab.dot.speedup_fastai_shuffled', 'fastai_shuffled', 'dot'),
                            ('collab.dot.speedup_fastai_same_bs', 'fastai_as_it_comes', 'dot_bs64'),
                            ('collab.dot.speedup_plain_loop', 'plain_loop', 'dot'),
                            ('collab.dot.speedup_autograd', 'dot_autograd', 'dot'),
                            ('collab.dot.vs_surprise_svd', 'dot', 'surprise_svd')]:
        if over in cpu and under in cpu:
            out.append(row(id, [a/b for a, b in zip(cpu[over], cpu[under])], 'ratio'))
    return out


def table(rows):
    "All contenders, best error first, with their time as a multiple of ours."
    value = {r['id']: r for r in rows}
    names = sorted({r['id'].split('.')[1] for r in rows if r['unit'] == 'mse'},
                   key=lambda n: value[f'collab.{n}.valid_mse']['value'])
    base = value.get('collab.dot.fit_cpu_seconds', dict(value=float('nan')))['value']
    print(f"\n{'':<22}{'valid MSE':>10}{'sd':>8}{'n':>4}{'CPU s':>9}{'wall s':>9}{'x dot':>8}")
    for n in names:
        mse, cpu, wall = (value[f'collab.{n}.{k}'] for k in ('valid_mse', 'fit_cpu_seconds', 'fit_seconds'))
        print(
            f"{n:<22}{mse['value']:>10.4f}{mse['sd']:>8.4f}{mse['n']:>4}"
            f"{cpu['value']:>9.2f}{wall['value']:>9.2f}{cpu['value']/base:>8.1f}")


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--rounds', type=int, default=5)
    p.add_argument('--only', nargs='*', default=list(CONTENDERS), choices=list(CONTENDERS),
                   help='measure these alone; nothing is written')
    p.add_argument('--choose', action='store_true',
                   help='print the grid from which our settings were chosen, and stop')
    a = p.parse_args()
    torch.set_num_threads(1)
    if a.choose: return choose()
    warnings.filterwarnings('ignore')
    runs = {name: [] for name in a.only}
    ours(0, **BEST); plain(0)  # the first run of a process pays for what torch loads late
    for i in range(a.rounds):
        for name in a.only if i % 2 == 0 else a.only[::-1]:
            f, k = CONTENDERS[name]
            runs[name].append([f(seed) for seed in range(i*k, (i + 1)*k)])
            print(f'round {i + 1}, {name}: ' + ', '.join(f'{m:.4f} in {c:.2f} s'
                                                         for m, c, _ in runs[name][-1]), flush=True)
    rows = results(runs)
    if a.only == list(CONTENDERS):
        save('collab', rows, ('torch', 'numpy', 'fastai', 'scikit-surprise', 'myfm'))
    table(rows)


if __name__ == '__main__': main()
