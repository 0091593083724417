"""The CI workflows: valid, pinned, with the least rights, and none that lets a stranger's code near the GPU
machine."""
import json, re, shutil, subprocess, sys
from pathlib import Path

import pytest
import yaml

from conftest import ROOT

FOLDER = ROOT/'.github/workflows'
WORKFLOWS = sorted(FOLDER.glob('*.yml'))
ACTIONS = {  # every action in use: the commit that its tag named when it was read
    'actions/checkout': ('v7.0.1', '3d3c42e5aac5ba805825da76410c181273ba90b1'),
    'actions/cache': ('v5.0.5', '27d5ce7f107fe9357f9df03efb73ab90386fccae'),
    'actions/setup-python': ('v7.0.0', '5fda3b95a4ea91299a34e894583c3862153e4b97'),
    'actions/upload-artifact': ('v7.0.0', 'bbbca2ddaa5d8feaa63e36b76fdaad77386f024f'),
    'actions/download-artifact': ('v8.0.1', '3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c'),
    'actions/upload-pages-artifact': ('v5.0.0', 'fc324d3547104276b827a68afc52ff2a11cc49c9'),
    'actions/deploy-pages': ('v5.0.0', 'cd2ce8fcbc39b97be8ca5fce6e763baed58fa128'),
    'quarto-dev/quarto-actions/setup': ('v2.2.0', '8a96df13519ee81fd526f2dfca5962811136661b'),
    'astral-sh/setup-uv': ('v10.0.1', '20cfd1bf945f4377ade1205e4dbc17946fc9a30d'),
    'pypa/gh-action-pypi-publish': ('v1.14.2', 'dc37677b2e1c63e2034f94d8a5b11f265b73ba33'),
}
HERE = "github.repository == 'lesson8-course/lesson8'"
each = pytest.mark.parametrize('path', WORKFLOWS, ids=lambda p: p.stem)


def load(path):
    d = yaml.safe_load(path.read_text())
    d['on'] = d.pop(True)  # YAML 1.1 reads the key `on` as a truth value
    return d


def steps(d): return [s for job in d['jobs'].values() for s in job.get('steps', [])]


def test_all_are_there(): assert [p.stem for p in WORKFLOWS] == ['docs', 'gpu', 'release', 'test', 'weekly']


def test_schemas():
    "All in one call: starting the checker takes longer than checking."
    res = subprocess.run([sys.executable, '-m', 'check_jsonschema', '--builtin-schema',
                          'vendor.github-workflows', *WORKFLOWS], capture_output=True, text=True)
    assert res.returncode == 0, res.stdout


def audit(path):
    "What zizmor finds in a workflow, without asking the network."
    program = shutil.which('zizmor', path=str(Path(sys.executable).parent))
    res = subprocess.run([program, '--offline', '--no-progress', '--format', 'json', path],
                         capture_output=True, text=True)
    return [(f['ident'], f['determinations']['severity']) for f in json.loads(res.stdout)]


@each
def test_audit_finds_nothing(path): assert audit(path) == []


def test_audit_finds_what_is_wrong(tmp_path):
    bad = tmp_path/'.github/workflows/bad.yml'
    bad.parent.mkdir(parents=True)
    bad.write_text(re.sub(r'@[0-9a-f]{40}', '@v7',
                          (FOLDER/'test.yml').read_text()).replace('persist-credentials: false',
                                                                   'fetch-depth: 1'))
    assert {'artipacked', 'unpinned-uses'} <= {name for name, _ in audit(bad)}


@each
def test_actions_are_pinned(path):
    used = re.findall(r'uses:\s*(\S+?)@(\S+)(?:\s+#\s*(\S+))?', path.read_text())
    assert len(used) == sum('uses' in s for s in steps(load(path))) > 0
    assert not [u for u in used if ACTIONS.get(u[0]) != (u[2], u[1])]


@each
def test_least_rights(path):
    d = load(path)
    assert d['permissions'] == {}, 'nothing by default; each job asks for what it needs'
    allowed = {'docs.deploy': {'pages': 'write', 'id-token': 'write'},
               'release.publish': {'id-token': 'write'}}
    for name, job in d['jobs'].items():
        assert job['permissions'] == allowed.get(f'{path.stem}.{name}', {'contents': 'read'}), name
    for s in steps(d):
        if s.get('uses', '').startswith('actions/checkout@'): assert s['with']['persist-credentials'] is False
    assert 'pull_request_target' not in d['on'] and 'workflow_run' not in d['on']
    assert 'secrets.' not in path.read_text()
    assert all(job['timeout-minutes'] <= 60 for job in d['jobs'].values())


