"""Flights out of New York: plain nets, nets with products of embeddings, boosted trees, TabM and fastai, in one run, one thread each.

    python bench/tabular.py                     everything; about half an hour on a quiet machine
    python bench/tabular.py --only ID ...       only the parts named so (see `PARTS`), e.g. air_time; the other rows of the file stay
    python bench/tabular.py --choose            the grids from which the settings were chosen

100,000 of 336,776 flights (seed 42), 80,000 of them to learn from: the rows of chapter 08. All contenders get the same six columns, as
categories, unless a row says otherwise. Settings were chosen on 8,000 of the 80,000, see `choose`; nothing was chosen on the other 20,001.
Trees find their number of rounds on such an inner split, too, and are then trained anew on all 80,000. Times are CPU seconds, all threads.
"""
import os
os.environ.setdefault('OMP_NUM_THREADS', '1')
import argparse, sys, time, warnings
from functools import cache, partial
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from _record import row, save
from lesson8.batches import Batches
from lesson8.data import random_split
from lesson8.deep_collab import get_emb_sz
from lesson8.flights import ProductNet, great_circle, mantel
from lesson8.steps import AdamW, num_threads
from lesson8.tables import airports, flights
from lesson8.tabular import TableEncoder, TabularModel
from lesson8.training import fit, predict

SIX = ('carrier', 'origin', 'dest', 'month', 'day', 'hour')  # day: of the month
SEEDS = 5
BEST = dict(air_time=dict(layers=(400, 200), wd=1.), dep_delay=dict(ps=.2, epochs=10, wd=1.))
DECAYED = BEST | dict(air_time=dict(wd=1.))  # half the work for nearly the same error: what the chapter trains live
TREES = dict(air_time=dict(learning_rate=.1, num_leaves=63), dep_delay=dict(learning_rate=.1))


@cache
def table():
    "(the 100,001 flights as a table, training rows, held-back rows); row 0 is the flight of chapter 08, held back."
    t = flights().dropna(subset=['air_time']).reset_index(drop=True)
    t[['any_month', 'any_day']] = t[['month', 'day']].sample(frac=1, random_state=0).to_numpy()  # another flight's: no date at all
    t['date'], t['weekday'] = 100*t.month + t.day, pd.to_datetime(t[['year', 'month', 'day']]).dt.day_name()
    ours = t.query("carrier == 'UA' and flight == 1424 and date == 618")
    t = pd.concat([ours, t.drop(ours.index).sample(100_000, random_state=42)]).reset_index(drop=True)
    train, valid = random_split(100_000, .2, seed=42)
    return t, train + 1, torch.cat([torch.tensor([0]), valid + 1])


def outer(): return table()[1:]


def inner(seed=0):
    "The training rows, split once more: what settings are chosen on."
    train = table()[1]
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))]
    return order[8000:], order[:8000]


def by_date():
    "Whole dates held back, 73 of them, drawn at random."
    dates = table()[0].date
    away = torch.tensor(dates.isin(dates.drop_duplicates().sample(73, random_state=0)).to_numpy())
    return (~away).nonzero()[:, 0], away.nonzero()[:, 0]


def encoded(columns, rows):
    "Row numbers of the columns for training and held-back rows, and how many values each column has."
    t, (train, valid) = table()[0], rows
    encoder = TableEncoder(columns, []).fit(t.iloc[train.numpy()])
    a, b = (encoder.transform(t.iloc[r.numpy()])[0] for r in (train, valid))
    return a, b, [len(v) for v in encoder.classes.values()], encoder


def answers(target, rows): return [torch.tensor(table()[0][target].to_numpy('float32')[r.numpy()])[:, None] for r in rows]
def rmse(pred, y): return (pred - y).pow(2).mean().sqrt().item()


def timed(f):
    "What f returns, and CPU seconds."
    start = time.process_time()
    return f(), time.process_time() - start


def net(seed, target='air_time', rows=None, columns=SIX, width=16, layers=(200, 100), order=1, ps=None, epochs=20, lr=5e-3, wd=.01,
        bs=1024, opt=None, model=None):
    "(predictions for the held-back rows, CPU seconds, the trained net, its encoder)"
    rows = rows or outer()
    x, x_valid, sizes, encoder = encoded(columns, rows)
    y, y_valid = answers(target, rows)
    torch.manual_seed(seed)
    made = model(encoder) if model else ProductNet([(n, width) for n in sizes], 0, 1, list(layers), order, ps)
    batches = Batches(x, (y - y.mean())/y.std(), bs)
    settings = dict(epochs=epochs, lr=lr, wd=wd, threads=1, progress=False) | (dict(opt=opt) if opt else {})
    _, seconds = timed(lambda: fit(made, batches, **settings))
    pred = predict(made, Batches(x_valid, y_valid, 8192, shuffle=False))[0]
    return pred*y.std() + y.mean(), seconds, made, encoder


