"""Dot product against neural net on MovieLens-100k (split s42), fastai's two ways, sizes of embeddings, a net
that imitates a dot product.

    python bench/deep_collab.py [--part budgets] [--seeds 10]

Settings are chosen on 8,000 of the 80,000 training ratings and reported on the 20,000 hidden ones. Seeds are
0 .. n-1, none left out.
"""
import argparse, itertools, os, time, warnings
from functools import partial

os.environ.setdefault('OMP_NUM_THREADS', '1')
import torch
from torch import nn

from _record import row, save
from lesson8.batches import Batches
from lesson8.data import movielens_100k, random_split, rating_tensors
from lesson8.deep_collab import CollabNN, get_emb_sz
from lesson8.embeddings import DotProductBias
from lesson8.speed import dot_gradient
from lesson8.training import fit
from lesson8.vocab import Vocab

N_USERS, N_ITEMS = 943, 1682
BUDGETS = (5, 10, 20, 50, 100)  # factors of the dot product; the net gets at most as many weights
PLAIN = dict(epochs=5, wd=.1, lr=5e-3)


def data():
    """(x, y, outer split, inner split); the inner one holds back 8,000 of the 80,000 training ratings, as in
    chapters 02 and 05."""
    ml = movielens_100k()
    users, items = Vocab(ml.ratings.user), Vocab(ml.ratings.item)
    assert (len(users), len(items)) == (N_USERS, N_ITEMS)
    train, valid = random_split(len(ml.ratings))
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))]
    return *rating_tensors(ml.ratings, users, items), (train, valid), (order[8000:], order[:8000]), ml


def score(model, split, seed, bs, **kwargs):
    """Valid MSE after the last epoch of one training run; `model` makes the model, `split` is a pair of row
    numbers."""
    x, y = DATA[:2]
    train, valid = Batches(x[split[0]], y[split[0]], bs,
                           seed=seed), Batches(x[split[1]], y[split[1]], 4096, shuffle=False)
    torch.manual_seed(seed)
    m = model()
    return fit(m, train, valid, gradient=quick(m), threads=1, progress=False, **kwargs).last['valid_loss']


def quick(model):
    "The gradient derived by hand where it is the model's; None, which means autograd, for every other model."
    return dot_gradient(model) if type(model) is DotProductBias else None


def weights(model): return sum(p.numel() for p in model.parameters())


