"""The rooms of the library: small, each with its own idea, and nothing private passed between them; what the
data and look-up rooms promise."""
import ast, inspect, re

import numpy as np, pandas as pd, pytest, torch
from hypothesis import given, strategies as st

from conftest import ROOT, many
from lesson8.cold_start import Side, choose_questions, fold_in, metadata_map, predict_new, recommend, side_of
from lesson8.data import rating_tensors
from lesson8.embeddings import DotProductBias
from lesson8.interpretation import PCA, main_effects
from lesson8.similarity import nearest, similarity
from lesson8.vocab import Vocab, find_item

MODULES = sorted(p for p in (ROOT/'lesson8').glob('*.py') if not p.stem.startswith('_'))


@pytest.mark.parametrize('path', MODULES, ids=lambda p: p.stem)
def test_nothing_private_crosses_modules(path):
    "A name with an underscore in front belongs to the module that defines it."
    tree, modules = ast.parse(path.read_text()), {p.stem for p in MODULES}
    taken = [a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)
             and (n.level or (n.module or '').startswith('lesson8')) for a in n.names]
    reached = [f'{n.value.id}.{n.attr}' for n in ast.walk(tree) if isinstance(n, ast.Attribute)
               and isinstance(n.value, ast.Name) and n.value.id in modules and n.attr.startswith('_')]
    assert not [n for n in taken + reached if n.rpartition('.')[2].startswith('_')]


@pytest.mark.parametrize('module', ['data', 'vocab', 'images', 'tables', 'registry', 'download', 'fetch',
                                    'report', 'interpretation', 'similarity',
                                    'cold_start', 'feedback', 'checks'])
def test_room_is_small(module): assert len((ROOT/f'lesson8/{module}.py').read_text().splitlines()) < 200


def test_data_passes_no_names_on():
    "Pictures, tables and look-ups are imported where they live."
    import lesson8.data as D
    mine = {n for n in vars(D) if not n.startswith('_')
            and getattr(vars(D)[n], '__module__', '').startswith('lesson8')}
    assert mine - set(D.__all__) <= {'fetch', 'find_member', 'check_finite', 'check_number', 'check_whole'}
    assert not set(D.__all__) & {'Vocab', 'ImageSet', 'mnist', 'flights', 'rossmann', 'germany'}


@pytest.mark.parametrize('module', ['images', 'tables', 'registry', 'download', 'vocab'])
def test_docments_say_what_everything_is(module):
    "Every field of a NamedTuple and every parameter has a comment."
    text = (ROOT/f'lesson8/{module}.py').read_text()
    lines, lacks = text.splitlines(), []
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith('_'):
            items = [a for a in node.args.args if a.arg != 'self']
        elif isinstance(node, ast.ClassDef): items = [n for n in node.body if isinstance(n, ast.AnnAssign)]
        else: continue
        lacks += [f'{node.name}: {lines[o.lineno - 1].strip()}'
                  for o in items if '#' not in lines[o.lineno - 1]]
    assert not lacks


# --- vocab

def test_na_in_the_data_is_the_unknown_row():
    v = Vocab(['b', '#na#', 'a', '#na#'], unknown=True)
    assert v.values == ['#na#', 'a', 'b'] and v.encode(['#na#', 'b', 'new']).tolist() == [0, 2, 0]
    assert v.decode([0, 2]) == ['#na#', 'b']


@many
@given(st.lists(st.one_of(st.text(max_size=4), st.sampled_from(['#na#', ''])), min_size=1, max_size=20),
       st.booleans())
def test_vocab_there_and_back(values, unknown):
    v = Vocab(values, unknown)
    assert v.decode(v.encode(values)) == values
    known = sorted(set(values) - ({'#na#'} if unknown else set()))
    assert v.values == ['#na#']*unknown + known and len(v) == len(set(v.values))


@many
@given(st.lists(st.integers(-2**40, 2**40), min_size=1, max_size=20),
       st.sampled_from([list, np.array, pd.Series, torch.tensor]), st.booleans())
