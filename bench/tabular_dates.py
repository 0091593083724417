"""Flights held back one by one against flights held back by whole dates: what a net, a table of means and a shuffled column come to in chapter 08.

    python bench/tabular_dates.py [--part air_date] [--seeds 10]

The rows, columns and settings are the chapter's. Seed k starts the net, and draws which fifth of the flights, or of the dates, is held back.
"""
import os
from functools import partial

os.environ.setdefault('OMP_NUM_THREADS', '1')
import numpy as np, pandas as pd, torch

from _record import row, run_parts
from lesson8.batches import Batches
from lesson8.deep_collab import get_emb_sz
from lesson8.tables import airports, flights
from lesson8.tabular import TableEncoder, TabularModel
from lesson8.training import fit

NAMES, AMOUNTS = ['carrier', 'origin', 'dest', 'month', 'day'], ['minute', 'distance', 'altitude']
ROUTE_MONTH = ['dest', 'origin', 'month']
TARGETS = dict(air='air_time', delay='dep_delay')


def table():
    "The 100,001 flights of the chapter, the opening one first."
    t = flights().dropna(subset=['air_time']).reset_index(drop=True)
    t['day_of_month'] = t.day
    t['day'] = pd.to_datetime(t[['year', 'month', 'day']]).dt.day_name()
    t['minute'] = 60*t.hour + t.minute
    t['altitude'] = t.dest.map(airports().set_index('faa').alt)
    ours = t.query("carrier == 'UA' and flight == 1424 and month == 6 and day_of_month == 18")
    return pd.concat([ours, t.drop(ours.index).sample(100_000, random_state=42)]).reset_index(drop=True)


def rmse(guess, answer): return float(np.sqrt(np.mean((np.asarray(guess) - np.asarray(answer))**2)))


def split(rows, by, seed):
    "(training rows, held-back rows): a fifth of the flights, or of the dates."
    if by == 'flight':
        away = np.zeros(len(rows), bool)
        away[np.random.default_rng(seed).permutation(len(rows))[:len(rows)//5]] = True
    else:
        date = rows.month*100 + rows.day_of_month
        away = date.isin(date.drop_duplicates().sample(73, random_state=seed)).to_numpy()
    return rows[~away], rows[away]


def mean_of(columns, seen, held, target):
    "The mean of the training flights that agree in all columns; where there are none, in fewer."
    guess = pd.Series(seen[target].mean(), held.index)
    for k in range(1, len(columns) + 1):
        means = seen.groupby(columns[:k])[target].mean().rename('guess')
        guess = held.join(means, on=columns[:k]).guess.fillna(guess)
    return guess


def train(seen, target, seed, **kwargs):
    "A function that predicts the target of flights, in minutes."
    enc, m, sd = TableEncoder(NAMES, AMOUNTS).fit(seen), seen[target].mean(), seen[target].std()
    y = torch.tensor(((seen[target] - m)/sd).to_numpy('float32'))[:, None]
    torch.manual_seed(seed)
    net = TabularModel(get_emb_sz(enc), len(AMOUNTS), 1, [200, 100], **kwargs)
    fit(net, Batches(enc.transform(seen), y, 512), epochs=5, lr=1e-2, wd=.1, threads=1, progress=False)
    def minutes(t):
        with torch.no_grad(): return net(*enc.transform(t))[:, 0].numpy()*sd + m
    return minutes


def shuffled(t, column, seed): return t.assign(**{column: t[column].sample(frac=1, random_state=seed).to_numpy()})


def compare(rows, target, by, n):
    "One target under one way of splitting: errors, and differences within a seed."
    found = {}
    for seed in range(n):
        seen, held = split(rows, by, seed)
        answer, net = held[TARGETS[target]], train(seen, TARGETS[target], seed)
        nothing, net_error = rmse(seen[TARGETS[target]].mean(), answer), rmse(net(held), answer)
        means = rmse(mean_of(ROUTE_MONTH, seen, held, TARGETS[target]), answer)
        bare = rmse(train(seen, TARGETS[target], seed, use_bn=False, bn_cont=False)(held), answer)
        costs = {f'{c}_costs': rmse(net(shuffled(held, c, seed)), answer) - net_error for c in ('day', 'month')}
        west = held.query("origin == 'EWR' and dest == 'DEN'")
        all_ = dict(nothing=nothing, means=means, net=net_error, net_without_bn=bare, net_gains=nothing - net_error,
                    net_less_means=net_error - means, bn_costs=net_error - bare,
                    denver=rmse(net(west), west[TARGETS[target]]), **costs)
        for k, v in all_.items(): found.setdefault(k, []).append(v)
    for k, values in found.items(): yield row(f'tabular_dates.{target}_{by}_{k}.rmse', values, 'rmse')


def same_dates(rows, n):
    """The delay of half the flights of the held-back dates, by a net that trained on other dates alone and by one whose
    training rows include the other half of these dates' flights. As many training rows, the same flights to predict."""
    found = {}
    for seed in range(n):
        seen, away = split(rows, 'date', seed)
        half = np.random.default_rng(seed).permutation(len(away)) < len(away)//2
        held, other = away[half], away[~half]
        mixed = pd.concat([seen.sample(len(seen) - len(other), random_state=seed), other])
        nothing = rmse(seen.dep_delay.mean(), held.dep_delay)
        for name, rest in (('other', seen), ('same', mixed)):
            net = train(rest, 'dep_delay', seed)
            error = rmse(net(held), held.dep_delay)
            for k, v in dict(net=error, net_gains=nothing - error,
                             day_costs=rmse(net(shuffled(held, 'day', seed)), held.dep_delay) - error).items():
                found.setdefault(f'{name}_{k}', []).append(v)
    for k in ('net_gains', 'day_costs'):
        found[f'same_less_other_{k}'] = [a - b for a, b in zip(found[f'same_{k}'], found[f'other_{k}'])]
    for k, values in found.items(): yield row(f'tabular_dates.delay_dates_{k}.rmse', values, 'rmse')


def hours(rows, n):
    "The rival that looks at the clock: the delay by the mean of the scheduled hour, and of month and hour."
    for by in ('flight', 'date'):
        found = {}
        for seed in range(n):
            seen, held = split(rows, by, seed)
            for name, columns in (('hour', ['hour']), ('month_hour', ['hour', 'month'])):
                error = rmse(mean_of(columns, seen, held, 'dep_delay'), held.dep_delay)
                found.setdefault(name, []).append(error)
        for k, values in found.items(): yield row(f'tabular_dates.delay_{by}_{k}.rmse', values, 'rmse')


PARTS = {f'{target}_{by}': (target, by) for target in TARGETS for by in ('flight', 'date')}


def again(seed):
    "The table of means on another draw of dates."
    seen, held = split(table(), 'date', seed)
    return rmse(mean_of(ROUTE_MONTH, seen, held, 'air_time'), held.air_time)


CHEAP = {'tabular_dates.air_date_means.rmse': again}


def main():
    torch.set_num_threads(1)
    rows = table()
    parts = {name: partial(compare, rows, *which) for name, which in PARTS.items()}
    parts |= dict(delay_dates=partial(same_dates, rows), delay_hours=partial(hours, rows))
    run_parts('tabular_dates', parts, __doc__, ('torch', 'numpy', 'pandas'), digits=3)


if __name__ == '__main__': main()
