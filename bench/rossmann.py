"""Rossmann's daily sales as in Guo & Berkhahn 2016 (arXiv 1604.06737): neighbours, forests, boosted trees and nets, with and without
entity embeddings, on a split by chance and on the latest tenth; beside them a current boosting library with the names as they are.

    python bench/rossmann.py --only PART ...    see `PARTS`; the rows of other parts stay as they are stored
    python bench/rossmann.py                    everything; about an hour on a quiet core

Seven columns, 844,338 rows with sales above 0. A tenth is held back: at random, or the latest days. Models learn from 200,000 of the other
rows, one sample for all unless a row says otherwise; seed k starts net k, and its embeddings go to the other models. Settings were chosen
on a tenth of the training rows (the latest ones for the split by date), as were numbers of rounds and weights. Trained nets are kept in the
system's folder for temporary files, so that a part can go on where another stopped. Times are CPU seconds, one thread.
"""
import os
os.environ.setdefault('OMP_NUM_THREADS', '1')
import argparse, pickle, sys, tempfile, time
from functools import cache
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from _record import row, save
from lesson8.entity_embeddings import EntityEmbedder, daily_sales, hold_back, mape

NAMES = ['Store', 'DayOfWeek', 'Day', 'Month', 'Year', 'Promo', 'State']
WIDTHS = [10, 6, 10, 6, 2, 1, 6]  # the paper's
KEPT = Path(tempfile.gettempdir())/'lesson8_rossmann'
SPLITS = 'shuffled', 'latest'
NET = dict(shuffled=dict(schedule='one_cycle', lr=6e-3), latest=dict(averaged=.999, layers=(200, 100)))  # chosen on an inner split
ALL = dict(epochs=4, layers=(200, 100))  # for all rows: less than four times the work of a sample


@cache
def table():
    "(row numbers of the names (n, 7), sales (n,)), the oldest first."
    path = KEPT/'table.npz'
    if not path.exists():
        t = daily_sales()
        KEPT.mkdir(exist_ok=True)
        np.savez(path, x=np.stack([np.unique(t[c], return_inverse=True)[1] for c in NAMES], 1), y=t.Sales.to_numpy(float))
    kept = np.load(path)
    return kept['x'], kept['y']


@cache
def split(name, inner=False):
    "(rows to learn from, rows held back); with `inner` the former alone, split once more in the same way."
    known, away = hold_back(len(table()[0]), name == 'latest')
    if not inner: return known, away
    a, b = hold_back(len(known), name == 'latest', seed=1)
    return known[a], known[b]


@cache
def sample(name, seed=0, size=200_000, inner=False):
    "The rows that models learn from."
    known = split(name, inner)[0]
    return known if size is None else np.random.default_rng(seed).choice(known, size, replace=False)


def timed(f):
    start = time.process_time()
    return f(), time.process_time() - start


def net(name, seed=0, size=200_000, inner=False, **settings):
    "A trained net with embeddings and the seconds it took, made or found in the folder of kept ones."
    settings = NET[name] | settings
    said = '_'.join([name, str(seed), str(size), 'inner'*inner, *(f'{k}{v}' for k, v in sorted(settings.items()))])
    path = KEPT/f'{said}.pickle'
    if path.exists(): return pickle.loads(path.read_bytes())
    x, y = table()
    rows = sample(name, 0, size, inner)
    made = timed(lambda: EntityEmbedder(WIDTHS, random_state=seed, **settings).fit(x[rows], np.log(y[rows])))
    KEPT.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(made))
    return made