def trees(seed, target='air_time', rows=None, columns=SIX, again=True, ordered=(), ranked=(), rounds=6000, **settings):
    """LightGBM, its rounds found on an inner split; with `again` trained anew on all rows: (predictions, CPU seconds, rounds, None)

    The columns are categories to it, except those that are `ordered`. Those that are `ranked` come twice: as categories, and as numbers,
    their values in the order of their mean answer among the rows that are learned from."""
    import lightgbm as lgb
    train, valid = rows or outer()
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))]
    cut = len(order)//10
    x, x_valid = (t.numpy() for t in encoded(columns, (train, valid))[:2])
    where = torch.empty(len(table()[0]), dtype=torch.int64)
    where[train] = torch.arange(len(train))
    fit_on, stop_on, y = where[order[cut:]], where[order[:cut]], answers(target, (train, valid))[0][:, 0].numpy()
    options = dict(objective='l2', verbose=-1, num_threads=1, seed=seed) | TREES[target] | settings
    names = [k for k, c in enumerate(columns) if c not in ordered]
    def seen(rows, known):
        places = [pd.Series(rows[:, k]).map(pd.Series(y[known]).groupby(x[known, k]).mean().rank()) for k in map(columns.index, ranked)]
        return np.column_stack([rows, *places]) if places else rows
    def data(r, known, **kw): return lgb.Dataset(seen(x[r], known), y[r], categorical_feature=names, **kw)
    def run():
        known = fit_on.numpy()
        first = data(known, known)
        found = lgb.train(options, first, rounds, [data(stop_on.numpy(), known, reference=first)],
                          callbacks=[lgb.early_stopping(100, verbose=False)])
        if not again: return found, found.best_iteration, known
        known = np.arange(len(train))
        return lgb.train(options, data(known, known), found.best_iteration), found.best_iteration, known
    (model, n, known), seconds = timed(run)
    return torch.tensor(model.predict(seen(x_valid, known)), dtype=torch.float32)[:, None], seconds, n, None


def hist(seed, target='air_time', rows=None, columns=SIX, **settings):
    "scikit-learn's boosted trees, early stopped on a tenth of the training rows: (predictions, CPU seconds, rounds, None)"
    from sklearn.ensemble import HistGradientBoostingRegressor
    x, x_valid, *_ = encoded(columns, rows or outer())
    y = answers(target, rows or outer())[0][:, 0].numpy()
    options = dict(max_iter=3000, early_stopping=True, n_iter_no_change=20, categorical_features=list(range(len(columns)))) | settings
    model, seconds = timed(lambda: HistGradientBoostingRegressor(random_state=seed, **options).fit(x.numpy(), y))
    return torch.tensor(model.predict(x_valid.numpy()), dtype=torch.float32)[:, None], seconds, model.n_iter_, None