def net_dim(budget, n_act):
    "The longest rows with which a CollabNN of `n_act` hidden units has no more than `budget` weights."
    return max((budget - 2*n_act - 1)//(N_USERS + N_ITEMS + 2*n_act), 1)


class Both(DotProductBias):
    """Dot product, biases and a net on embeddings of its own, added before the range: NeuMF of He et al. 2017
    without pretraining."""
    def __init__(self, n_factors=25, net_factors=22, **kwargs):
        super().__init__(N_USERS, N_ITEMS, n_factors)
        self.net = CollabNN((N_USERS, net_factors), (N_ITEMS, net_factors), None, **kwargs)

    def score(self, x): return super().score(x) + self.net.score(x)


def choose(configs, make):
    "The configuration (dict) with the lowest MSE on the inner split, seed 0."
    return min(configs, key=lambda c: score(*make(c), **{k: c[k] for k in ('epochs', 'wd', 'lr')}))


def make_dot(n_factors): return lambda c: (lambda: DotProductBias(N_USERS, N_ITEMS, n_factors), INNER, 0, 512)


def make_net(budget):
    def make(c):
        d = net_dim(budget, c['n_act'])
        return (lambda: CollabNN((N_USERS, d), (N_ITEMS, d), n_act=c['n_act'], embed_p=c['embed_p'],
                                 ps=c['ps'], std=c['std'])), INNER, 0, 256
    return make


def grid(**choices): return [dict(zip(choices, c)) for c in itertools.product(*choices.values())]


DOT_GRID = grid(epochs=(5, 8, 12, 20, 30), wd=(.1, .2), lr=(5e-3,))
NET_GRID = [c | dict(embed_p=e, ps=p) for c in grid(epochs=(5, 12, 20), wd=(.1,), lr=(1e-2,), n_act=(100,),
                                                    std=(.05,))
            # what stays fixed comes from a search of 67 settings on the same inner split
            for e, p in ((0., 0.), (.2, .2), (.4, .2))]


def final(id, make, c, n):
    "The row of a chosen configuration: n seeds on the hidden ratings."
    model, _, _, bs = make(c)
    scores = [score(model, OUTER, seed, bs, **{k: c[k] for k in ('epochs', 'wd', 'lr')}) for seed in range(n)]
    return dict(row(id, scores, 'mse'), settings=dict(c, bs=bs, weights=weights(model())))


def budgets(n):
    """Both models at equal numbers of weights, each with its own choice of settings; and the net as the
    lecture has it."""
    for f in BUDGETS:
        dot, net = make_dot(f), make_net(weights(DotProductBias(N_USERS, N_ITEMS, f)))
        seeds = n if f == 50 else min(n, 5)
        yield final(f'deep_collab.dot_{f}.valid_mse', dot, choose(DOT_GRID, dot), seeds)
        yield final(f'deep_collab.net_{f}.valid_mse', net, choose(NET_GRID, net), seeds)


def plain(n):
    "The dot product of 50 factors and nets without any tuning, five epochs each."
    (nu,
     ni), d = [s[1]
               for s in get_emb_sz(dict(user=range(N_USERS),
                                        item=range(N_ITEMS)))], net_dim(weights(DotProductBias(N_USERS,
                                                                                               N_ITEMS)), 100)
    def net(nu, ni, n_act=100):
        return lambda c: ((lambda: CollabNN((N_USERS, nu), (N_ITEMS, ni), n_act=n_act)), INNER, 0, c['bs'])
    yield final('deep_collab.dot_plain.valid_mse', make_dot(50), PLAIN, n)
    yield final('deep_collab.net_plain.valid_mse', net(d, d), PLAIN | dict(bs=256), n)
    yield final('deep_collab.net_100_50_bs64.valid_mse', net(nu, ni, [100, 50]), PLAIN | dict(bs=64),
                min(n, 3))
    def both(c):
        return (lambda: Both(c['n_factors'], c['net_factors'], n_act=c['n_act'], embed_p=.4, ps=.2,
                             std=.05)), INNER, 0, 512
    configs = [PLAIN | dict(epochs=e, n_factors=f, net_factors=k, n_act=a) for e in (5, 8)
               for f, k, a in ((25, 22, 100), (40, 8, 50))]
    yield final('deep_collab.both.valid_mse', both, choose(configs, both), n)


def averages(n):
    """The mean of two models' predictions: two dot products of different seeds, a dot product and a tuned net
    (share .3, chosen on the inner split)."""
    x, y = DATA[:2]
    dot, net = make_dot(50)({})[0], make_net(weights(DotProductBias(N_USERS, N_ITEMS)))(TUNED)[0]
    def pred(model, seed, bs, **kw):
        torch.manual_seed(seed)
        m = model()
        batches = Batches(x[OUTER[0]], y[OUTER[0]], bs, seed=seed)
        fit(m, batches, gradient=quick(m), threads=1, progress=False, **kw)
        with torch.no_grad(): return m(x[OUTER[1]])
    truth, pairs, mixed = y[OUTER[1]], [], []
    for seed in range(n):
        a, b = pred(dot, seed, 512, **PLAIN), pred(dot, seed + n, 512, **PLAIN)
        c = pred(net, seed, 256, epochs=12, wd=.1, lr=1e-2)
        pairs.append(((a + b)/2 - truth).square().mean()); mixed.append((.7*a + .3*c - truth).square().mean())
    yield row('deep_collab.two_dots.valid_mse', pairs, 'mse')
    yield row('deep_collab.dot_and_net.valid_mse', mixed, 'mse')


TUNED = dict(epochs=12, wd=.1, lr=1e-2, n_act=100, embed_p=.4, ps=.2, std=.05)


def sizes(n):
    "Held-out loss on the inner split against the size of the embeddings, everything else plain."
    n = min(n, 5)
    def of(nu, ni):
        return [score(lambda: CollabNN((N_USERS, nu), (N_ITEMS, ni)), INNER, s, 256, **PLAIN)
                for s in range(n)]
    for d in (2, 5, 10, 20, 50, 100): yield row(f'deep_collab.size_{d}.inner_mse', of(d, d), 'mse')
    yield row('deep_collab.size_rule.inner_mse', of(74, 102), 'mse')
    yield row('deep_collab.size_dot.inner_mse', [score(lambda: DotProductBias(N_USERS, N_ITEMS), INNER, s,
                                                       512, **PLAIN) for s in range(n)], 'mse')


def fastai(n):
    """collab_learner, use_nn=False and True, rows drawn with replacement (as it comes) and truly shuffled, bs
    64."""
    from fastai.collab import CollabDataLoaders, TabularCollab, collab_learner
    from fastai.tabular.all import TabDataLoader, TabWeightedDL
    import numpy as np
    ratings = DATA[4].ratings[['user', 'item', 'rating']]
    for loader, kind in (('replacement', TabWeightedDL), ('shuffled', TabDataLoader)):
        TabularCollab._dl_type = kind
        for name, kw in (('dot', {}), ('nn', dict(use_nn=True, layers=[100, 50]))):
            scores = []
            for seed in range(min(n, 3)):
                torch.manual_seed(seed); np.random.seed(seed)
                dls = CollabDataLoaders.from_df(ratings, seed=42, bs=64)
                torch.manual_seed(seed)
                learn = collab_learner(dls, n_factors=50, y_range=(0, 5.5), **kw)
                with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(5, 5e-3, wd=.1)
                scores.append(learn.recorder.values[-1][1])
            yield row(f'deep_collab.fastai_{name}_{loader}.valid_mse', scores, 'mse')


def imitate_error(d, n, seed, width=128, steps=2000, hidden_rows=5000):
    """RMSE, in standard deviations of the target, of a net (two hidden layers) that learns u.v from n pairs
    of random rows u, v of length d."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n + hidden_rows, 2*d, generator=g)
    y = (x[:, :d]*x[:, d:]).sum(1)/d**.5
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(2*d, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                        nn.Linear(width, 1), nn.Flatten(0))
    bs = min(256, n)
    epochs = max(1, round(steps*bs/n))
    fit(net, Batches(x[:n], y[:n], bs, seed=seed), epochs=epochs, lr=5e-3, wd=.1, threads=1, progress=False)
    with torch.no_grad(): return (net(x[n:]) - y[n:]).square().mean().sqrt().item()


def imitation(n):
    n = min(n, 3)
    for d in (1, 2, 4, 8, 16, 32, 64):
        for rows in (1000, 4000, 16000, 64000):
            yield row(f'deep_collab.imitate_d{d}_n{rows}.rmse', [imitate_error(d, rows, s) for s in range(n)],
                      'rmse')
    for width in (32, 512):
        yield row(f'deep_collab.imitate_d16_n64000_width{width}.rmse',
                  [imitate_error(16, 64000, s, width) for s in range(n)], 'rmse')


PARTS = dict(plain=plain, sizes=sizes, imitation=imitation, fastai=fastai, averages=averages, budgets=budgets)


def setup():
    "Load the ratings once."
    global DATA, OUTER, INNER
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)
    DATA = data()
    OUTER, INNER = DATA[2:4]


def again(model, bs, seed):
    "One seed of a plain row on the hidden ratings."
    setup()
    return score(model, OUTER, seed, bs, **PLAIN)


CHEAP = {'deep_collab.dot_plain.valid_mse': partial(again, lambda: DotProductBias(N_USERS, N_ITEMS), 512),
         'deep_collab.net_plain.valid_mse': partial(again, lambda: CollabNN((N_USERS, 47), (N_ITEMS, 47)),
                                                    256)}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--part', choices=list(PARTS), action='append',
                   help='only this part; rows of the others are kept as they are stored')
    p.add_argument('--seeds', type=int, default=10)
    args = p.parse_args()
    setup()
    rows = {}
    for part in args.part or PARTS:
        start = time.perf_counter()
        for r in PARTS[part](args.seeds):
            rows[r['id']] = r
            print(f"{r['id']:<45} {r['value']:.4f} sd {r['sd']:.4f} n {r['n']}  {r.get('settings', '')}",
                  flush=True)
        print(f'-- {part}: {time.perf_counter() - start:.0f} s', flush=True)
    save('deep_collab', rows.values(), ('torch', 'numpy', 'fastai'), keep=bool(args.part))


if __name__ == '__main__': main()