class Part:
    "Collects the rows of one split as they are measured."
    def __init__(self, name, inner=False):
        (self.x, self.y), self.name, self.inner, self.rows = table(), name, inner, []
        self.away = split(name, inner)[1]

    def error(self, guess): return mape(guess, self.y[self.away])

    def add(self, id, values, unit='mape'):
        values = [float(v) for v in (values if hasattr(values, '__iter__') else [values])]
        self.rows.append(row(f'tabular.rossmann.{id}', values, unit))
        print(f"{self.rows[-1]['id']:<60}{self.rows[-1]['value']:>9.4g} {unit:<8} sd {self.rows[-1]['sd']:.2g}, n {len(values)}", flush=True)

    def run(self, id, f, seeds):
        "f(seed) -> (predictions, seconds): errors and seconds over seeds; the predictions."
        found = [f(seed) for seed in range(seeds)]
        self.add(id, [self.error(guess) for guess, _ in found])
        self.add(f'{id}.cpu_seconds', [s for _, s in found], 's')
        return [guess for guess, _ in found]


# --- models: each learns log sales and returns (predicted sales of the rows held back, CPU seconds)

def median(part, seed):
    "The middle of the sales of the same store, weekday and promotion; without such a day, of the store."
    import pandas as pd
    rows = sample(part.name, seed, inner=part.inner)
    known = pd.DataFrame(part.x[rows], columns=NAMES).assign(y=part.y[rows])
    asked = pd.DataFrame(part.x[part.away], columns=NAMES)
    guess = np.full(len(asked), np.median(known.y))
    for keys in (['Store'], ['Store', 'DayOfWeek', 'Promo']):
        found = asked.merge(known.groupby(keys).y.median().rename('guess').reset_index(), 'left', keys).guess
        guess = found.fillna(pd.Series(guess)).to_numpy()
    return guess, 0.


def lightgbm(part, seed, size=200_000, x=None, names=(0, 6), **settings):
    """Boosted trees, their rounds found on a tenth of the rows as the split has it, then trained on all of them.

    Stores and states are names to them; parts of a date stay numbers, which have an order."""
    import lightgbm as lgb
    rows, x = sample(part.name, 0, size, part.inner), part.x if x is None else x
    order = np.sort(rows) if part.name == 'latest' else np.random.default_rng(seed).permutation(rows)
    cut = len(order) - len(order)//10
    options = dict(objective='l2', learning_rate=.1, num_leaves=31, min_data_in_leaf=100, cat_smooth=1, cat_l2=1, max_cat_threshold=512,
                   bagging_fraction=.9, bagging_freq=1, verbose=-1, num_threads=1, seed=seed) | settings
    def data(r, **kw): return lgb.Dataset(x[r], np.log(part.y[r]), categorical_feature=list(names), params=options, **kw)
    def run():
        first = data(order[:cut])
        found = lgb.train(options, first, 4000, [data(order[cut:], reference=first)], callbacks=[lgb.early_stopping(50, verbose=False)])
        return lgb.train(options, data(order), found.best_iteration)
    model, seconds = timed(run)
    return np.exp(model.predict(x[part.away])), seconds


def neighbours(part, x, unit=True, ask=2_000):
    "The paper's: ten neighbours by the sum of differences, nearer ones count more; its code brings rows to length 1 first."
    rows = sample(part.name, 0, inner=part.inner)
    asked = np.random.default_rng(0).choice(len(part.away), ask, replace=False)
    a, b = (torch.tensor(x[r], dtype=torch.float32) for r in (rows, part.away[asked]))
    if unit: a, b = (torch.nn.functional.normalize(t) for t in (a, b))
    y, guess = torch.tensor(np.log(part.y[rows])), []
    start = time.process_time()
    for some in b.split(100):
        far, nearest = torch.cdist(some, a, p=1).topk(10, largest=False)
        weight = 1/far.double().clamp(min=1e-9)
        guess.append((weight*y[nearest]).sum(1)/weight.sum(1))
    return mape(torch.cat(guess).exp().numpy(), part.y[part.away[asked]]), time.process_time() - start


def forest(part, x, seed, trees=20, columns=1.):
    "The paper's forest, with fewer trees than its 200; of the 41 columns of embeddings, a part is tried at each cut."
    from sklearn.ensemble import RandomForestRegressor
    rows = sample(part.name, 0, inner=part.inner)
    model = RandomForestRegressor(trees, max_depth=35, max_features=columns, random_state=seed)
    _, seconds = timed(lambda: model.fit(x[rows], np.log(part.y[rows])))
    return np.exp(model.predict(x[part.away])), seconds


