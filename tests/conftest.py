"Options, markers and helpers that the tests share."
import os, shutil, sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))

# The kernels and tools that tests start are this environment's, and one thread is the faster setting for small models.
os.environ['PATH'] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')])
os.environ.setdefault('OMP_NUM_THREADS', '1')

# Cases of each property: 200, always the same ones; the weekly run asks for 2000, new ones each time.
EXAMPLES = int(os.environ.get('LESSON8_EXAMPLES', 200))
many = settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES <= 200, suppress_health_check=[HealthCheck.too_slow])


def pytest_addoption(parser):
    parser.addoption('--site', metavar='DIR', default=None, help='folder of a rendered site to test, instead of one rendered for the tests')


def require(name, condition, how):
    "Skip the test with a line that says `how` to get what it needs; fail instead where LESSON8_REQUIRE lists `name`."
    if condition: return condition
    said = f'needs {name}: {how}'
    if name in os.environ.get('LESSON8_REQUIRE', '').replace(' ', '').split(','): pytest.fail(f'{said} (LESSON8_REQUIRE asks for it)', pytrace=False)
    pytest.skip(said)


def chromium():
    "The Chromium that tests drive: one on the PATH, or the one that Playwright installed."
    found = next(filter(None, map(shutil.which, ['chromium', 'chromium-browser', 'google-chrome'])), None)
    if not found:
        from playwright.sync_api import sync_playwright
        with sync_playwright() as p: found = p.chromium.executable_path
    return require('browser', Path(found).exists() and found, 'apt-get install chromium, or .venv/bin/playwright install chromium')


def soffice():
    "LibreOffice's program, which converts and recalculates workbooks."
    found = next(filter(None, map(shutil.which, ['soffice', 'libreoffice', '/Applications/LibreOffice.app/Contents/MacOS/soffice'])), None)
    return require('office', found, 'apt-get install libreoffice-calc, or see libreoffice.org')
