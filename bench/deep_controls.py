"""Controls of chapter 05: what taste is worth in each model, a third dot product against a net, wider dropout, a net that is given the products, and what limits a net that imitates a dot product.

    python bench/deep_controls.py [--part models] [--seeds 10]

Models, settings and splits are those of bench/deep_collab.py. Whatever is chosen here is chosen on its inner split. Seeds are 0 .. n-1, none left out.
"""
from functools import partial
from statistics import mean

import torch, torch.nn.functional as F
from torch import nn

import deep_collab as base
from _record import row, run_parts
from lesson8.batches import Batches
from lesson8.deep_collab import CollabNN
from lesson8.embeddings import DotProductBias, sigmoid_range
from lesson8.training import fit

TUNED = dict(base.TUNED)
SHARES = (0., .1, .2, .3, .4)  # of the net in a mixture with two dot products


def average(id, values, unit):
    "A row with the mean, whatever the unit."
    return dict(row(id, values, unit), value=round(mean(map(float, values)), 6))


def dot(): return DotProductBias(base.N_USERS, base.N_ITEMS)
def net(**kwargs): return CollabNN((base.N_USERS, 47), (base.N_ITEMS, 47), **kwargs)
def tuned_net(embed_p=TUNED['embed_p']): return net(embed_p=embed_p, ps=TUNED['ps'], std=TUNED['std'])


def trained(make, seed, split, bs, epochs=5, lr=5e-3, wd=.1):
    "A model after one training run on the first part of `split`."
    x, y = base.DATA[:2]
    torch.manual_seed(seed)
    m = make()
    fit(m, Batches(x[split[0]], y[split[0]], bs, seed=seed), gradient=base.quick(m), threads=1, progress=False, epochs=epochs, lr=lr, wd=wd)
    return m


def trained_tuned(seed, split, **kw): return trained(partial(tuned_net, **kw), seed, split, 256, TUNED['epochs'], TUNED['lr'], TUNED['wd'])


@torch.no_grad()
def said(model, split): return model(base.DATA[0][split[1]])


@torch.no_grad()
def cut(model):
    "The table of all users and films before the range: mean, the users' part, the films' part, taste."
    pairs = torch.cartesian_prod(torch.arange(base.N_USERS), torch.arange(base.N_ITEMS))
    table = torch.cat([model.score(o) for o in pairs.split(50_000)]).view(base.N_USERS, base.N_ITEMS)
    m, user, item = table.mean(), table.mean(1, keepdim=True), table.mean(0, keepdim=True)
    return dict(mean=m, user=user - m, film=item - m, taste=table - user - item + m)


def mse_of(table, split):
    "MSE of a table of scores on the second part of `split`."
    (user, item), y = base.DATA[0][split[1]].T, base.DATA[1][split[1]]
    return F.mse_loss(sigmoid_range(table[user, item], 0, 5.5), y).item()


def plain_part(parts): return parts['mean'] + parts['user'] + parts['film']


def mixed(a, b, c, share, split): return F.mse_loss((1 - share)*(a + b)/2 + share*c, base.DATA[1][split[1]]).item()


def models(n):
    "Taste in three models, and mixtures of two dot products with a third one or a tuned net."
    inner = [said(m, base.INNER) for m in (trained(dot, 0, base.INNER, 512), trained(dot, n, base.INNER, 512), trained_tuned(0, base.INNER))]
    share = min(SHARES, key=lambda s: mixed(*inner, s, base.INNER))
    print('share of the net, chosen on the inner split:', share)
    found = {}
    def note(id, unit, value): found.setdefault((id, unit), []).append(value)
    for seed in range(n):
        dots = [trained(dot, seed + k*n, base.OUTER, 512) for k in range(3)]
        three = dict(dot=dots[0], net=trained(net, seed, base.OUTER, 256), tuned=trained_tuned(seed, base.OUTER))
        a, b, c = (said(m, base.OUTER) for m in dots)
        tuned = said(three['tuned'], base.OUTER)
        for name, third, s in (('two_dots', c, 0.), ('three_dots', c, 1/3), ('two_dots_and_net', tuned, share)):
            note(f'{name}.valid_mse', 'mse', mixed(a, b, third, s, base.OUTER))
        note('third_dot_less_net.valid_mse', 'mse', mixed(a, b, c, 1/3, base.OUTER) - mixed(a, b, tuned, share, base.OUTER))
        parts = {name: cut(m) for name, m in three.items()}
        for name, p in parts.items():
            for k in ('user', 'film', 'taste'): note(f'{name}_{k}.variance', 'variance', p[k].var(correction=0))
            own, on_dot = plain_part(p), plain_part(parts['dot'])
            note(f'{name}_without_taste.valid_mse', 'mse', mse_of(own, base.OUTER))
            note(f'{name}_with_taste.valid_mse', 'mse', mse_of(own + p['taste'], base.OUTER))
            note(f'{name}_taste_takes_off.valid_mse', 'mse', mse_of(own, base.OUTER) - mse_of(own + p['taste'], base.OUTER))
            note(f'{name}_taste_on_dot.valid_mse', 'mse', mse_of(on_dot + p['taste'], base.OUTER))
    for (id, unit), values in found.items(): yield dict(average(f'deep_controls.{id}', values, unit), **({'share': share} if 'and_net' in id else {}))