@each
def test_own_machine_only_for_trusted_code(path):
    d = load(path)
    own = [job for job in d['jobs'].values() if 'self-hosted' in job['runs-on']]
    assert bool(own) == (path.stem == 'gpu')
    if own:
        assert d['on'] == {'push': {'branches': ['main']}, 'workflow_dispatch': None}
        for job in own: assert job['runs-on'] == ['self-hosted', 'gpu'] and job['if'] == HERE
        assert any('FLAGS=gpu' in s.get('run', '') for s in steps(d))


def test_test_covers_the_range():
    d = load(FOLDER/'test.yml')
    jobs = d['jobs']
    assert jobs['locked']['strategy']['matrix']['python'] == ['3.11', '3.12', '3.13']
    assert 'pull_request' in d['on']
    for name in ('locked', 'lowest'): assert jobs[name]['env']['LESSON8_REQUIRE'] == 'browser,office'
    assert any('lowest-direct' in s.get('run', '') for s in jobs['lowest']['steps'])


def test_macos_and_windows_run_two_chapters_without_make():
    job = load(FOLDER/'test.yml')['jobs']['elsewhere']
    assert {name.partition('-')[0] for name in job['strategy']['matrix']['os']} == {'macos', 'windows'}
    assert job['runs-on'] == '${{ matrix.os }}'
    runs = [s['run'] for s in job['steps'] if 'run' in s]
    assert runs[0] == 'python -m lesson8 test 01 02' and not any('make' in r or '.venv/' in r for r in runs)
    named = re.findall(r'tests/\w+\.py', ' '.join(runs))
    assert len(named) > 2 and not [n for n in named if not (ROOT/n).is_file()]


@each
def test_data_is_kept_between_test_jobs_only(path):
    "A cache is written by whoever may start a workflow, so nothing that is published has seen one."
    d = load(path)
    cached = {name for name, job in d['jobs'].items()
              if any(s.get('uses', '').startswith('actions/cache@') for s in job['steps'])}
    assert cached == (set(d['jobs']) if path.stem == 'test' else set())


def test_dependabot_sees_actions_and_packages():
    path = ROOT/'.github/dependabot.yml'
    check = [sys.executable, '-m', 'check_jsonschema', '--builtin-schema', 'vendor.dependabot', path]
    assert subprocess.run(check, capture_output=True).returncode == 0 and audit(path) == []
    asked = {u['package-ecosystem']: u for u in yaml.safe_load(path.read_text())['updates']}
    assert set(asked) == {'github-actions', 'pip'}
    assert all(u['schedule']['interval'] == 'weekly' for u in asked.values())
    folder = ROOT/asked['pip']['directory'].strip('/')
    assert (folder/'course.txt').is_file() and not (folder/'setup.py').exists(), (
        'it reads .txt files, and fails on a setup.py that reads others')


def test_docs_publishes_only_what_was_tested_on_main():
    d = load(FOLDER/'docs.yml')
    runs = ' '.join(s.get('run', '') + s.get('uses', '') for s in d['jobs']['build']['steps'])
    assert 'quarto-actions/setup' in runs and 'tests/test_site.py --site _docs' in runs
    assert d['jobs']['deploy']['needs'] == 'build'
    assert "github.event_name != 'pull_request'" in d['jobs']['deploy']['if']


def test_release_publishes_only_what_was_tested():
    d = load(FOLDER/'release.yml')
    assert d['on'] == {'push': {'tags': ['v*']}}
    assert d['jobs']['build']['needs'] == 'test' and d['jobs']['publish']['needs'] == 'build'
    assert d['jobs']['publish']['environment'] == 'release'
    runs = [s['run'] for s in d['jobs']['build']['steps'] if 'run' in s]
    assert runs == ['uv build'], 'nothing is installed beside what is built'
    assert not any('run' in s for s in d['jobs']['publish']['steps']), (
        'the job that may publish runs nothing of its own')
