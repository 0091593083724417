"EntityEmbedder is an estimator like any other: scikit-learn's own questions, pickle, a search over settings."
import pickle, subprocess, sys

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from lesson8.entity_embeddings import EntityEmbedder

SMALL = dict(layers=(8,), epochs=2, bs=16)


@parametrize_with_checks([EntityEmbedder(**SMALL), EntityEmbedder([3, 2], schedule='one_cycle', **SMALL).set_params(widths=None)])
def test_scikit_learn_accepts_it(estimator, check): check(estimator)


def table(n=60, seed=0):
    draw = np.random.default_rng(seed)
    x = pd.DataFrame(dict(shop=draw.choice(list('abcd'), n), day=draw.integers(1, 8, n)))
    return x, x.shop.map(dict(a=1., b=2., c=3., d=4.)) + .1*x.day


def test_a_pickled_copy_says_the_same():
    x, y = table()
    made = EntityEmbedder([2, 2], **SMALL).fit(x, y)
    again = pickle.loads(pickle.dumps(made))
    assert np.array_equal(made.transform(x), again.transform(x)) and np.array_equal(made.predict(x), again.predict(x))
    assert clone(made).get_params() == made.get_params() and not hasattr(clone(made), 'net_')


def test_settings_can_be_searched():
    x, y = table()
    pipe = Pipeline([('lend', EntityEmbedder(**SMALL)), ('line', LinearRegression())])
    search = GridSearchCV(pipe, dict(lend__epochs=[1, 20]), cv=2).fit(x, y)
    assert search.best_params_ == dict(lend__epochs=20)


def test_the_module_loads_without_scikit_learn():
    code = "import sys, lesson8.entity_embeddings; print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.strip() == 'False'