def dropout(n):
    "More dropout of the embeddings than the grid of bench/deep_collab.py had: the inner split for each, the hidden ratings for the chosen one."
    inner = {}
    for p in (.2, .4, .6, .8):
        inner[p] = [F.mse_loss(said(trained_tuned(s, base.INNER, embed_p=p), base.INNER), base.DATA[1][base.INNER[1]]) for s in range(min(n, 3))]
        yield average(f'deep_controls.embed_p_{p}.inner_mse', inner[p], 'mse')
    best = min(inner, key=lambda p: mean(map(float, inner[p])))
    scores = [F.mse_loss(said(trained_tuned(s, base.OUTER, embed_p=best), base.OUTER), base.DATA[1][base.OUTER[1]]) for s in range(min(n, 5))]
    yield dict(row('deep_controls.chosen_dropout.valid_mse', scores, 'mse'), embed_p=best)


def imitate(d, n, seed, width=128, steps=2000, fresh=5000):
    "RMSE of a net that learns u.v from n pairs of rows of length d: (on the pairs it learned from, on fresh ones)."
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n + fresh, 2*d, generator=g)
    y = (x[:, :d]*x[:, d:]).sum(1)/d**.5
    torch.manual_seed(seed)
    m = nn.Sequential(nn.Linear(2*d, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1), nn.Flatten(0))
    fit(m, Batches(x[:n], y[:n], 256, seed=seed), epochs=max(1, round(steps*256/n)), lr=5e-3, wd=.1, threads=1, progress=False)
    with torch.no_grad(): return [(m(o) - t).square().mean().sqrt().item() for o, t in ((x[:n], y[:n]), (x[n:], y[n:]))]


CASES = [(32, 16000, 128, 2000), (32, 16000, 128, 8000), (32, 16000, 512, 2000),  # length, pairs, units, steps
         (64, 64000, 128, 2000), (64, 64000, 128, 8000), (64, 64000, 512, 4000)]


def imitation(n, length):
    "What limits the imitation: pairs, steps or hidden units; error on the pairs it learned from and on fresh ones."
    for d, pairs, width, steps in [c for c in CASES if c[0] == length]:
        results = [imitate(d, pairs, s, width, steps) for s in range(min(n, 3))]
        for name, values in zip(('seen', 'fresh'), zip(*results)):
            yield row(f'deep_controls.imitate_d{d}_n{pairs}_w{width}_s{steps}_{name}.rmse', values, 'rmse')


class WithProducts(CollabNN):
    "The net, given the products of its two rows as further inputs; with rows of 45 it has 131,826 weights."
    def __init__(self, d=45, n_act=100, embed_p=0., ps=0., std=.01):
        super().__init__((base.N_USERS, d), (base.N_ITEMS, d), n_act=n_act, ps=ps, std=std)
        self.drop, self.layers[0] = nn.Dropout(embed_p), nn.Linear(3*d, self.layers[0].out_features)

    def score(self, x):
        u, v = self.drop(self.user_factors(x[:, 0])), self.drop(self.item_factors(x[:, 1]))
        return self.layers(torch.cat([u, v, u*v], 1))[:, 0]


class OnlyProducts(DotProductBias):
    "A net on the products alone, with the two biases of the dot product; 132,226 weights."
    def __init__(self, d=47, n_act=100):
        super().__init__(base.N_USERS, base.N_ITEMS, d)
        self.layers = nn.Sequential(nn.Linear(d, n_act), nn.ReLU(), nn.Linear(n_act, 1))

    def score(self, x):
        u, v, biases = self.user_factors(x[:, 0]), self.item_factors(x[:, 1]), self.user_bias(x[:, 0]) + self.item_bias(x[:, 1])
        return (self.layers(u*v) + biases)[:, 0]


def products(n):
    """Nets that are given the products. In the settings of the plain net: one hidden layer, larger start values, no hidden layer, nothing but products
    and biases. In those of the tuned net: one hidden layer."""
    tuned = partial(WithProducts, embed_p=TUNED['embed_p'], ps=TUNED['ps'], std=TUNED['std'])
    cases = dict(products=(WithProducts, {}), products_start=(partial(WithProducts, std=TUNED['std']), {}), products_linear=(partial(WithProducts, n_act=[]), {}),
                 products_only=(OnlyProducts, {}), products_tuned=(tuned, {k: TUNED[k] for k in ('epochs', 'lr', 'wd')}))
    for name, (make, kw) in cases.items():
        scores = [F.mse_loss(said(trained(make, s, base.OUTER, 256, **kw), base.OUTER), base.DATA[1][base.OUTER[1]]) for s in range(min(n, 3))]
        yield row(f'deep_controls.{name}.valid_mse', scores, 'mse')


PARTS = dict(models=models, dropout=dropout, products=products, imitation_32=partial(imitation, length=32), imitation_64=partial(imitation, length=64))


def again(seed):
    "One dot product without its taste, scored on the hidden ratings."
    base.setup()
    return mse_of(plain_part(cut(trained(dot, seed, base.OUTER, 512))), base.OUTER)


CHEAP = {'deep_controls.dot_without_taste.valid_mse': again}


def main():
    base.setup()
    run_parts('deep_controls', PARTS, __doc__)


if __name__ == '__main__': main()