def test_vocab_takes_what_holds_numbers(values, kind, unknown):
    v = Vocab(kind(values), unknown)
    rows = v.encode(kind(values))
    assert rows.dtype == torch.int64
    assert rows.tolist() == [sorted(set(values)).index(o) + unknown for o in values]


def test_vocab_keeps_none_of_the_rows_of_its_input():
    "The index of a Series does not count."
    shuffled = pd.Series(['b', 'a'], index=[7, 3])
    assert Vocab(shuffled).encode(shuffled).tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"'c' is not in the vocabulary of 2 values \(1 of 2 are not\)"):
        Vocab(shuffled).encode(pd.Series(['a', 'c'], index=[7, 3]))


FILMS = pd.DataFrame(dict(item=[4, 7, 9, 12, 15],
                          title=['Alien (1979)', 'Aliens (1986)', 'Godfather, The (1972)',
                                 'Il Postino (1994)', 'Heat (1995)']))


@pytest.mark.parametrize('typed, near', [('alien', 'Alien'), (' ALIEN (1979) ', 'Alien'),
                                         ('The Godfather', 'Godfather'), ('postino', 'Il Postino')])
def test_titles_as_one_says_them(typed, near):
    with pytest.raises(KeyError, match=f'did you mean .{re.escape(near)}') as e: find_item(typed, FILMS)
    if typed in ('alien', 'The Godfather'): assert ' or ' not in str(e.value)


def test_titles_of_films_that_differ_by_year_are_both_named():
    two = pd.DataFrame(dict(item=[1, 2, 3], title=['Psycho (1960)', 'Psycho (1998)', 'Fargo (1996)']))
    with pytest.raises(KeyError, match=r"Psycho \(1960\)' or 'Psycho \(1998\)"): find_item('psycho', two)


def test_unknown_id_names_the_range():
    with pytest.raises(KeyError, match='no item 5; ids go from 4 to 15'): find_item(5, FILMS)


def test_rating_tensors_refuse_infinity():
    r = pd.DataFrame(dict(user=[1, 2], item=[1, 2], rating=[3., np.inf]))
    with pytest.raises(ValueError, match='1 of 2 values of ratings.rating'):
        rating_tensors(r, Vocab([1, 2]), Vocab([1, 2]))


# --- interpretation

@pytest.fixture
def model():
    torch.manual_seed(0)
    model = DotProductBias(30, 20, n_factors=4, y_range=(0, 5))
    for p in model.parameters(): torch.nn.init.normal_(p, .3)
    return model


@pytest.mark.parametrize('kind', [np.int64, np.int32, torch.tensor])
def test_numpy_integers_are_whole_numbers(kind, model):
    X = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(PCA(kind(2)).fit_transform(X), PCA(2).fit_transform(X))
    assert [t.tolist() for t in nearest(X, kind(3), kind(2))] == [t.tolist() for t in nearest(X, 3, 2)]
    side = side_of(model)
    as_kind, as_int = (choose_questions(side, torch.ones(20), side.own.mean(0), n).tolist()
                       for n in (kind(3), 3))
    assert as_kind == as_int
    items = pd.DataFrame(dict(item=range(20), title=[f'film {k}' for k in range(20)]))
    assert len(recommend({0: 4}, model, items, Vocab(range(20)), n=kind(3))) == 3


def test_main_effects_without_a_cancelling_error(model):
    "Level, persons and films are means of the scores over all pairs."
    users, items = torch.arange(30), torch.arange(20)
    S = model.score(torch.cartesian_prod(users, items)).detach().view(30, 20)
    e = main_effects(model)
    torch.testing.assert_close(e.level, S.mean())
    torch.testing.assert_close(e.user, S.mean(1) - S.mean())
    torch.testing.assert_close(e.item, S.mean(0) - S.mean())
    torch.testing.assert_close(e.user_factors @ e.item_factors.T, S - e.level - e.user[:, None] - e.item)