def boosted(part, x, seed, rounds=300, **settings):
    "The paper's boosted trees, a column of numbers each: depth 7, 0.7 of rows and columns; a higher rate and fewer rounds than its 3,000."
    import lightgbm as lgb
    rows = sample(part.name, 0, inner=part.inner)
    options = dict(objective='l2', learning_rate=.1, max_depth=7, num_leaves=128, feature_fraction=.7, bagging_fraction=.7, bagging_freq=1,
                   max_bin=2048, verbose=-1, num_threads=1, seed=seed) | settings
    model, seconds = timed(lambda: lgb.train(options, lgb.Dataset(x[rows], np.log(part.y[rows]), params=options), rounds))
    return np.exp(model.predict(x[part.away])), seconds


def with_embeddings(name, seed):
    "All rows of the table, each name replaced by what net `seed` has learned for it."
    return net(name, seed)[0].transform(table()[0])


# --- parts

def native(name):
    part = Part(name)
    part.run(f'median_{name}', lambda seed: median(part, seed), 3)
    guesses = part.run(f'lightgbm_{name}', lambda seed: lightgbm(part, seed), 3)
    part.add(f'lightgbm_average_{name}', part.error(np.mean(guesses, 0)))
    return part.rows


def native_all(name):
    part = Part(name)
    part.run(f'lightgbm_all_{name}', lambda seed: lightgbm(part, seed, None), 1)
    return part.rows


def nets(name, seeds=5):
    part = Part(name)
    guesses = part.run(f'net_single_{name}', lambda seed: guess(part, *net(name, seed)), seeds)
    part.add(f'net_ee_{name}', part.error(np.mean(guesses, 0)))
    return part.rows


def guess(part, made, seconds): return np.exp(made.predict(part.x[part.away])), seconds


def plain(name, seeds=1):
    "The paper's recipe: no averaging of weights, batches of 128, a constant rate."
    part = Part(name)
    part.run(f'net_plain_{name}', lambda seed: guess(part, *net(name, seed, schedule='constant', lr=1e-3, bs=128, averaged=0.)), seeds)
    return part.rows


def one_hot(name, seeds=1):
    "The net without embeddings: a switch for each name, straight into the first hidden layer (rows of it, added up)."
    from torch import nn
    from lesson8.batches import Batches
    from lesson8.training import fit, one_cycle, predict
    part = Part(name)
    starts = np.concatenate([[0], np.cumsum(part.x.max(0) + 1)[:-1]])
    x, y, rows = torch.tensor(part.x + starts), torch.tensor(np.log(part.y), dtype=torch.float32), sample(name)
    mean, spread = y[rows].mean(), y[rows].std()
    def run(seed):
        torch.manual_seed(seed)
        first = nn.EmbeddingBag(int(x.max()) + 1, 500, mode='sum')
        nn.init.uniform_(first.weight, -7**-.5/3, 7**-.5/3)
        model = nn.Sequential(first, nn.ReLU(), nn.Linear(500, 250), nn.ReLU(), nn.Linear(250, 1))
        _, seconds = timed(lambda: fit(model, Batches(x[rows], ((y[rows] - mean)/spread)[:, None], 512), loss=nn.functional.l1_loss, epochs=10,
                                       lr=1e-3, wd=0., schedule=one_cycle if name == 'shuffled' else None, threads=1, progress=False))
        out = predict(model, Batches(x[part.away], y[part.away, None], 8192, shuffle=False))[0][:, 0]
        return (out*spread + mean).exp().numpy(), seconds
    part.run(f'net_{name}', run, seeds)
    return part.rows


def near(name, seeds=2):
    part = Part(name)
    for id, unit in ((f'knn_{name}', True), (f'knn_plain_{name}', False)):
        part.add(id, neighbours(part, part.x, unit)[0])
    found = [neighbours(part, with_embeddings(name, seed)) for seed in range(seeds)]
    part.add(f'knn_ee_{name}', [error for error, _ in found])
    part.add(f'knn_ee_{name}.cpu_seconds', [s for _, s in found], 's')
    return part.rows


