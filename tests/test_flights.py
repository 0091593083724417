"Products of embeddings against factorization machines, the net against its parts, distances and Mantel tests against others' code."
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.stats import pearsonr
from sklearn.metrics.pairwise import haversine_distances

from conftest import many
from lesson8.flights import ProductNet, great_circle, mantel, products
from lesson8.tabular import TabularModel


def normal(seed, *size): return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@many
@given(st.integers(0, 4), st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**31), st.data())
def test_products(n, c, d, seed, data):
    "Every combination once, shortest first, and gradients as if each product were written out."
    order = data.draw(st.integers(1, c))
    rows = normal(seed, c, n, d).requires_grad_()
    made = products(list(rows), order)
    assert list(made) == [pick for k in range(1, order + 1) for pick in itertools.combinations(range(c), k)]
    out, by_hand = torch.stack(list(made.values())), torch.stack([rows[list(pick)].prod(0) for pick in made])
    torch.testing.assert_close(out, by_hand)
    g = normal(seed + 1, *out.shape)
    for p, q in zip(torch.autograd.grad(out, rows, g), torch.autograd.grad(by_hand, rows, g)): torch.testing.assert_close(p, q)


@many
@given(st.integers(1, 5), st.integers(2, 7), st.integers(1, 5), st.integers(0, 2**31))
def test_sums_are_those_of_a_factorization_machine(n, c, d, seed):
    "Rendle's short cut for pairs, and Newton's identity for triples."
    rows = normal(seed, c, n, d)
    s1, s2, s3 = (rows.pow(k).sum(0) for k in (1, 2, 3))
    made = products(list(rows), min(c, 3))
    total = lambda k: sum(v for pick, v in made.items() if len(pick) == k)
    torch.testing.assert_close(total(2), (s1**2 - s2)/2)
    if c > 2: torch.testing.assert_close(total(3), (s1**3 - 3*s1*s2 + 2*s3)/6)


@pytest.mark.parametrize('order', [0, 4, 2., True])
def test_order_of_products(order):
    with pytest.raises(ValueError, match='order is .*give a whole number from 1 to 3'): products([torch.zeros(2, 4)]*3, order)


@many
@given(st.integers(2, 9), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.booleans(), st.data())
def test_net_is_look_ups_products_and_layers(n, c, d, n_cont, out, training, data):
    "Equal to a TabularModel that is given embeddings and products as numbers."
    order = data.draw(st.integers(1, c))
    torch.manual_seed(n)
    net = ProductNet([(5, d)]*c, n_cont, out, [6, 4], order).train(training)
    x, more = torch.randint(0, 5, (n, c)), torch.randn(n, n_cont)
    rows = torch.stack([e.weight[x[:, k]] for k, e in enumerate(net.embeds)])
    parts = [rows[list(p)].prod(0) for k in range(1, order + 1) for p in itertools.combinations(range(c), k)]
    same = TabularModel([], sum(p.shape[1] for p in parts) + n_cont, out, [6, 4], bn_cont=False).train(training)
    same.load_state_dict(net.net.state_dict())
    found = net(x, more) if n_cont else net(x)
    torch.testing.assert_close(found, same(None, torch.cat([*parts, more], 1)))
    assert found.shape == (n, out)


def test_net_says_what_is_wrong():
    net = ProductNet([(5, 3), (4, 3)], 1, 1, [4]).eval()
    x, more = torch.zeros(2, 2).long(), torch.zeros(2, 1)
    for args, said in (((x[:, :1], more), r'x_cat has shape \(2, 1\): expected \(n, 2\)'), ((x,), r'x_cont is missing: expected \(n, 1\)'),
                       ((x, x), r'x_cont has shape \(2, 2\): expected \(n, 1\)'), ((x + 4, more), 'embedding row 4 does not exist')):
        with pytest.raises(ValueError, match=said): net(*args)
    with pytest.raises(ValueError, match='a batch of one row in training mode'): net.train()(x[:1], more[:1])
    for sizes, said in (([(5, 3), (4, 2)], r'lengths \[2, 3\]: only rows of one length'), ([], 'emb_szs is empty')):
        with pytest.raises(ValueError, match=said): ProductNet(sizes, 0, 1, [4])
    with pytest.raises(ValueError, match='order is 3: give a whole number from 1 to 2'): ProductNet([(5, 3), (4, 3)], 0, 1, [4], order=3)