DEFAULTS = [
    (PCA, dict(n_components=None)), (similarity, dict(b=None, kind='cosine')),
    (nearest, dict(n=5, kind='cosine')), (side_of, dict(side='user')), (fold_in, dict(strength=8.)),
    (metadata_map, dict(strength=10.)), (choose_questions, dict(n=20, noise=.8)),
    (recommend, dict(n=5, among=None, strength=8.))]


@pytest.mark.parametrize('f, given', DEFAULTS, ids=[f.__name__ for f, _ in DEFAULTS])
def test_what_is_left_out_is_what_the_chapters_chose(f, given):
    found = {n: p.default for n, p in inspect.signature(f).parameters.items() if p.default is not p.empty}
    assert found == given


def test_pca_agrees_with_the_covariance_matrix():
    "NumPy's covariance divides by n-1, and a share is one of all the variance, kept or not."
    X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    variance, directions = np.linalg.eigh(np.cov(X.T.numpy()))
    variance, directions = torch.tensor(variance).flip(0), torch.tensor(directions).flip(1)
    pca = PCA(2).fit(X)
    torch.testing.assert_close(pca.explained_variance_, variance[:2])
    torch.testing.assert_close(pca.explained_variance_ratio_, variance[:2]/variance.sum())
    torch.testing.assert_close((pca.components_ @ directions[:, :2]).abs(), torch.eye(2).double())
    torch.testing.assert_close(PCA().fit(X).inverse_transform(PCA().fit_transform(X)), X)
    with pytest.raises(ValueError, match='number of rows is 1'): PCA().fit(X[:1])


@pytest.mark.parametrize('kind', ['cosine', 'dot', 'euclid'])
def test_nearest_by_trying_all(kind):
    X = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    alike = dict(cosine=torch.cosine_similarity(X[4:5], X), dot=X @ X[4],
                 euclid=-(X - X[4]).norm(dim=1))[kind]
    want = sorted(set(range(9)) - {4}, key=lambda k: -alike[k])
    found, values = nearest(X, 4, 8, kind)
    assert found.tolist() == want
    torch.testing.assert_close(values, alike[want])


def test_similarity_of_two_tables_has_their_shape():
    a, b = torch.randn(3, 5), torch.randn(2, 5)
    for kind in ('cosine', 'dot', 'euclid'):
        assert similarity(a, b, kind).shape == (3, 2)
        torch.testing.assert_close(similarity(a, kind=kind), similarity(a, a, kind))


# --- cold start

def test_metadata_map_on_another_device():
    made = metadata_map(*(torch.randn(n, device='meta') for n in ((9, 3), (9, 5), (9,))))
    assert [(t.shape, t.device.type) for t in made] == [((3, 5), 'meta'), ((5,), 'meta')]


def test_a_row_of_weight_three_counts_as_three_rows():
    gen = torch.Generator().manual_seed(0)
    features, vectors = torch.randn(9, 3, generator=gen), torch.randn(9, 5, generator=gen)
    times = torch.arange(1, 10)
    thrice = (t.repeat_interleave(times, 0) for t in (features, vectors))
    for a, b in zip(metadata_map(features, vectors, times.float()), metadata_map(*thrice, torch.ones(45))):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize('y_range', [(0, 5), (1, 5), None])
def test_a_small_surprise_is_made_up_for(y_range):
    "Near the guess the tangent is the model: a rating a thousandth above the prediction is met by fold_in."
    gen = torch.Generator().manual_seed(0)
    own, other, offset = (torch.randn(*n, generator=gen).double() for n in ((4, 3), (6, 3), (6,)))
    side, rows = Side(own, other, offset, y_range), torch.tensor([2, 5])
    asked = predict_new(side, own[0], rows) + torch.tensor([1e-3, -1e-3])
    met = predict_new(side, fold_in(side, rows, asked, own[0], strength=1e-9), rows)
    torch.testing.assert_close(met, asked, atol=1e-5, rtol=0)