def forests(name, seeds=1):
    part = Part(name)
    part.run(f'rf_{name}', lambda seed: forest(part, part.x, seed), seeds)
    part.run(f'rf_ee_{name}', lambda seed: forest(part, with_embeddings(name, seed), seed, columns=.3), seeds)
    return part.rows


def boosting(name, seeds=2):
    part = Part(name)
    part.run(f'gbt_{name}', lambda seed: boosted(part, part.x, seed), seeds)
    part.run(f'gbt_ee_{name}', lambda seed: boosted(part, with_embeddings(name, seed), seed, max_bin=255), seeds)
    return part.rows


def artefact(name):
    "One recipe of boosted trees; only how it is told which store it is differs."
    part = Part(name)
    known, store = sample(name), part.x[:, 0]
    by_sales = np.argsort(np.argsort([np.log(part.y[known[store[known] == k]]).mean() for k in range(1115)]))
    def told(numbers): return np.concatenate([numbers[store][:, None], part.x[:, 1:]], 1)
    ways = dict(number_255=(part.x, dict(names=(6,), max_bin=255)), number_2048=(part.x, dict(names=(6,), max_bin=2048)),
                by_sales_2048=(told(by_sales), dict(names=(6,), max_bin=2048)), names=(part.x, {}))
    for way, (x, settings) in ways.items():
        part.run(f'told_{way}_{name}', lambda seed: lightgbm(part, seed, x=x, **settings), 1)
    part.run(f'told_embeddings_{name}', lambda seed: lightgbm(part, seed, x=with_embeddings(name, seed), names=()), 1)
    return part.rows


def mix(name, seeds=5):
    "Nets and trees half and half, or by a weight chosen on the inner split."
    inner, part = Part(name, inner=True), Part(name)
    a, b = guess(inner, *net(name, 0, inner=True))[0], lightgbm(inner, 0)[0]
    w = min((k/20 for k in range(21)), key=lambda w: inner.error(w*a + (1 - w)*b))
    part.add(f'mix_{name}.net_weight', w, 'share')
    a = np.mean([guess(part, *net(name, seed))[0] for seed in range(seeds)], 0)
    b = np.mean([lightgbm(part, seed)[0] for seed in range(3)], 0)
    part.add(f'mix_{name}', part.error(w*a + (1 - w)*b))
    part.add(f'half_{name}', part.error((a + b)/2))
    return part.rows


def all_rows(seeds=5):
    "Nets on all 759,905 rows: their errors, and what the map of chapter 09b is drawn from."
    part = Part('shuffled')
    guesses = part.run('net_all_shuffled', lambda seed: guess(part, *net('shuffled', seed, None, **ALL)), seeds)
    part.add('net_all_average_shuffled', part.error(np.mean(guesses, 0)))
    return part.rows


def on_the_map(seeds=5):
    "The states, weekdays and months of the nets of `all_rows` against the map and the calendar."
    from lesson8.flights import great_circle, mantel
    from lesson8.interpretation import PCA
    from lesson8.maps import centroid, procrustes, procrustes_test, tour_test
    from lesson8.tables import germany
    codes, part = np.unique(daily_sales().State), Part('shuffled')
    middle = {r.code: centroid(r) for r in germany()}
    lon, lat = np.array([middle[c.split(',')[-1]] for c in codes]).T
    places, found = np.column_stack([lon*np.cos(np.radians(51)), lat]), {}
    def keep(id, value): found.setdefault(id, []).append(value)
    for seed in range(seeds):
        day, month, state = (torch.tensor(net('shuffled', seed, None, **ALL)[0].embeddings_[k][1:], dtype=torch.float64) for k in (1, 3, 6))
        flat = PCA(2).fit_transform(state).numpy()
        test, chance = mantel(torch.cdist(state, state), great_circle(lat, lon), permutations=9999), procrustes_test(flat, places, 9999)
        one = dict(mantel_r=test.r, mantel_p=test.p, fit=chance.fit, fit_chance=chance.chance, fit_p=chance.p)
        west = [k for k, code in enumerate(codes) if code not in ('SN', 'ST', 'TH')]  # the control: is it more than east and west?
        rest = mantel(torch.cdist(state[west], state[west]), great_circle(lat[west], lon[west]), permutations=9999)
        one |= dict(west_r=rest.r, west_p=rest.p)
        for name, points in (('days', day), ('months', month)):
            tour = tour_test(points)
            one |= {f'{name}_length': tour.length, f'{name}_p': tour.p}
        for id, value in one.items():
            keep(id, value)
            part.add(f'net{seed}.{id}', value, 'share')
        for code, place in zip(codes, procrustes(flat, places).points):
            for axis, value in zip(('east', 'north'), place): part.add(f'net{seed}.{code}.{axis}', value, 'degrees')
    for id, values in found.items(): part.add(id, values, 'share')
    return [r | dict(id=r['id'].replace('rossmann', 'germany')) for r in part.rows]


