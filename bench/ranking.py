"""Lists of ten films: nDCG@10 by kind of model under two protocols, and what a group of fans does to lists.

    python bench/ranking.py                     everything, one thread, about 6 CPU minutes
    python bench/ranking.py --part a            one part (a, b, fans); the other rows of the file stay

a: random split of seed 42; b: each user's latest 20%. Every film without a training rating of the user is
ranked; test ratings of 4 and 5 are relevant; users without one are left out. Settings are chosen for each
model and protocol on a split of the training part of the same kind, seed 0, by nDCG@10; the test is scored
once, seeds 0 to n-1. fans: share of horror in the lists of the 943 others, the seed draws the fans too.
"""
import os, sys
from pathlib import Path
os.environ.setdefault('OMP_NUM_THREADS', '1')
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F

from _record import row, run_parts
from lesson8.batches import Batches
from lesson8.data import movielens_100k, random_split, rating_tensors
from lesson8.embeddings import DotProductBias
from lesson8.ranking import (EASE, ImplicitALS, ItemKNN, NegativeBatches, all_scores, bpr_loss, latest_split,
                             ndcg, top_n)
from lesson8.speed import dot_gradient
from lesson8.training import fit, predict
from lesson8.vocab import Vocab

SEEDS, FANS, GENRE = 3, (0, 9, 47), 'Horror'
COURSE = dict(epochs=5, lr=5e-3, wd=.1)  # the settings of chapter 02
RATES = [dict(lr=lr, wd=wd, epochs=10) for lr, wd in ((.01, .1), (.02, .1), (.02, .3), (.02, .5), (.03, .3))]
GRID = {
    'course_tuned': [COURSE | dict(epochs=n) for n in (1, 2, 3)] + [COURSE],
    'logistic': RATES, 'bpr': RATES,
    'als': [dict(alpha=a, strength=s) for a, s in ((5, 30), (5, 60), (10, 30), (10, 60), (20, 100))],
    'knn': [dict(k=k, shrink=s) for k in (50, 100, 200) for s in (10, 50)],
    'ease': [dict(strength=s) for s in (50, 100, 200, 350, 500)]}
CHANCE = ('course', 'course_tuned', 'logistic', 'bpr', 'als')


def load():
    ml = movielens_100k()
    users, items = Vocab(ml.users.user), Vocab(ml.items.item)
    return ml, *rating_tensors(ml.ratings, users, items), torch.tensor(ml.ratings.timestamp.to_numpy())


def table(x, values, shape=(943, 1682)):
    t = torch.zeros(shape)
    t[x[:, 0], x[:, 1]] = values
    return t


def course(x, y, seed, shape=(943, 1682), **kwargs):
    torch.manual_seed(seed)
    model = DotProductBias(*shape)
    fit(model, Batches(x, y, 512, seed=seed), gradient=dot_gradient(model), threads=1, progress=False,
        **kwargs)
    return model


def sampled(x, y, seed, loss, shape=(943, 1682), **kwargs):
    torch.manual_seed(seed)
    model = DotProductBias(*shape, y_range=None)
    batches = NegativeBatches(x[y >= 4], shape[1], seed=seed)
    fit(model, batches, loss=loss, threads=1, progress=False, **kwargs)
    return model


def scores(name, x, y, seed=0, shape=(943, 1682), **kwargs):
    "Scores of all users and films by the model of this name, trained on x and y."
    X = table(x, y/5, shape)
    if name == 'popularity': return (X >= .8).float().sum(0).expand(shape)
    if name == 'item_mean': return (X.sum(0)/(X > 0).sum(0).clamp(min=1)).expand(shape)
    if name == 'damped_mean': return ((X.sum(0) + 20*(y/5).mean())/((X > 0).sum(0) + 20)).expand(shape)
    if name in ('course', 'course_tuned'): return all_scores(course(x, y, seed, shape, **(kwargs or COURSE)))
    if name == 'logistic':
        return all_scores(sampled(x, y, seed, F.binary_cross_entropy_with_logits, shape, **kwargs))
    if name == 'bpr': return all_scores(sampled(x, y, seed, bpr_loss, shape, **kwargs))
    if name == 'als': return ImplicitALS(**kwargs, seed=seed).fit(X).score(X)
    return dict(knn=ItemKNN, ease=EASE)[name](**kwargs).fit(X).score(X)