def test_fold_in_keeps_the_start_where_nothing_is_known(model):
    side = side_of(model, 'item')
    starts = torch.randn(2, 5)
    torch.testing.assert_close(fold_in(side, torch.zeros(2, 0, dtype=torch.int64), torch.zeros(2, 0), starts),
                               starts)
    assert (side.own.shape, side.other.shape, side.offset.shape) == ((20, 5), (30, 5), (30,))


def expected_variance(side, share, start, order, noise):
    """The variance that greedy choice leaves, by brute force: an answer counts as share/noise of an
    observation."""
    rows = torch.arange(len(side.other))
    start = start.clone().requires_grad_()
    J = torch.stack([torch.autograd.grad(predict_new(side, start, rows[k:k+1]).sum(), start)[0]
                     for k in rows])
    precision = torch.linalg.inv(torch.cov(side.own.T)) + sum(
        (share[k]/noise*torch.outer(J[k], J[k]) for k in order), torch.zeros(()))
    C = torch.linalg.inv(precision)
    return C, J


@pytest.mark.parametrize('seed', range(5))
def test_questions_are_those_that_leave_least_variance(seed, model):
    "Each question is the best one given those before, share of answers included, found by trying all."
    gen = torch.Generator().manual_seed(seed)
    side, noise = side_of(model), .8
    side = Side(*(t.double() for t in side[:3]), side.y_range)
    share, start = torch.rand(20, generator=gen).double(), side.own.mean(0)
    chosen = choose_questions(side, share, start, 6, noise).tolist()
    for n in range(6):
        C, J = expected_variance(side, share, start, chosen[:n], noise)
        removed = share*torch.stack([(share*((J @ C @ J[k])**2)).sum()/(noise + J[k] @ C @ J[k])
                                     for k in range(20)])
        removed[chosen[:n]] = -1
        assert chosen[n] == removed.argmax()


def test_share_decides_whether_a_kind_is_done():
    "Asking about a film that one in twenty knows leaves its kind open; a film that all know settles it."
    own = torch.tensor([[1., 0.], [-1., 0.], [0., .9], [0., -.9]])
    toy = Side(own, torch.tensor([[1., 0.], [1., 0.], [0., 1.]]), torch.zeros(3), None)
    assert choose_questions(toy, torch.tensor([.05, .049, .05]), torch.zeros(2), 2,
                            noise=.2).tolist() == [0, 1]
    assert choose_questions(toy, torch.ones(3), torch.zeros(2), 2, noise=.2).tolist() == [0, 2]


def test_recommend_takes_the_ends_of_the_range(model):
    items = pd.DataFrame(dict(item=range(20), title=[f'film {k}' for k in range(20)]))
    got = recommend({'film 3': 5, 'film 4': 0}, model, items, Vocab(range(20)), among=[3, 5, 6])
    assert set(got['item']) == {5, 6} and got.stars.between(0, 5).all()
    assert list(got.columns) == ['item', 'title', 'stars']
    with pytest.raises(ValueError, match="rating of 'film 3' is 5.1"):
        recommend({'film 3': 5.1}, model, items, Vocab(range(20)))
    free = DotProductBias(30, 20, n_factors=4, y_range=None)
    assert len(recommend({'film 3': 11}, free, items, Vocab(range(20)))) == 5
    with pytest.raises(ValueError, match='finite'):
        recommend({'film 3': float('nan')}, free, items, Vocab(range(20)))


def test_strength_says_how_close_to_the_start(model):
    side, items = side_of(model), pd.DataFrame(dict(item=range(20), title=[f'film {k}' for k in range(20)]))
    loose, stiff = (recommend({0: 5}, model, items, Vocab(range(20)), n=19,
                              strength=s).set_index('item').stars for s in (.1, 1e6))
    start = predict_new(side, side.own.mean(0), torch.arange(20))
    far = {name: np.abs(s - start.numpy()[s.index]).max() for name, s in (('loose', loose), ('stiff', stiff))}
    assert far['stiff'] < 1e-3 < .1 < far['loose']