def dealt(seeds=3):
    "The control of the map: nets on all rows whose states were dealt to the stores at random."
    from lesson8.flights import great_circle, mantel
    from lesson8.maps import centroid
    from lesson8.tables import germany
    x, y = table()
    middle, codes = {r.code: centroid(r) for r in germany()}, np.unique(daily_sales().State)
    lon, lat = np.array([middle[c.split(',')[-1]] for c in codes]).T
    state, known, part = np.array([x[x[:, 0] == k, 6][0] for k in range(1115)]), split('shuffled')[0], Part('shuffled')
    def test(seed):
        other = x.copy()
        other[:, 6] = np.random.default_rng(seed).permutation(state)[x[:, 0]]
        made = EntityEmbedder(WIDTHS, random_state=seed, **NET['shuffled'] | ALL).fit(other[known], np.log(y[known]))
        rows = torch.tensor(made.embeddings_[6][1:], dtype=torch.float64)
        return mantel(torch.cdist(rows, rows), great_circle(lat, lon), permutations=9999)
    tests = [test(seed) for seed in range(seeds)]
    part.add('dealt_r', [t.r for t in tests], 'share')
    part.add('dealt_p', [t.p for t in tests], 'share')
    return [r | dict(id=r['id'].replace('rossmann', 'germany')) for r in part.rows]


def lent(name='latest', seeds=3):
    "Boosted trees by the recipe of `artefact`, told by the numbers of nets 0, 1, ...: more seeds of one row."
    part = Part(name)
    part.run(f'told_embeddings_{name}', lambda seed: lightgbm(part, seed, x=with_embeddings(name, seed), names=()), seeds)
    return part.rows


def large(name='shuffled', seeds=1):
    "LightGBM with eight times the leaves and its own settings for categories: better where rows are drawn at random."
    part = Part(name)
    options = dict(num_leaves=255, min_data_in_leaf=5, cat_smooth=10, cat_l2=10, max_cat_threshold=32)
    part.run(f'lightgbm_large_{name}', lambda seed: lightgbm(part, seed, **options), seeds)
    return part.rows


PARTS = {f'{f.__name__}_{name}': (lambda f=f, name=name: f(name)) for name in SPLITS
         for f in (native, native_all, nets, plain, one_hot, near, forests, boosting, artefact, mix)} | dict(all_rows=all_rows, on_the_map=on_the_map, dealt=dealt, lent=lent, large=large)


def again(seed):
    "The table of medians on another sample."
    part = Part('latest')
    return part.error(median(part, seed)[0])


CHEAP = {'tabular.rossmann.median_latest': again}


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument('--only', nargs='+', choices=list(PARTS))
    args = p.parse_args()
    torch.set_num_threads(1)
    for name in args.only or PARTS:
        start = time.process_time()
        save('rossmann', PARTS[name](), ('torch', 'numpy', 'pandas', 'scikit-learn', 'lightgbm'), keep=True)
        print(f'-- {name}: {time.process_time() - start:.0f} CPU s', flush=True)


if __name__ == '__main__': main()