def list_score(S, x, x_test, y_test):
    "Mean nDCG@10 over the users who have something to find."
    seen, liked = table(x, 1.) > 0, table(x_test, y_test) >= 4
    some = liked.any(1)
    lists = top_n(S, seen)
    return ndcg(liked.gather(1, lists)[some], liked[some].sum(1)).mean().item()


def cut(protocol, x, when, seed):
    return random_split(len(x), seed=seed) if protocol == 'a' else latest_split(x[:, 0], when)


def protocol(name):
    "The part of one protocol."
    def part(seeds):
        _, x, y, when = load()
        train, test = cut(name, x, when, 42)
        inner, held = (train[rows] for rows in cut(name, x[train], when[train], 0))
        for model in ('popularity', 'item_mean', 'course', *GRID):
            best = {}
            if model in GRID:
                tried = [(list_score(scores(model, x[inner], y[inner], **s), x[inner], x[held], y[held]), k)
                         for k, s in enumerate(GRID[model])]
                best = GRID[model][max(tried)[1]]
                print(model, best, [round(v, 4) for v, _ in tried], flush=True)
            found = [list_score(scores(model, x[train], y[train], seed, **best), x[train], x[test], y[test])
                     for seed in (range(seeds) if model in CHANCE else (0,))]
            yield row(f'ranking.{name}.{model}', found, 'accuracy') | dict(unit='ndcg', settings=best)
        yield row(f'ranking.{name}.course.rmse', [course_rmse(name, s) for s in range(seeds)], 'rmse')
    return part


def course_rmse(name, seed):
    _, x, y, when = load()
    train, test = cut(name, x, when, 42)
    model = course(x[train], y[train], seed, **COURSE)
    pred, true = predict(model, Batches(x[test], y[test], 4096, shuffle=False))
    return F.mse_loss(pred, true).sqrt().item()


def with_fans(x, y, genre, n, seed):
    "Ratings and those of n fans, who give five stars to 80% of the films of a genre."
    gen = torch.Generator().manual_seed(seed)
    films = genre.nonzero()[:, 0]
    loved = [films[torch.randperm(len(films), generator=gen)[:round(.8*len(films))]] for _ in range(n)]
    new = [torch.stack([torch.full_like(f, 943 + k), f], 1) for k, f in enumerate(loved)]
    x_all = torch.cat([x, *new])
    return x_all, torch.cat([y, torch.full((len(x_all) - len(y),), 5.)])


def fans(seeds):
    "Share of the genre in the lists of the 943 others, by model and number of fans."
    ml, x, y, when = load()
    train, _ = cut('a', x, when, 42)
    genre, seen = torch.tensor(ml.items[GENRE].to_numpy()), table(x[train], 1.) > 0
    kwargs = dict(logistic=dict(lr=.02, wd=.3, epochs=10), als=dict(alpha=5, strength=30),
                  ease=dict(strength=350))
    for model in ('damped_mean', 'popularity', 'course', 'logistic', 'als', 'ease'):
        for n in FANS:
            shares = []
            for seed in range(seeds):
                xf, yf = with_fans(x[train], y[train], genre, n, seed)
                S = scores(model, xf, yf, seed, (943 + n, 1682), **kwargs.get(model, {}))
                shares.append(genre[top_n(S[:943], seen)].float().mean().item())
            yield row(f'ranking.fans.{model}.{n}', shares, 'accuracy') | dict(unit='share')


# about a second
CHEAP = {'ranking.a.course.rmse': lambda seed: course_rmse('a', seed)}

if __name__ == '__main__':
    torch.set_num_threads(1)
    run_parts('ranking', {'a': protocol('a'), 'b': protocol('b'), 'fans': fans}, __doc__)
