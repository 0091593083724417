"What chapters 01, 02 and 05 promise of their models and do not show: copies, ends of ranges, dropout, types."
import copy, inspect, io, pickle

import numpy as np
import pytest
import torch
from torch import nn

from lesson8.batches import Batches
from lesson8.deep_collab import CollabNN, EmbeddingNN, emb_sz_rule, get_emb_sz
from lesson8.embeddings import (
    DotProduct, DotProductBias, Embedding, RatingModel, check_ratings, create_params, sigmoid_range)
from lesson8.parameters import Linear, Module, Parameter, param_table
from lesson8.training import fit


def by_torch_save(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def by_pickle(model): return pickle.loads(pickle.dumps(model))


COPIES = [copy.deepcopy, by_pickle, by_torch_save]


class Tied(Module):
    "Two layers with one weight, a weight of its own and one that does not learn."
    def __init__(self):
        super().__init__()
        self.first, self.second = Linear(3, 3), Linear(3, 3, bias=False)
        self.second.weight = self.first.weight
        self.scale, self.fixed = Parameter(torch.ones(3)), Parameter(torch.arange(3), requires_grad=False)

    def forward(self, x): return self.second(self.first(x).relu())*self.scale + self.fixed


@pytest.mark.parametrize('copied', COPIES)
def test_copy_of_a_parameter(copied):
    "As with nn.Parameter: a leaf of the same class and values, in memory of its own, that learns by itself."
    for requires_grad in (True, False):
        p = Parameter(torch.tensor([1., 2.]), requires_grad)
        q, theirs = copied(p), copied(nn.Parameter(torch.tensor([1., 2.]), requires_grad))
        assert type(q) is Parameter and q.is_leaf and q.requires_grad == theirs.requires_grad == requires_grad
        assert q.tolist() == theirs.tolist() == [1., 2.] and q.data_ptr() != p.data_ptr()
    p = Parameter(torch.tensor([1., 2.]))
    (p*p).sum().backward()
    q = copied(p)
    (3*q).sum().backward()
    assert q.grad.tolist() == [3., 3.] and p.grad.tolist() == [2., 4.]


@pytest.mark.parametrize('copied', COPIES)
def test_copy_of_a_module(copied):
    "It computes the same, what was shared stays shared, and training one leaves the other alone."
    torch.manual_seed(0)
    model, x = Tied().eval(), torch.randn(5, 3)
    twin = copied(model)
    assert type(twin) is Tied and twin.second.weight is twin.first.weight and not twin.training
    assert [n for n, _ in twin.named_parameters()] == [n for n, _ in model.named_parameters()]
    assert len(list(twin.parameters())) == 4 and all(type(p) is Parameter for p in twin.parameters())
    for m in (model, twin): m(x).square().sum().backward()
    for (_, a), (_, b) in zip(model.named_parameters(), twin.named_parameters()):
        assert a.equal(b) and a.data_ptr() != b.data_ptr() and a.requires_grad == b.requires_grad
        assert a.grad is b.grad is None or a.grad.equal(b.grad)
    before = model(x).detach()
    with torch.no_grad(): twin.first.weight.add_(1.)
    assert model(x).equal(before) and not twin(x).equal(before)


def test_two_names_of_one_parameter_copied_together():
    p = Parameter(torch.ones(2))
    for copied in (copy.deepcopy, by_pickle):
        a, b = copied([p, p])
        assert a is b is not p
    assert copy.copy(p).data_ptr() == p.data_ptr(), 'a shallow copy shares the memory'


def test_own_parameters_only():
    "recurse=False stays at the top, as in PyTorch."
    model, theirs = Tied(), nn.Sequential(nn.Linear(2, 2))
    theirs.register_parameter('own', nn.Parameter(torch.ones(1)))
    assert [n for n, _ in model.named_parameters(recurse=False)] == ['scale', 'fixed']
    assert [len(list(model.parameters(recurse=r))) for r in (True, False)] == [4, 2]
    assert [n for n, _ in theirs.named_parameters('', False)] == ['own']
    assert [n for n, _ in model.named_parameters('m', False)] == ['m.scale', 'm.fixed']


def test_moved_and_forgotten_as_in_torch():
    "A change of type is for floating point only and takes the gradient along; zero_grad leaves none."
    ours, theirs = Tied(), nn.Module()
    theirs.scale = nn.Parameter(torch.ones(3))
    theirs.fixed = nn.Parameter(torch.arange(3), requires_grad=False)
    for m in (ours, theirs):
        m.scale.square().sum().backward()
        m.to(torch.float64)
        assert m.scale.dtype == m.scale.grad.dtype == torch.float64 and m.fixed.dtype == torch.int64
        assert m.scale.grad.tolist() == [2., 2., 2.]
        m.zero_grad()
        assert m.scale.grad is None


def test_table_says_what_is_trained():
    for model in (Linear(3, 2), nn.Linear(3, 2)):
        model.bias.requires_grad_(False)
        assert param_table(model).trainable.to_dict() == {'weight': True, 'bias': False}


def test_std_is_given_by_name():
    "The third argument of nn.Embedding is another one, so a number in its place is refused."
    with pytest.raises(TypeError): Embedding(10, 3, 0)
    torch.manual_seed(0)
    assert abs(Embedding(1000, 50).weight.std() - .01) < 1e-3
    assert abs(Embedding(1000, 50, std=2.).weight.std() - 2) < .1
    assert not Embedding(4, 2, std=0).weight.any()
    for bad in (-1., float('nan'), '1'):
        with pytest.raises(ValueError, match='std is'): Embedding(4, 2, std=bad)


RANGE = dict(y_range=(0, 5.5))
DEFAULTS = [
    (create_params, dict(std=.01)), (Embedding, dict(std=.01)), (RatingModel, RANGE),
    (DotProduct, dict(n_factors=50, **RANGE)), (DotProductBias, dict(n_factors=50, **RANGE)),
    (CollabNN, dict(**RANGE, n_act=100, ps=0., embed_p=0., std=.01)), (get_emb_sz, dict(sz_dict=None)),
    (EmbeddingNN, dict(ps=None, embed_p=0., y_range=None, use_bn=True))]


@pytest.mark.parametrize('f, given', DEFAULTS, ids=[f.__name__ for f, _ in DEFAULTS])
def test_what_is_left_out_is_what_the_chapters_chose(f, given):
    found = {n: p.default for n, p in inspect.signature(f).parameters.items() if p.default is not p.empty}
    assert found == given


def test_size_of_an_embedding_has_a_limit():
    assert [emb_sz_rule(n) for n in (1, 2, 943, 39_000, 10**6)] == [2, 2, 74, 596, 600]


@pytest.mark.parametrize('use_bn', [True, False])
def test_batch_norm_takes_the_place_of_the_bias(use_bn):
    block = EmbeddingNN([(5, 3)], [4], use_bn=use_bn).layers[0]
    assert (block[0].bias is None) == use_bn == isinstance(block[-1], nn.BatchNorm1d)


def test_whole_numbers_of_numpy_are_whole_numbers():
    "Wherever torch takes them; and numbers that are not whole, or True, nowhere."
    n, d = np.int64(6), np.int32(3)
    x = torch.tensor([[0, 1], [5, 5]])
    assert create_params(n, d).shape == (6, 3) and Embedding(n, d).weight.shape == (6, 3)
    assert type(Embedding(n, d).num_embeddings) is type(Embedding(n, d).embedding_dim) is int
    assert Linear(d, n)(torch.ones(2, 3)).shape == (2, 6) and type(Linear(d, n).in_features) is int
    assert emb_sz_rule(n) == emb_sz_rule(6)
    assert get_emb_sz({'day': range(6)}, {'day': d}) == [(6, 3)]
    models = [DotProduct(n, n, d), DotProductBias(n, n, d), CollabNN((n, d), (n, d), n_act=np.int64(4)),
              CollabNN((n, d), (n, d), n_act=[np.int64(4)]),
              EmbeddingNN([(n, d), (n, d)], [np.int64(4)]).eval()]
    for model in models: assert model(x).shape == (2,)
    for bad in (2.5, 0, True, '3', None):
        for make in (create_params, lambda v: Embedding(v, 2), lambda v: Embedding(2, v),
                     lambda v: Linear(v, 2), lambda v: Linear(2, v), lambda v: DotProduct(2, 2, v),
                     lambda v: CollabNN((2, 2), (2, 2), n_act=[v]), lambda v: EmbeddingNN([(2, 2)], [v]),
                     emb_sz_rule, lambda v: get_emb_sz({'day': range(6)}, {'day': v})):
            with pytest.raises(ValueError, match='whole number'): make(bad)


def test_a_size_of_no_axes_is_one_number():
    assert create_params().shape == () and create_params(std=0).item() == 0


class Fixed(RatingModel):
    "The whole of a model: two tables and a score."
    def __init__(self, y_range=(0, 5.5)): super().__init__(nn.Embedding(4, 1), Embedding(6, 1), y_range)
    def score(self, x): return (x[:, 0] - x[:, 1]).float()


PAIRS = torch.tensor([[0, 5], [3, 3], [3, 0]])


def test_a_score_makes_a_model():
    assert Fixed(None)(PAIRS).tolist() == [-5., 0., 3.]
    torch.testing.assert_close(Fixed((1, 3))(PAIRS), sigmoid_range(torch.tensor([-5., 0., 3.]), 1, 3))
    Fixed().check_data(PAIRS, torch.tensor([1., 2., 3.]))
    base, net = RatingModel(Embedding(4, 1), Embedding(6, 1)), CollabNN((4, 1), (6, 1))
    assert base.y_range == net.y_range == (0, 5.5)
    for x, hint in ((PAIRS[:, 0], 'expected'), (PAIRS[None], 'expected'), (PAIRS.repeat(1, 2), 'expected')):
        with pytest.raises(ValueError, match=hint): Fixed()(x)
        with pytest.raises(ValueError, match=hint): Fixed().check_data(x)
    with pytest.raises(NotImplementedError, match='RatingModel has no score'):
        RatingModel(Embedding(4, 1), Embedding(6, 1))(PAIRS)


def test_fit_asks_the_model_about_its_data():
    "Before the first step, and for every model on the base class."
    y = torch.tensor([1., 2., 6.])
    for model in (DotProductBias(4, 6), CollabNN((4, 2), (6, 2))):
        before = [p.clone() for p in model.parameters()]
        with pytest.raises(ValueError, match='rating 6 cannot be reached'):
            fit(model, Batches(PAIRS, y, 1, shuffle=False), progress=False)
        assert all(map(torch.equal, before, model.parameters()))


def test_models_of_ratings_share_one_base():
    "`forward` and the check stand there once. The check's name is one that no other model has by chance."
    for model in (DotProduct, DotProductBias, CollabNN):
        assert issubclass(model, RatingModel) and model.forward is RatingModel.forward
        assert model.check_data is RatingModel.check_data and not hasattr(model, 'check')


@pytest.mark.parametrize('user, item, y, message', [
    (4, 0, 1., 'user row 4 does not exist: there are rows 0 to 3'), (-1, 0, 1., 'user row -1'),
    (0, 6, 1., 'item row 6 does not exist: there are rows 0 to 5'), (0, -1, 1., 'item row -1'),
    (0, 0, 5.6, 'rating 5.6 cannot be reached'), (0, 0, -.1, 'rating -0.1 cannot be reached'),
    (0, 0, float('nan'), 'rating nan'), (0, 0, float('inf'), 'rating inf')])
def test_data_that_cannot_be_trained_on(user, item, y, message):
    x = torch.cat([PAIRS, torch.tensor([[user, item]])])
    with pytest.raises(ValueError, match=message): check_ratings(Fixed(), x, torch.tensor([1., 2., 3., y]))


def test_without_a_range_only_numbers_are_ratings():
    y = torch.tensor([-100., 0., 100.])
    Fixed(None).check_data(PAIRS, y)
    with pytest.raises(ValueError, match='rating nan'): Fixed(None).check_data(PAIRS, y.log())
    with pytest.raises(TypeError, match='floating point'): Fixed(None).check_data(PAIRS, y.long())
    with pytest.raises(TypeError, match='torch.as_tensor'): Fixed(None).check_data(PAIRS, y.tolist())
    with pytest.raises(TypeError, match='torch.as_tensor'): Fixed(None).check_data(PAIRS.tolist())


@pytest.mark.parametrize('make', [lambda r: Fixed(r), lambda r: DotProductBias(4, 6, y_range=r),
                                  lambda r: CollabNN((4, 2), (6, 2), r)], ids=['base', 'dot', 'net'])
def test_ratings_on_the_ends_of_the_range(make):
    "y_range=(0, 5) for ratings up to 5 is fastai's own example. What lies outside by a hair is refused."
    make((0, 5)).check_data(PAIRS, torch.tensor([0., 2.5, 5.]))
    make((1, 5)).check_data(PAIRS, torch.tensor([1., 2.5, 5.]))
    for y in (-1e-3, 5.001):
        with pytest.raises(ValueError, match='so give a wider one'):
            make((0, 5)).check_data(PAIRS, torch.tensor([1., y, 2.]))


def masks(model):
    "The probabilities of a net's dropout layers, in order, with what stands before each."
    before = ['start', *(type(m).__name__ for m in model.layers)]
    return [(name, m.p) for name, m in zip(before, model.layers) if isinstance(m, nn.Dropout)]


def test_dropout_is_where_it_was_asked_for():
    sizes = (30, 8), (40, 8)
    assert masks(CollabNN(*sizes, n_act=[9, 7])) == []
    assert masks(CollabNN(*sizes, n_act=[9, 7], ps=.3)) == [('ReLU', .3), ('ReLU', .3)]
    all_three = [('start', .4), ('ReLU', .1), ('ReLU', .2)]
    assert masks(CollabNN(*sizes, n_act=[9, 7], ps=[.1, .2], embed_p=.4)) == all_three
    assert masks(CollabNN(*sizes, n_act=[9, 7], ps=[0., .2])) == [('ReLU', .2)]
    for wrong in ([.1], [.1, .2, .3]):
        with pytest.raises(ValueError, match='2 hidden layers'): CollabNN(*sizes, n_act=[9, 7], ps=wrong)


@pytest.mark.parametrize('given', [dict(ps=.5), dict(embed_p=.5)], ids=['ps', 'embed_p'])
@pytest.mark.parametrize('make', [
    lambda **o: CollabNN((30, 8), (40, 8), n_act=20, std=1., **o),
    lambda **o: EmbeddingNN([(30, 8), (40, 8)], [20], use_bn=False, **o)], ids=['net', 'table'])
def test_dropout_acts_in_training_only(make, given):
    x = torch.stack([torch.arange(30), torch.arange(30)], 1)
    torch.manual_seed(0)
    model = make(**given)
    for p in model.parameters(): nn.init.normal_(p)
    assert not model.train()(x).equal(model(x)) and model.eval()(x).equal(model(x))
    plain = make()
    plain.load_state_dict(dict(zip(plain.state_dict(), model.state_dict().values())))
    torch.testing.assert_close(plain(x), model(x))


def test_start_values_of_the_net():
    torch.manual_seed(0)
    for std in (.01, .5):
        model = CollabNN((900, 40), (900, 40), std=std)
        for table in (model.user_factors, model.item_factors): assert abs(table.weight.std() - std) < .02*std
    given = inspect.signature(CollabNN).parameters
    assert given['std'].default == .01 and given['n_act'].default == 100


def test_net_without_dropout_is_what_none_means():
    for ps in (None, 0., [0., 0.]):
        model = EmbeddingNN([(30, 4)], [8, 5], ps=ps)
        assert not any(isinstance(m, nn.Dropout) for m in model.layers.modules()) and model.emb_drop.p == 0
