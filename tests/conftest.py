"Options, markers and helpers that the tests share."
import os, re, shutil, sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lanes import Lanes, Progress

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT/'tools'))

# The kernels and tools that tests start are this environment's, and one thread is the faster setting for
# small models.
os.environ['PATH'] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')])
os.environ.setdefault('OMP_NUM_THREADS', '1')

# Cases of each property: 200, always the same ones; the weekly run asks for 2000, new ones each time.
EXAMPLES = int(os.environ.get('LESSON8_EXAMPLES', 200))
many = settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=EXAMPLES <= 200,
                suppress_health_check=[HealthCheck.too_slow])


def pytest_addoption(parser):
    parser.addoption('--site', metavar='DIR', default=None,
                     help='folder of a rendered site to test, instead of one rendered for the tests')
    parser.addoption('--nb', metavar='NB', action='append', default=[],
                     help='only the notebooks whose names start with NB, e.g. 03, and the test files that '
                          'import their modules')


@pytest.hookimpl(trylast=True)
def pytest_configure(config):
    "Say while it runs what is tested, with one line a unit; -v and -q speak as pytest does."
    if hasattr(config, 'workerinput') or config.get_verbosity() or config.option.collectonly: return
    terminal = config.pluginmanager.get_plugin('terminalreporter')
    if not terminal: return
    config.pluginmanager.register(Progress(terminal), 'progress')
    terminal.showfspath = False


@pytest.hookimpl(wrapper=True)
def pytest_report_teststatus(report, config):
    "No dots where lines tell."
    said = yield
    return (said[0], '', '') if config.pluginmanager.has_plugin('progress') else said


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    progress = config.pluginmanager.get_plugin('progress')
    return Lanes(config, log, progress.plan if progress else lambda nodeids: None)


def chapter_modules(prefixes, nbs=ROOT/'nbs'):
    "The modules of the notebooks whose names start with one of `prefixes`: {'training', 'steps', ...}."
    found = {p.stem for p in nbs.glob('*.ipynb') if p.stem.startswith(tuple(prefixes))}
    if not found:
        there = ', '.join(sorted(p.stem for p in nbs.glob('*.ipynb')))
        raise pytest.UsageError(f"no notebook starts with {' or '.join(prefixes)}; there are: {there}")
    return {re.sub(r'^\d+[a-z]*_', '', stem) for stem in found}


def imports_one_of(path, modules):
    "Whether a test file imports one of these modules of lesson8 at its top, or is named after one."
    names = '|'.join(map(re.escape, modules))
    text = path.read_text(encoding='utf-8')
    return path.stem.removeprefix('test_') in modules or bool(re.search(
        rf'^from lesson8\.({names}) import|^import lesson8\.({names})\b|^from lesson8 import .*\b({names})\b',
        text, re.M))


def pytest_collection_modifyitems(config, items):
    prefixes = tuple(config.option.nb)
    if not prefixes: return
    modules, kept = chapter_modules(prefixes), {}
    def wanted(item):
        if item.path.name == 'test_notebooks.py':
            return '[' in item.name and item.name.partition('[')[2].startswith(prefixes)
        if item.path not in kept: kept[item.path] = imports_one_of(item.path, modules)
        return kept[item.path]
    config.hook.pytest_deselected(items=[i for i in items if not wanted(i)])
    items[:] = [i for i in items if wanted(i)]


def require(name, condition, how):
    """Skip the test with a line that says `how` to get what it needs; fail instead where LESSON8_REQUIRE
    lists `name`."""
    if condition: return condition
    said = f'needs {name}: {how}'
    if name in os.environ.get('LESSON8_REQUIRE', '').replace(' ', '').split(','):
        pytest.fail(f'{said} (LESSON8_REQUIRE asks for it)', pytrace=False)
    pytest.skip(said)


def chromium():
    "The Chromium that tests drive: one on the PATH, or the one that Playwright installed."
    found = next(filter(None, map(shutil.which, ['chromium', 'chromium-browser', 'google-chrome'])), None)
    if not found:
        from playwright.sync_api import sync_playwright
        with sync_playwright() as p: found = p.chromium.executable_path
    return require('browser', Path(found).exists() and found,
                   'apt-get install chromium, or .venv/bin/playwright install chromium')


def soffice():
    "LibreOffice's program, which converts and recalculates workbooks."
    found = next(filter(None,
                        map(shutil.which, ['soffice', 'libreoffice',
                                           '/Applications/LibreOffice.app/Contents/MacOS/soffice'])), None)
    return require('office', found, 'apt-get install libreoffice-calc, or see libreoffice.org')
