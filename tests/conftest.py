"Options, markers and helpers that the tests share."
import os, sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))

# The kernels and tools that tests start are this environment's, and one thread is the faster setting for small models.
os.environ['PATH'] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')])
os.environ.setdefault('OMP_NUM_THREADS', '1')


def pytest_addoption(parser):
    parser.addoption('--site', metavar='DIR', default=None, help='folder of a rendered site to test, instead of one rendered for the tests')


def require(name, condition, how):
    "Skip the test with a line that says `how` to get what it needs; fail instead where LESSON8_REQUIRE lists `name`."
    if condition: return condition
    said = f'needs {name}: {how}'
    if name in os.environ.get('LESSON8_REQUIRE', '').replace(' ', '').split(','): pytest.fail(f'{said} (LESSON8_REQUIRE asks for it)', pytrace=False)
    pytest.skip(said)
