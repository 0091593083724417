"""The tests are spread as tests/lanes.py says, a line a unit tells of them, and the count at the end is
honest: tried on a small project."""
import re, shutil, subprocess, sys, textwrap, xml.etree.ElementTree as ET

import lanes
import pytest

from conftest import ROOT, chapter_modules, imports_one_of
from lanes import Progress, rank, told, unit_of

FILES = {
    'test_notebooks.py': '''
        import time, pytest
        @pytest.mark.parametrize('name', ['01_a', '02_b', '03_c'])
        def test_runs_and_reaches_its_figures(name, log):
            log(f'+{name}'); time.sleep(.5); log(f'-{name}')''',
    'test_fetch.py': '''
        import pytest
        @pytest.mark.parametrize('i', range(4))
        def test_wait(i, log): log('wait')''',
    'test_many.py': '''
        import os, pytest
        @pytest.fixture(scope='session')
        def once(log): log('made')
        @pytest.mark.parametrize('i', range(5))
        def test_many(i, once): assert i != 3 or not os.environ.get('FAIL')
        def test_crash():
            if os.environ.get('CRASH'): os._exit(1)''',
    'conftest.py': '''
        import os, pytest
        from lanes import Lanes, Progress
        from outer import pytest_configure, pytest_report_teststatus, pytest_xdist_make_scheduler
        @pytest.fixture(scope='session')
        def log():
            def say(text):
                worker = os.environ.get('PYTEST_XDIST_WORKER')
                with open(os.environ['LOG'], 'a') as f: f.write(f"{text} {worker}\\n")
            return say''',
}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A function that runs a small project's tests with this project's conftest: (exit status, output,
    what its tests noted, counts)."""
    (tmp_path/'pytest.ini').write_text('[pytest]\n')
    for name, text in FILES.items(): (tmp_path/name).write_text(textwrap.dedent(text))
    shutil.copy(ROOT/'tests/lanes.py', tmp_path)
    shutil.copy(ROOT/'tests/conftest.py', tmp_path/'outer.py')
    for k in ('PYTEST_XDIST_WORKER', 'PYTEST_ADDOPTS'): monkeypatch.delenv(k, raising=False)
    def run(*args, **env):
        for k, v in {'PYTEST_DISABLE_PLUGIN_AUTOLOAD': '1', 'LOG': str(tmp_path/'log'),
                     'PYTHONPATH': str(tmp_path), **env}.items():
            monkeypatch.setenv(k, v)
        command = [sys.executable, '-m', 'pytest', '-p', 'xdist', '-p', 'no:cacheprovider',
                   '--junitxml=report.xml', *args]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        suite = next(ET.parse(tmp_path/'report.xml').getroot().iter('testsuite'))
        counts = {k: int(suite.get(k)) for k in ('tests', 'failures', 'errors')}
        return done.returncode, done.stdout, (tmp_path/'log').read_text().splitlines(), counts
    return run


def test_three_processes(small):
    status, out, log, counts = small('-n', '3')
    assert status == 0 and counts == {'tests': 13, 'failures': 0, 'errors': 0}, out
    assert '13 passed' in out.splitlines()[-1]
    lines = re.findall(r'\[(\d)/5\] (\S+) +\d+\.\d s   ok', out)
    assert [n for n, _ in lines] == list('12345')
    assert {name for _, name in lines} == {'01_a', '02_b', '03_c', 'test_fetch.py', 'test_many.py'}
    workers = [line.split() for line in log]
    assert sum(said == 'made' for said, _ in workers) == 1, 'fixtures are made once'
    notebooks = {w for said, w in workers if said[0] in '+-'}
    waiting = {w for said, w in workers if said == 'wait'}
    assert len(notebooks) == 2 and not waiting & notebooks, 'two take notebooks, the third what waits'
    running = most = 0
    for said, _ in workers:
        running += {'+': 1, '-': -1}.get(said[0], 0)
        most = max(most, running)
    assert most == 2


def test_failure_counts_in_one_process(small):
    status, out, _, counts = small('-n', '0', FAIL='1')
    assert status == 1 and counts == {'tests': 13, 'failures': 1, 'errors': 0}, out
    assert 'FAILED test_many.py::test_many[3]' in out
    assert re.search(r'test_many.py +\d+\.\d s   1 failed', out)
    assert '1 failed, 12 passed' in out.splitlines()[-1]


def test_broken_process_is_one_failure(small):
    """The test that ended its process counts once, beside one that failed; the others run all the same,
    none twice."""
    status, out, log, counts = small('-n', '3', CRASH='1', FAIL='1')
    assert status == 1 and counts['tests'] == 13 and counts['failures'] + counts['errors'] == 2, out
    assert sum('+' in line for line in log) == 3 and sum('wait' in line for line in log) == 4


@pytest.mark.parametrize('args, n', [(['test_fetch.py'], 4), (['-k', 'many or 01_a'], 7)],
                         ids=['waiting', 'working'])
def test_a_lane_without_work_ends(small, args, n):
    status, out, _, counts = small('-n', '3', *args)
    assert status == 0 and counts['tests'] == n, out


def test_silence_is_broken(monkeypatch):
    "Where no unit ends for a while, a line says what is running and how far it is."
    class Terminal:
        said = ''
        def ensure_newline(self): pass
        def write(self, text, flush): self.said += text
    class Report:
        failed, when = False, 'teardown'
        def __init__(self, nodeid): self.nodeid = nodeid
    now, terminal = [1000.], Terminal()
    monkeypatch.setattr(lanes.time, 'time', lambda: now[0])
    progress, tests = Progress(terminal), [f'tests/test_long.py::test_{i}' for i in range(3)]
    progress.plan(tests)
    for t in tests:
        progress.pytest_runtest_logstart(t)
        now[0] += 20
        progress.pytest_runtest_logreport(Report(t))
    assert terminal.said == ('  0:40  [0/1]    now: test_long.py (2 of 3)\n'
                             '  1:00  [1/1] test_long.py            60.0 s   ok\n')


def test_units():
    notebook = 'tests/test_notebooks.py::test_runs_and_reaches_its_figures[02_embeddings]'
    other = 'tests/test_notebooks.py::test_other[02_x]'
    assert unit_of(notebook) == notebook and unit_of(other) == 'tests/test_notebooks.py'
    assert unit_of('tests/test_fetch.py::test_a[x::y]') == 'tests/test_fetch.py::test_a[x::y]'
    assert told(notebook) == '02_embeddings' and told(other) == 'test_notebooks.py'
    assert told('tests/test_fetch.py::test_a') == 'test_fetch.py'
    site, repo = 'tests/test_site.py', 'tests/test_repo.py'
    assert sorted([repo, notebook, site], key=rank) == [site, notebook, repo]


def test_a_chapter_and_its_tests(tmp_path):
    for name in ('03_training', '03b_steps', '04_interpretation', 'index'): (tmp_path/f'{name}.ipynb').touch()
    assert chapter_modules(['03'], tmp_path) == {'training', 'steps'}
    assert chapter_modules(['03_', 'index'], tmp_path) == {'training', 'index'}
    with pytest.raises(pytest.UsageError, match="no notebook starts with 09; there are: 03_training"):
        chapter_modules(['09'], tmp_path)
    for text, found in [('from lesson8.steps import AdamW', True),
                        ('from lesson8 import data, steps as S', True), ('import lesson8.steps', True),
                        ('    from lesson8.steps import AdamW', False),
                        ('from lesson8.steps_more import x', False), ('"lesson8.steps"', False)]:
        (tmp_path/'test_x.py').write_text(f'import os\n{text}\n')
        assert imports_one_of(tmp_path/'test_x.py', {'training', 'steps'}) == found, text
    (tmp_path/'test_training.py').write_text('')
    assert imports_one_of(tmp_path/'test_training.py', {'training'})