@many
@given(st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=1, max_size=8))
def test_great_circle(places):
    lat, lon = np.array(places).T
    theirs = haversine_distances(np.radians(np.column_stack([lat, lon])))*3959
    np.testing.assert_allclose(great_circle(lat, lon), theirs, atol=1e-3)


def test_great_circle_of_known_places():
    "New York (JFK) to San Francisco and to Boston, as the table of flights has them, to the 0.3% that the earth is flattened by."
    found = great_circle([40.6398, 37.6190, 42.3643], [-73.7789, -122.3749, -71.0052])
    assert abs(found[0, 1] - 2586) < 8 and abs(found[0, 2] - 187) < 1
    with pytest.raises(ValueError, match='lat has length 2 and lon has length 1'): great_circle([1., 2.], [1.])


def distances(seed, n, d=2): return torch.cdist(p := normal(seed, n, d), p)


def slow(a, b, given, permutations, seed):
    "A Mantel test as in a textbook: correlate what two straight lines leave, once for each order."
    a, b, given = (None if t is None else np.asarray(t) for t in (a, b, given))
    pairs, gen, found = np.triu_indices(len(a), 1), torch.Generator().manual_seed(seed), []
    def rest(v):
        if given is None: return v
        line = np.column_stack([given[pairs], np.ones(len(v))])
        return v - line @ np.linalg.lstsq(line, v, rcond=None)[0]
    for k in range(permutations + 1):
        o = torch.randperm(len(a), generator=gen).numpy() if k else np.arange(len(a))
        found.append(pearsonr(rest(a[np.ix_(o, o)][pairs]), rest(b[pairs]))[0])
    return found[0], np.mean(np.array(found) >= found[0] - 1e-12)


@pytest.mark.parametrize('seed', range(6))
@pytest.mark.parametrize('partial', [False, True])
def test_mantel(seed, partial):
    n = 4 + 3*seed
    a, noise, b = distances(seed, n), distances(seed + 50, n), distances(seed + 100, n)
    b, given = b + seed*a, noise + .5*a if partial else None
    found = mantel(a, b, given, permutations=40, seed=seed)
    r, p = slow(a, b, given, 40, seed)
    assert abs(found.r - r) < 1e-9 and found.p == pytest.approx(p)


def test_mantel_finds_what_is_there_and_nothing_else():
    "p is small for the same places seen through noise; of unrelated places p is spread evenly; a shared cause is taken out."
    places = normal(0, 30, 2)
    a, b = torch.cdist(places, places), torch.cdist(q := places + .3*normal(1, 30, 2), q)
    assert mantel(a, b).r > .7 and mantel(a, b).p == .001
    ps = [mantel(distances(2*k, 12), distances(2*k + 1, 12), permutations=99, seed=k).p for k in range(200)]
    assert .4 < np.mean(ps) < .6 and np.mean(np.array(ps) <= .1) < .2
    line = torch.cdist(places[:, :1], places[:, :1])
    c, d = line + .2*distances(5, 30), line + .2*distances(6, 30)
    assert mantel(c, d).p == .001 and mantel(c, d, line).p > .05


def test_mantel_says_what_is_wrong():
    a, b = distances(0, 5), distances(1, 5)
    for args, said in (((a, b[:4, :4]), 'a has length 5 and b has length 4'), ((a, b[:, :4]), r'b has shape \(5, 4\): expected \(5, 5\)'),
                       ((a, a.triu()), 'b is not symmetric'), ((a[:3, :3], b[:3, :3]), 'the number of things is 3'),
                       ((a, 1 - torch.eye(5)), 'all distances in b are 1'), ((a, b, a), '`given` explains a or b entirely'),
                       ((a, b, b*3), '`given` explains a or b entirely'), ((a/0, b), 'values of a are missing or infinite')):
        with pytest.raises(ValueError, match=said): mantel(*args)
    with pytest.raises(ValueError, match='permutations is 0'): mantel(a, b, permutations=0)
