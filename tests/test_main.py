"`python -m lesson8` and the set-up behind it: what make calls, and what works where there is no make."
import os, re, subprocess, sys
from pathlib import Path

import pytest
import setup_env

from conftest import ROOT
from lesson8 import __main__ as main


@pytest.fixture
def called(monkeypatch):
    "The commands that would run, in this Python and in the order in which they are called; each ends well."
    monkeypatch.setattr(setup_env, 'python', lambda: Path(sys.executable))
    for k in ('PATH', 'PYTHONPATH', 'PYTHONUTF8'): monkeypatch.setenv(k, os.environ.get(k, ''))
    commands = []
    monkeypatch.setattr(main, 'tool', lambda *args: commands.append([str(a) for a in args]) or 0)
    monkeypatch.setattr(main, 'cores', lambda: 2)
    monkeypatch.setattr(main.shutil, 'rmtree', lambda *args, **kwargs: None)
    return commands


def test_help_without_arguments():
    out = subprocess.run([sys.executable, '-m', 'lesson8'], cwd=ROOT, capture_output=True, text=True,
                         check=True).stdout
    assert 'run | test | lab' in out and 'python -m lesson8 test 03' in out and 'git clone' not in out


RENDER = 'tools/docs.py --nbs _run/nbs --out _docs'


@pytest.mark.parametrize('args, expected', [
    ('run', ['tools/fetch_data.py', 'tools/run.py', RENDER, 'tools/run.py --summary']),
    ('run 02 --flags gpu', ['tools/run.py --nb 02 --flags gpu', RENDER, 'tools/run.py --summary']),
    ('test', ['-m pytest -n 3']),
    ('test 01 02 -- -k x', ['-m pytest -n 3 --nb 01 --nb 02 -k x']),
    ('test -- tests/test_repo.py', ['-m pytest tests/test_repo.py']),
    ('test -- -n 0', ['-m pytest -n 0']),
    ('docs', ['tools/docs.py --nbs nbs --out _docs']),
])
def test_commands(called, args, expected):
    assert main.main(args.split()) == 0
    assert [' '.join(c) for c in called] == expected


def test_lab_opens_a_notebook(called):
    assert main.main(['lab', '02', '--', '--no-browser']) == 0
    command, = called
    assert command[:3] == ['-m', 'jupyter', 'lab'] and '--no-browser' in command
    assert Path(command[-1]).name == '02_embeddings.ipynb'
    with pytest.raises(SystemExit, match="no notebook starts with '77'"): main.main(['lab', '77'])


def test_refresh_stops_at_what_fails(called, monkeypatch):
    assert main.main(['refresh', '02']) == 0
    steps = ['tools/fetch_data.py', 'tools/fold.py', '-c', 'tools/run.py', 'tools/readme.py',
             'tools/lesson_map.py']
    assert [c[0] for c in called] == steps
    assert called[3] == ['tools/run.py', '--inplace', '--nb', '02']
    del called[:]
    monkeypatch.setattr(main, 'tool', lambda *args: called.append(args[0]) or int(args[0] == 'tools/run.py'))
    assert main.main(['refresh']) == 1 and called[-1] == 'tools/run.py'


def test_a_failure_is_the_exit_status(called, monkeypatch, capsys):
    monkeypatch.setattr(main, 'tool', lambda *args: 3 if args[0] == 'tools/docs.py' else 0)
    assert main.main(['run', '02']) == 1 and 'Something failed' in capsys.readouterr().err
    with pytest.raises(SystemExit): main.main(['docs', '--', 'x'])


def test_another_python_does_it_where_this_one_lacks_something(called, monkeypatch, tmp_path):
    "The rest of the command line goes to it as it is."
    monkeypatch.setattr(setup_env, 'python', lambda: tmp_path/'python')
    ran = []
    def run(command, cwd): return ran.append(command) or subprocess.CompletedProcess(command, 5)
    monkeypatch.setattr(main.subprocess, 'run', run)
    assert main.main(['test', '03', '--', '-x']) == 5 and not called
    assert ran == [[str(tmp_path/'python'), '-m', 'lesson8', 'test', '03', '--', '-x']]