def tabm(seed, target='air_time', rows=None, k=8, width=256, epochs=15, lr=2e-3, wd=3e-4, bs=1024, dropout=.1, patience=4):
    "TabM: k members trained side by side, each for itself, their predictions averaged; stopped early on an inner split."
    from tabm import TabM
    train, valid = rows or outer()
    x, x_valid, sizes, _ = encoded(SIX, (train, valid))
    y = answers(target, (train, valid))[0]
    z = (y - y.mean())/y.std()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    stop_on, fit_on = order[:len(x)//10], order[len(x)//10:]
    torch.manual_seed(seed)
    model = TabM.make(n_num_features=0, cat_cardinalities=sizes, d_out=1, k=k, n_blocks=2, d_block=width, dropout=dropout)
    def mean(rows):
        model.eval()
        with torch.no_grad(): return torch.cat([model(None, part).mean(1) for part in rows.split(8192)])
    def run():
        opt, best, state, waited = torch.optim.AdamW(model.parameters(), lr, weight_decay=wd), float('inf'), None, 0
        for _ in range(epochs):
            model.train()
            for r in fit_on[torch.randperm(len(fit_on))].split(bs):
                opt.zero_grad()
                F.mse_loss(model(None, x[r])[:, :, 0], z[r].expand(-1, k)).backward()
                opt.step()
            error = rmse(mean(x[stop_on]), z[stop_on])
            if error < best: best, state, waited = error, {n: p.clone() for n, p in model.state_dict().items()}, 0
            else: waited += 1
            if waited == patience: break
        model.load_state_dict(state)
    _, seconds = timed(run)
    return mean(x_valid)*y.std() + y.mean(), seconds, None, None


def fastai_net(seed, target='air_time', rows=None, epochs=5, bs=1024, lr=5e-3):
    "fastai's tabular_learner, layers [200, 100], embeddings of its own sizes: (predictions, CPU seconds, None, None)"
    from fastai.tabular.all import Categorify, RegressionBlock, TabDataLoader, TabularPandas, tabular_learner
    from fastai.torch_core import set_seed
    t, (train, valid) = table()[0], rows or outer()
    cols = t[[*SIX, target]].copy()
    cols[target] = (cols[target] - (m := cols[target].iloc[train.numpy()].mean()))/(s := cols[target].iloc[train.numpy()].std())
    to = TabularPandas(cols, [Categorify], list(SIX), [], target, RegressionBlock(), (train.tolist(), valid.tolist()), reduce_memory=False)
    TabularPandas._dl_type = TabDataLoader                          # each row once an epoch, not drawn with replacement
    set_seed(seed)
    learn = tabular_learner(to.dataloaders(bs=bs), layers=[200, 100])
    with learn.no_bar(), learn.no_logging(): _, seconds = timed(lambda: learn.fit_one_cycle(epochs, lr))
    with learn.no_bar(): pred = learn.get_preds(dl=learn.dls.test_dl(cols.iloc[valid.numpy()], bs=8192))[0]
    return pred*s + m, seconds, None, None


def like_fastai(encoder): return TabularModel(get_emb_sz(encoder), 0, 1, [200, 100])


def means(target, columns, rows=None):
    "The mean of the training flights that agree in these columns; where there is none, in all but the last, and so on."
    t, (train, valid) = table()[0], rows or outer()
    known, asked = t.iloc[train.numpy()], t.iloc[valid.numpy()]
    guess = pd.Series(known[target].mean(), asked.index)
    for k in range(1, len(columns) + 1):
        guess = asked.join(known.groupby(list(columns[:k]))[target].mean().rename('guess'), on=list(columns[:k])).guess.fillna(guess)
    return torch.tensor(guess.to_numpy('float32'))[:, None]


class Part:
    "What belongs to one target or question: collects rows as they are measured, and the predictions behind them."
    def __init__(self, prefix, target='air_time', rows=None):
        self.prefix, self.target, self.split, self.rows, self.preds = f'tabular.{prefix}', target, rows or outer(), [], {}
        self.y = answers(target, self.split)[1]

    def add(self, name, values, unit='rmse'):
        values = [float(v) for v in (values if hasattr(values, '__iter__') else [values])]
        self.rows.append(row(f'{self.prefix}{name}', values, unit))
        print(f"{self.rows[-1]['id']:<60}{self.rows[-1]['value']:>9.4g} {unit:<8} sd {self.rows[-1]['sd']:.2g}, n {len(values)}", flush=True)

    def run(self, name, f, seeds=SEEDS, id=None):
        "A contender over seeds: its errors and its seconds."
        found = [f(seed, self.target, self.split) for seed in range(seeds)]
        self.preds[name] = [pred for pred, *_ in found]
        self.add(id or f'.{name}', [rmse(p, self.y) for p in self.preds[name]])
        self.add(f'{id or "." + name}.cpu_seconds', [o[1] for o in found], 's')
        return found


RANKED = partial(trees, ranked=('dest',))
L2 = partial(torch.optim.Adam, betas=(.9, .99))  # weight decay as a term of the loss, which Adam then rescales
DATED = (*SIX, 'date')
NETS = dict(  # air time, step by step
    tabular_model=partial(net, model=like_fastai, epochs=5),
    plain=net,
    long=partial(net, epochs=40),
    wide=partial(net, layers=(400, 200)),
    wd=partial(net, wd=1.),
    l2=partial(net, wd=1e-4, opt=L2),
    pairs=partial(net, order=2),
    pairs_wd=partial(net, order=2, wd=1.),
    triples_wd=partial(net, order=3, wd=1.),
    own_sizes=partial(net, model=like_fastai),
    five=partial(net, epochs=5),
    ten=partial(net, epochs=10),
    small_batches=partial(net, epochs=5, bs=256),
    pairs_five=partial(net, order=2, epochs=5),
    date_five=partial(net, columns=DATED, epochs=5),
    date_pairs_five=partial(net, columns=DATED, order=2, epochs=5),
    date_pairs=partial(net, columns=DATED, order=2),
    date=partial(net, columns=DATED),
    date_wd=partial(net, wd=1., columns=DATED))
FEWER = dict(tabular_model=8, long=1, wide=1, triples_wd=1, pairs=2, pairs_wd=2, l2=2, date_pairs=2)  # seeds, where three are too few or take too long
PEERS = dict(
    fastai=(partial(fastai_net), 3),
    hist=(hist, 3),
    lightgbm_stopped=(partial(trees, again=False), 1),
    lightgbm_ordered=(partial(trees, ordered=('month', 'day', 'hour')), 1),
    lightgbm_date=(partial(trees, columns=DATED), 1),
    lightgbm_ranked_date=(partial(trees, columns=DATED, ranked=('dest',), ordered=('date',)), 1))  # the date as a number


def ranked_rows():
    "LightGBM that is given the destinations in order, too; on the inner split this helps the air time and not the delay."
    part = Part('flights.air_time')
    part.run('lightgbm_ranked', RANKED, 3)
    return part.rows


def mix(part, ours):
    "Averages of nets and of trees, the nets' weight chosen on an inner split with one of each."
    rows = inner()
    y = answers(part.target, rows)[1]
    a, b = ours(0, part.target, rows)[0], trees(0, part.target, rows)[0]
    w = min((k/20 for k in range(21)), key=lambda w: rmse(w*a + (1 - w)*b, y))
    part.add('.mix.net_weight', w, 'share')
    for id, n in (('mix', SEEDS), ('mix_single', 1)):
        part.add(f'.{id}', rmse(w*torch.stack(part.preds['net'][:n]).mean(0) + (1 - w)*part.preds['lightgbm'][0], part.y))


def target_rows(target):
    "Our net, LightGBM, the average of five nets, and nets mixed with trees."
    part, ours = Part(f'flights.{target}', target), partial(net, **BEST[target])
    for name, columns in (('constant', ()), ('route', ('dest', 'origin')), ('route_month', ('dest', 'origin', 'month'))):
        part.add(f'.{name}', rmse(means(target, columns), part.y))
    part.run('net', ours, id='_rmse')
    part.add('_ensemble_rmse', rmse(torch.stack(part.preds['net']).mean(0), part.y))
    part.run('lightgbm', trees, 3)
    part.add('.lightgbm_ensemble', rmse(torch.stack(part.preds['lightgbm']).mean(0), part.y))
    mix(part, ours)
    return part.rows


def steps(names, peers=()):
    part = Part('flights.air_time')
    for name in names: part.run(name, NETS[name], FEWER.get(name, 3))
    for name in peers: part.run(name, *PEERS[name])
    return part.rows


def chosen():
    "What the choice of the weight decay saw: the inner split."
    part = Part('flights.inner.air_time', rows=inner())
    for name in ('plain', 'wd'): part.run(name, NETS[name], 1)
    return part.rows


def delay_peers():
    part = Part('flights.dep_delay', 'dep_delay')
    part.run('plain', partial(net, epochs=10), 1)
    part.run('pairs_wd', partial(net, **BEST['dep_delay'], order=2), 1)
    part.run('hist', hist, 1)
    return part.rows


def tabm_rows():
    rows = []
    for target in ('air_time', 'dep_delay'):
        part = Part(f'flights.{target}', target)
        part.run('tabm', tabm, 1)
        rows += part.rows
    return rows


def dates():
    "Both targets with whole dates held back: three nets, trees and a table of means."
    rows = []
    for target in ('air_time', 'dep_delay'):
        part = Part(f'flights.by_date.{target}', target, by_date())
        part.add('.constant', rmse(means(target, (), part.split), part.y))
        part.add('.route_month', rmse(means(target, ('dest', 'origin', 'month'), part.split), part.y))
        part.run('net', partial(net, **DECAYED[target]), 1)
        part.run('net_no_day', partial(net, **DECAYED[target] | dict(columns=[c for c in SIX if c != 'day'])), 1)
        part.run('lightgbm', trees, 1)
        part.run('lightgbm_no_day', partial(trees, columns=[c for c in SIX if c != 'day']), 1)
        rows += part.rows
    return rows + ranked_by_date()


def ranked_by_date():
    part = Part('flights.by_date.air_time', rows=by_date())
    part.run('lightgbm_ranked', RANKED, 1)
    part.run('lightgbm_ranked_no_day', partial(RANKED, columns=[c for c in SIX if c != 'day']), 1)
    return part.rows


def places(encoder):
    "The destinations that the map of airports has: their rows in the embedding, latitude, longitude, miles from New York."
    at = airports().set_index('faa')
    names = [d for d in encoder.classes['dest'].values[1:] if d in at.index]
    far = table()[0].groupby('dest').distance.mean()
    lat, lon = (torch.tensor(at.loc[names, c].to_numpy('float64')) for c in ('lat', 'lon'))
    return encoder.classes['dest'].encode(names), lat, lon, torch.tensor(far[names].to_numpy('float64'))


def read_out(x, y):
    "R2 of a linear read-out (ridge), cross-validated over the destinations, mean of five ways to divide them by ten."
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    x, y = x.numpy().reshape(len(y), -1), y.numpy()
    found = []
    for seed in range(5):
        model = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
        guess = cross_val_predict(model, x, y, cv=KFold(10, shuffle=True, random_state=seed))
        found.append(1 - ((guess - y)**2).mean()/y.var())
    return float(np.mean(found))


MAPS = dict(partial_mantel=('air_time', SIX, SEEDS), delay=('dep_delay', SIX, 3),
            no_date=('air_time', ('carrier', 'origin', 'dest', 'hour'), 3),
            any_date=('air_time', ('carrier', 'origin', 'dest', 'any_month', 'any_day', 'hour'), 3))


def map_rows(kinds=tuple(MAPS), permutations=9999):
    "Do the destinations' embeddings know the map beyond the distance from New York? Five nets; controls that must show nothing."
    part, kinds = Part('flights'), {kind: MAPS[kind] for kind in kinds}
    for kind, (target, columns, seeds) in kinds.items():
        found = {k: [] for k in ('p', 'r', 'plain_r', 'lon', 'lat')}
        for seed in range(seeds):
            *_, made, encoder = net(seed, target, columns=columns, **DECAYED[target])
            rows, lat, lon, far = places(encoder)
            emb = made.embeds[list(columns).index('dest')].weight.detach()[rows].double()
            apart, real, line = torch.cdist(emb, emb), great_circle(lat, lon), (far[:, None] - far).abs()
            test = mantel(apart, real, line, permutations, seed)
            for k, v in dict(p=test.p, r=test.r, plain_r=mantel(apart, real, permutations=1).r,
                             lon=read_out(emb, lon), lat=read_out(emb, lat)).items(): found[k].append(v)
            if kind == 'partial_mantel':
                new = torch.randperm(len(lat), generator=torch.Generator().manual_seed(seed))
                found.setdefault('shuffled_p', []).append(mantel(apart, great_circle(lat[new], lon[new]), line, permutations, seed).p)
        head = '' if kind == 'partial_mantel' else f'{kind}_'
        for k, unit in dict(p='p', r='r', shuffled_p='p').items():
            if k in found: part.add(f'.{head}partial_mantel_{k}', found[k], unit)
        part.add(f'.{head}mantel_r', found['plain_r'], 'r')
        for k in ('lon', 'lat'): part.add(f'.{head}read_out_{k}', found[k], 'r2')
    part.add('.distance_mantel_r', mantel(line, real, permutations=1).r, 'r')
    for k, y in dict(lon=lon, lat=lat).items(): part.add(f'.distance_read_out_{k}', read_out(far, y), 'r2')
    return part.rows


def epoch(bs, epochs, lr, seed, ours):
    "(RMSE of the air time, CPU seconds an epoch), validation included, of the same net with the same settings."
    if not ours:
        pred, seconds, *_ = fastai_net(seed, epochs=epochs, bs=bs, lr=lr)
        return rmse(pred, answers('air_time', outer())[1]), seconds/epochs
    x, x_valid, _, encoder = encoded(SIX, outer())
    y, y_valid = answers('air_time', outer())
    torch.manual_seed(seed)
    model, (m, s) = like_fastai(encoder), (y.mean(), y.std())
    batches, check = Batches(x, (y - m)/s, bs, drop_last=True), Batches(x_valid, (y_valid - m)/s, 8192, shuffle=False)
    opt = partial(AdamW, betas=(.9, .99), eps=1e-5)                     # fastai's
    _, seconds = timed(lambda: fit(model, batches, check, epochs=epochs, lr=lr, wd=.01, opt=opt, threads=1, progress=False))
    return rmse(predict(model, check)[0]*s + m, y_valid), seconds/epochs


def speed(rounds=5):
    part = Part('')
    for bs, epochs, lr in ((64, 1, 1e-3), (1024, 5, 5e-3)):
        found = dict(ours=[], fastai=[])
        for seed in range(rounds):                                      # in turn
            for who, runs in found.items(): runs.append(epoch(bs, epochs, lr, seed, who == 'ours'))
        for who, runs in found.items():
            part.add(f'speed.{who}_bs{bs}.rmse', [e for e, _ in runs])
            part.add(f'speed.{who}_bs{bs}.epoch_cpu_seconds', [t for _, t in runs], 's')
        part.add(f'speedup_fastai_bs{bs}', [b/a for (_, a), (_, b) in zip(found['ours'], found['fastai'])], 'ratio')
    return part.rows


PARTS = dict(
    air_time=partial(target_rows, 'air_time'),
    dep_delay=partial(target_rows, 'dep_delay'),
    ranked=ranked_rows,
    ranked_by_date=ranked_by_date,
    brief=partial(steps, ['tabular_model']),
    steps=partial(steps, ['plain', 'wd', 'l2', 'long', 'wide']),
    patience=partial(steps, ['five', 'ten', 'small_batches', 'own_sizes']),
    products=partial(steps, ['pairs', 'pairs_wd', 'triples_wd']),
    explanation=partial(steps, ['pairs_five', 'date_five', 'date_pairs_five', 'date_pairs', 'date', 'date_wd'], ['lightgbm_ranked_date']),
    date=partial(steps, ['date', 'date_wd'], ['lightgbm_date', 'lightgbm_stopped', 'lightgbm_ordered']),
    peers=partial(steps, [], ['fastai', 'hist']),
    delay_peers=delay_peers, inner=chosen, tabm=tabm_rows, by_date=dates, map=map_rows, map_control=partial(map_rows, ['any_date']),
    speed=speed)

CHEAP = {'tabular.flights.air_time.tabular_model':
         lambda seed: rmse(NETS['tabular_model'](seed)[0], answers('air_time', outer())[1])}  # about three seconds


GRID = dict(
    air_time=[dict(wd=wd, order=order) for wd in (.01, 1., 2.) for order in (1, 2, 3)] + [dict(wd=1., width=32), dict(wd=1., layers=(400, 200)),
              dict(wd=1., layers=(400, 200), epochs=40)] + [dict(wd=wd, opt=L2) for wd in (1e-5, 1e-4, 1e-3, 1e-2)],
    dep_delay=[dict(wd=1., epochs=epochs, ps=ps, order=order) for epochs, ps, order in ((5, .2, 1), (10, 0., 1), (10, .2, 1), (10, .2, 2), (10, .2, 3))])
TREE_GRID = [dict(num_leaves=31), dict(num_leaves=63), dict(num_leaves=127, learning_rate=.2), dict(cat_smooth=1, cat_l2=1, min_data_per_group=10),
             dict(bagging_fraction=.8, bagging_freq=1, feature_fraction=.8), dict(ordered=('month', 'day', 'hour'))]


def choose():
    "Print the grids: error on 8,000 of the 80,000 training flights, learned from the others; none of the 20,001 is looked at."
    rows = inner()
    for target, grid in GRID.items():
        y = answers(target, rows)[1]
        for f, options in [(net, o) for o in grid] + [(trees, o) for o in TREE_GRID]:
            pred, seconds, *_ = f(0, target, rows, **options)
            print(f'{target:<10}{f.__name__:<6}{rmse(pred, y):8.3f}{seconds:7.1f} s  {options}', flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument('--only', nargs='*', default=list(PARTS), choices=list(PARTS), help='parts to measure')
    p.add_argument('--choose', action='store_true')
    p.add_argument('--dry', action='store_true', help='write nothing')
    a = p.parse_args()
    warnings.filterwarnings('ignore')
    with num_threads(1):
        if a.choose: return choose()
        for k, name in enumerate(a.only):  # saved part by part: an hour's work isn't lost with the last
            rows = PARTS[name]()
            if not a.dry: save('tabular', rows, ('torch', 'numpy', 'lightgbm', 'tabm', 'fastai', 'scikit-learn'), keep=k or len(a.only) < len(PARTS))


if __name__ == '__main__': main()
