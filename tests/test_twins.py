"""A twin takes the arguments of its original: same names, same places, same defaults.

Where it does not, the difference is listed here with its reason. A difference that is not listed fails, and
so does one that is listed and no longer there. What twins compute is compared in the notebooks.
"""
import importlib, inspect, pkgutil, re
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from fastai.callback.schedule import Learner  # with `fit_one_cycle`, which this module adds
from fastai.collab import EmbeddingDotBias, EmbeddingNN, collab_learner
from fastai.data.transforms import RandomSplitter
from fastai.layers import AdaptiveConcatPool2d, sigmoid_range
from fastai.tabular.model import TabularModel, emb_sz_rule, get_emb_sz
from sklearn.decomposition import PCA
from torch import nn

import lesson8
from lesson8 import embeddings, training

NONE = inspect.Parameter.empty
PLACED = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD


class Argument(NamedTuple):
    "What a caller has to know about an argument."
    place: int | None  # 1 for the first; None for one that is given by name only
    default: object  # NONE: it has to be given


def arguments(f):
    "name -> `Argument` of a function, of a class, or of an operator of torch's (a schema is its signature)."
    if hasattr(f, '_schema'):
        found = [('input' if a.name == 'self' else a.name, None if a.kwarg_only else k, schema_default(a))
                 for k, a in enumerate(f._schema.arguments, 1)]
    else:
        given = [p for p in inspect.signature(f).parameters.values() if p.name != 'self']
        found = [(p.name, k if p.kind in PLACED else None, p.default) for k, p in enumerate(given, 1)
                 if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return {name: Argument(place, default) for name, place, default in found}


def schema_default(a):
    "The default of a schema's argument as Python writes it: [] is None and [1, 1] is 1."
    if not a.has_default_value(): return NONE
    value = a.default_value
    if not isinstance(value, (list, tuple)): return value
    return value[0] if len(set(value)) == 1 else list(value) or None


def said(default): return 'no default' if default is NONE else f'default {default!r}'


def same(a, b):
    "Whether two defaults are the same; of modules, whether they are of one kind with equal settings."
    if isinstance(a, nn.Module): return type(a) is type(b) and repr(a) == repr(b)
    return (type(a) is type(b) or bool not in (type(a), type(b))) and (a is b or a == b)


def differences(ours, theirs):
    "Each difference that a caller can notice, as a phrase."
    ours, theirs = arguments(ours), arguments(theirs)
    for name in theirs.keys() - ours.keys(): yield f'{name} missing'
    for name in ours.keys() - theirs.keys(): yield f'{name} new'
    for name in ours.keys() & theirs.keys():
        a, b = ours[name], theirs[name]
        if not same(a.default, b.default): yield f'{name}: {said(a.default)}, not {said(b.default)}'
        if a.place != b.place: yield f'{name}: place {a.place}, not {b.place}'


# Reasons that several differences share.
PLACE = '`.to(device)` and `.to(dtype)` do that afterwards'
ORDER = 'what describes the data comes first, as in `CollabNN` and in the lecture'
UNUSED = 'the course has no use for it'
BLOCKS = 'one kind of block is enough to rebuild the model behind `collab_learner(use_nn=True)`'
NAMED = 'by name there, by name or place here'
KEPT = 'the input is what their backward needs, so it is never overwritten'
SOLVER = 'there is one way to compute it here, the singular value decomposition'

TWINS = {  # ours, as module.name: (theirs, {difference: reason})
    'parameters.Parameter': (nn.Parameter, {
        'data: no default, not default None': 'an empty weight is a slip'}),
    'parameters.Linear': (nn.Linear, {'device missing': PLACE, 'dtype missing': PLACE}),
    'parameters.Module.named_parameters': (nn.Module.named_parameters, {}),
    'parameters.Module.parameters': (nn.Module.parameters, {}),
    'parameters.Module.children': (nn.Module.children, {}),
    'parameters.Module.extra_repr': (nn.Module.extra_repr, {}),
    'parameters.Module.train': (nn.Module.train, {}),
    'parameters.Module.eval': (nn.Module.eval, {}),
    'parameters.Module.to': (nn.Module.to, {}),
    'parameters.Module.zero_grad': (nn.Module.zero_grad, {
        'set_to_none missing': 'a gradient that is forgotten is None, always'}),
    'parameters.Module.state_dict': (nn.Module.state_dict, {
        name + ' missing': UNUSED for name in ('destination', 'prefix', 'keep_vars')}),
    'parameters.Module.load_state_dict': (nn.Module.load_state_dict, {
        'strict missing': 'a state that fits in part only is refused', 'assign missing': UNUSED}),
    'embeddings.Embedding': (nn.Embedding, {
        'std new': 'the start values decide how the training begins: chapter 02 measures it',
        'device missing': PLACE, 'dtype missing': PLACE,
        **{name + ' missing': UNUSED for name in (
            'padding_idx', 'max_norm', 'norm_type', 'scale_grad_by_freq', 'sparse', '_weight', '_freeze')}}),
    'embeddings.sigmoid_range': (sigmoid_range, {}),
    'embeddings.DotProductBias': (EmbeddingDotBias, {
        'n_users: place 1, not 2': ORDER, 'n_items: place 2, not 3': ORDER,
        'n_factors: place 3, not 1': ORDER,
        'n_factors: default 50, not no default': "the default of fastai's `collab_learner`",
        'y_range: default (0, 5.5), not default None': 'the course is about ratings of one to five stars'}),
    'deep_collab.emb_sz_rule': (emb_sz_rule, {}),
    'deep_collab.get_emb_sz': (get_emb_sz, {}),
    'deep_collab.EmbeddingNN': (EmbeddingNN, {
        'ps: place 3, not None': NAMED, 'embed_p: place 4, not None': NAMED,
        'y_range: place 5, not None': NAMED, 'use_bn: place 6, not None': NAMED,
        **{name + ' missing': BLOCKS for name in ('bn_final', 'bn_cont', 'act_cls', 'lin_first')}}),
    'tabular.TabularModel': (TabularModel, {}),
    'convolutions.unfold': (F.unfold, {}),
    'convolutions.conv2d': (torch.ops.aten.conv2d.default, {}),
    'activations.relu': (F.relu, {'inplace missing': KEPT}),
    'activations.leaky_relu': (F.leaky_relu, {'inplace missing': KEPT}),
    'activations.elu': (F.elu, {'inplace missing': KEPT}),
    'activations.gelu': (torch.ops.aten.gelu.default, {'approximate: place 2, not None': NAMED}),
    'activations.silu': (F.silu, {'inplace missing': KEPT}),
    'activations.mish': (F.mish, {'inplace missing': KEPT}),
    'activations.softplus': (torch.ops.aten.softplus.default, {}),
    'activations.sigmoid': (F.sigmoid, {}),
    'activations.tanh': (F.tanh, {}),
    'activations.Mish': (nn.Mish, {'inplace missing': KEPT}),
    'pooling.max_pool2d': (F._max_pool2d, {}),
    'pooling.avg_pool2d': (torch.ops.aten.avg_pool2d.default, {}),
    'pooling.adaptive_max_pool2d': (F._adaptive_max_pool2d, {}),
    'pooling.adaptive_avg_pool2d': (F.adaptive_avg_pool2d, {}),
    'pooling.AdaptiveConcatPool2d': (AdaptiveConcatPool2d, {}),
    'dropout.Dropout': (nn.Dropout, {}),
    'dropout.Dropout2d': (nn.Dropout2d, {}),
    'interpretation.PCA': (PCA, {
        'copy missing': 'a tensor that is passed is never written to', 'whiten missing': UNUSED,
        **{name + ' missing': SOLVER for name in (
            'svd_solver', 'tol', 'iterated_power', 'n_oversamples', 'power_iteration_normalizer',
            'random_state')}}),
    'interpretation.PCA.fit': (PCA.fit, {}),
    'interpretation.PCA.transform': (PCA.transform, {}),
    'interpretation.PCA.fit_transform': (PCA.fit_transform, {}),
    'interpretation.PCA.inverse_transform': (PCA.inverse_transform, {}),
    'steps.AdamW': (torch.optim.AdamW, {
        **{name + ' missing': 'there is one way to step, the fused one' for name in (
            'foreach', 'capturable', 'fused')},
        **{name + ' missing': UNUSED for name in ('amsgrad', 'maximize', 'differentiable')}}),
    'training.one_cycle': (Learner.fit_one_cycle, {
        'lr new': "for one group of weights, where fastai's `lr_max` may be a slice over several",
        'lr_max missing': 'see `lr`',
        'steps new': 'a list of values for each step is made, nothing is trained',
        'n_epoch missing': 'see `steps`',
        'pct_start: place 3, not 5': 'it is changed most often',
        'div: place 4, not 3': 'see `pct_start`',
        'div_final: place 5, not 4': 'see `pct_start`',
        'moms: place 6, not 7': 'see `wd`',
        'moms: default (0.95, 0.85, 0.95), not default None': "None means the Learner's, which are these",
        **{name + ' missing': 'it belongs to `fit`' for name in ('wd', 'cbs', 'reset_opt', 'start_epoch')}}),
    'data.random_split': (RandomSplitter, {
        'n new': 'indices are made at once, where fastai makes a function of the items',
        'valid_pct: place 2, not 1': 'see `n`', 'seed: place 3, not 2': 'see `n`',
        'seed: default 42, not default None': 'a split that changes with every run cannot be compared'}),
}


def lookup(path):
    "The object at `module.name` or `module.Class.method`."
    module, *names = path.split('.')
    found = importlib.import_module(f'lesson8.{module}')
    for name in names: found = getattr(found, name)
    return found


@pytest.mark.parametrize('path', TWINS)
def test_takes_the_arguments_of_its_original(path):
    theirs, listed = TWINS[path]
    found = set(differences(lookup(path), theirs))
    assert all(listed.values()), 'every difference has its reason'
    assert found - listed.keys() == set(), 'not listed: take the argument of the original, or give a reason'
    assert listed.keys() - found == set(), 'listed above, and no longer there'


def test_every_twin_is_compared():
    "Whatever calls itself a twin stands in the list."
    modules = [m.name for m in pkgutil.iter_modules(lesson8.__path__) if not m.name.startswith('_')]
    exported = [f'{m}.{name}' for m in modules
                for name in getattr(importlib.import_module(f'lesson8.{m}'), '__all__', ())]
    said = {path for path in exported if re.search(r'\bTwin of\b', inspect.getdoc(lookup(path)) or '')}
    listed = {'.'.join(path.split('.')[:2]) for path in TWINS}
    assert said and said <= listed


def test_differences_are_found():
    "The comparison notices a missing, a new and a moved argument, another default and another kind."
    def theirs(a, b, c=1, d=True, *, e=0): ...
    def ours(b, a, c=2, d=1, e=0, f=None): ...
    assert set(differences(ours, theirs)) == {
        'a: place 2, not 1', 'b: place 1, not 2', 'c: default 2, not default 1',
        'd: default 1, not default True', 'e: place 5, not None', 'f new'}
    assert set(differences(theirs, ours)) - set(differences(ours, theirs)) >= {'f missing'}
    assert set(differences(ours, ours)) == set()


def test_schemas_are_read():
    "Torch's own operators tell their arguments, as the manual writes them."
    a = arguments(torch.ops.aten.avg_pool2d.default)
    assert a['input'] == (1, NONE) and a['stride'] == (3, None) and a['count_include_pad'] == (6, True)
    assert arguments(torch.ops.aten.conv2d.default)['stride'] == (4, 1)


def test_defaults_that_fastai_takes_from_elsewhere():
    "None there stands for these."
    assert arguments(Learner)['moms'].default == arguments(training.one_cycle)['moms'].default
    ours, theirs = arguments(embeddings.DotProductBias), arguments(collab_learner)
    assert ours['n_factors'].default == theirs['n_factors'].default
