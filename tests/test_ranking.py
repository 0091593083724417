"Lists: what must hold for any scores and times, and that no hidden rating reaches a list or a choice of settings."
import importlib, json, sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st

from conftest import ROOT
from lesson8.embeddings import DotProductBias
from lesson8.ranking import (EASE, ImplicitALS, ItemKNN, NegativeBatches, all_scores, bpr_loss, latest_split,
                             ndcg, top_n)
from lesson8.training import fit

seeds = st.integers(0, 10**6)
few = settings(max_examples=40, deadline=None, database=None, derandomize=True)


def generator(seed): return torch.Generator().manual_seed(seed)


@pytest.fixture(scope='module')
def bench():
    sys.path.insert(0, str(ROOT/'bench'))
    return importlib.import_module('ranking')


@few
@given(seeds, st.integers(1, 8), st.integers(8, 20), st.integers(1, 5))
def test_lists_are_the_best_of_what_is_unseen(seed, users, items, n):
    gen = generator(seed)
    scores, seen = torch.rand(users, items, generator=gen), torch.rand(users, items, generator=gen) < .3
    seen[:, :n] = False
    for u, found in enumerate(top_n(scores, seen, n).tolist()):
        slow = sorted((i for i in range(items) if not seen[u, i]), key=lambda i: -scores[u, i])
        assert found == slow[:n]


@few
@given(seeds, st.integers(2, 40), st.integers(1, 5))
def test_what_is_held_back_is_each_users_latest(seed, n, users):
    gen = generator(seed)
    who, when = torch.randint(users, (n,), generator=gen), torch.randint(6, (n,), generator=gen)
    train, late = latest_split(who, when, .4)
    assert sorted(torch.cat([train, late]).tolist()) == list(range(n))
    for u in range(users):
        mine, theirs = train[who[train] == u], late[who[late] == u]
        assert len(theirs) == round(.4*(len(mine) + len(theirs)) + 1e-9)
        if len(mine) and len(theirs): assert when[mine].max() <= when[theirs].min()


@few
@given(seeds, st.integers(2, 10))
def test_a_hit_further_up_is_never_worse(seed, n):
    hits = torch.rand(1, n, generator=generator(seed)) < .5
    relevant = hits.sum(1).clamp(min=1)
    best = hits.sort(1, descending=True).values
    assert ndcg(hits, relevant) <= ndcg(best, relevant) + 1e-6
    assert not hits.any() or ndcg(best, relevant).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize('seed', range(3))
def test_ease_is_a_ridge_regression_without_the_film_itself(seed):
    X = (torch.rand(30, 8, generator=generator(seed)) < .4).double()
    W = EASE(3.).fit(X).weights
    assert W.diag().abs().max() == 0
    for j in range(8):
        rest = torch.arange(8) != j
        A = X[:, rest]
        direct = torch.linalg.solve(A.T @ A + 3*torch.eye(7).double(), A.T @ X[:, j])
        torch.testing.assert_close(W[rest, j], direct)


@pytest.mark.parametrize('model', [EASE(), ItemKNN(3), ImplicitALS(4)], ids=lambda m: type(m).__name__)
def test_people_who_were_not_there_get_a_score(model):
    X = (torch.rand(30, 8, generator=generator(0)) < .4).float()
    whole = model.fit(X[:20]).score(X)
    torch.testing.assert_close(model.score(X[20:]), whole[20:])
    assert whole.shape == X.shape and whole.isfinite().all()


@pytest.mark.parametrize('loss', [F.binary_cross_entropy_with_logits, bpr_loss])
def test_fit_learns_who_likes_what(loss):
    "Two kinds of people and of films: after training each sees the own kind first."
    x = torch.cartesian_prod(torch.arange(20), torch.arange(12))
    x = x[(x[:, 0] < 10) == (x[:, 1] < 6)]
    torch.manual_seed(0)
    model = DotProductBias(20, 12, 4, y_range=None)
    fit(model, NegativeBatches(x, 12, 3, 40), loss=loss, epochs=60, lr=.05, threads=1, progress=False)
    lists = top_n(all_scores(model), torch.zeros(20, 12, dtype=torch.bool), 6)
    assert ((lists < 6) == (torch.arange(20)[:, None] < 10)).float().mean() > .95


def test_settings_are_chosen_without_the_hidden_ratings(bench, monkeypatch):
    "With every hidden rating turned over (1 for 5), the bench chooses as before."
    gen = generator(0)
    pairs = torch.cartesian_prod(torch.arange(40), torch.arange(60))
    x = pairs[torch.rand(len(pairs), generator=gen) < .5]
    y, when = torch.randint(1, 6, (len(x),), generator=gen).float(), torch.rand(len(x), generator=gen)
    _, hidden = bench.cut('a', x, when, 42)
    turned = y.clone()
    turned[hidden] = 6 - turned[hidden]
    monkeypatch.setattr(bench, 'GRID', {'ease': bench.GRID['ease'], 'knn': bench.GRID['knn']})
    monkeypatch.setattr(bench, 'table', lambda x, v, shape=(40, 60): _table(x, v))
    monkeypatch.setattr(bench, 'scores', lambda name, x, y, seed=0, **k: _scores(bench, name, x, y, **k))
    monkeypatch.setattr(bench, 'course_rmse', lambda *a: 1.)
    chosen = []
    for ratings in (y, turned):
        monkeypatch.setattr(bench, 'load', lambda: (None, x, ratings, when))
        chosen.append({r['id']: r.get('settings') for r in bench.protocol('a')(1)})
    assert chosen[0] == chosen[1]


def _table(x, values):
    t = torch.zeros(40, 60)
    t[x[:, 0], x[:, 1]] = values
    return t


def _scores(bench, name, x, y, **kwargs):
    kinds = dict(ease=EASE, knn=ItemKNN)
    X = _table(x, y/5)
    return kinds[name](**kwargs).fit(X).score(X) if name in kinds else X.sum(0).expand(40, 60)


def test_stored_ease_holds(bench):
    "The best row has no chance in it, so it comes out again."
    rows = {r['id']: r for r in json.loads((ROOT/'bench/results/ranking.json').read_text())['results']}
    row = rows['ranking.a.ease']
    _, x, y, when = bench.load()
    train, test = bench.cut('a', x, when, 42)
    S = bench.scores('ease', x[train], y[train], **row['settings'])
    assert bench.list_score(S, x[train], x[test], y[test]) == pytest.approx(row['value'], abs=5e-4)