@pytest.mark.skipif(os.name == 'nt', reason='there is no make on Windows')
@pytest.mark.parametrize('target, args', [
    ('run NB=03 FLAGS=gpu', 'run 03 --flags gpu'), ('test NB=03', 'test 03 --'), ('lab', 'lab  --'),
    ("test ARGS='-k fetch'", 'test  -- -k fetch'), ('docs', 'docs'), ('refresh NB=index', 'refresh index')])
def test_make_calls_it(target, args):
    out = subprocess.run(f'make -n {target}', shell=True, cwd=ROOT, capture_output=True, text=True,
                         check=True).stdout
    assert f'.venv/bin/python -m lesson8 {args}' in out, out


# ---- the set-up

def test_this_python_has_what_is_asked(): assert setup_env.lacking(setup_env.requirements()) == []


def test_what_is_lacking():
    lines = ['pytest>=1', 'pytest>=1000', 'no-such-package-here',
             "no-such-package-here; python_version < '3'", 'pytest[x]<1000']
    assert setup_env.lacking(lines) == lines[1:3]


def test_environment_that_was_moved_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(setup_env, 'VENV', tmp_path/'old')
    monkeypatch.setattr(setup_env, 'venv_python',
                        lambda: setup_env.VENV/('Scripts/python.exe' if os.name == 'nt' else 'bin/python'))
    assert not setup_env.usable()
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', tmp_path/'old'], check=True)
    assert setup_env.usable()
    (tmp_path/'old').rename(tmp_path/'new')
    monkeypatch.setattr(setup_env, 'VENV', tmp_path/'new')
    assert not setup_env.usable()


def test_state_follows_what_it_depends_on(tmp_path, monkeypatch):
    for f in ('requirements.lock', 'settings.ini', 'pyproject.toml', 'setup.py'):
        (tmp_path/f).parent.mkdir(exist_ok=True)
        (tmp_path/f).write_bytes((ROOT/f).read_bytes())
    monkeypatch.setattr(setup_env, 'ROOT', tmp_path)
    before = setup_env.state('course')
    assert setup_env.state('course') == before
    (tmp_path/'requirements.lock').write_text('x')
    assert setup_env.state('course') != before


def test_set_up_installs_once_and_says_what_failed(tmp_path, monkeypatch, capsys):
    "A stamp is written after an installation that went well, and only then is nothing done the next time."
    (tmp_path/'.venv').mkdir()
    monkeypatch.setattr(setup_env, 'VENV', tmp_path/'.venv')
    monkeypatch.setattr(setup_env, 'usable', lambda: True)
    monkeypatch.setattr(setup_env, 'set_merge_driver', lambda python: None)
    ran, bad = [], []
    def run(*command, **env):
        ran.append(command)
        if bad: raise subprocess.CalledProcessError(1, [str(c) for c in command])
    monkeypatch.setattr(setup_env, 'run', run)
    bad.append(1)
    with pytest.raises(subprocess.CalledProcessError) as e: setup_env.set_up()
    assert re.search('The set-up stopped at: .*--require-hashes', setup_env.stopped(e.value))
    assert not setup_env.ready('course')
    bad.clear(), ran.clear()
    setup_env.set_up()
    assert len(ran) == 2 and '--require-hashes' in ran[0] and '-e' in ran[1] and setup_env.ready('course')
    setup_env.set_up()
    assert len(ran) == 2
    setup_env.set_up('bench')
    assert len(ran) == 3 and setup_env.ready('bench')


def test_new_environment_says_what_it_costs(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(setup_env, 'VENV', tmp_path/'.venv')
    monkeypatch.setattr(setup_env, 'run', lambda *command, **env: None)
    monkeypatch.delenv('PYTHON', raising=False)
    setup_env.make()
    assert f'Setting up .venv: {setup_env.COST}, once.' in capsys.readouterr().out
    monkeypatch.setenv('PYTHON', 'no-such-python')
    with pytest.raises(SystemExit, match='no-such-python does not run'): setup_env.make()
