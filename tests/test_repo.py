"""The project keeps its own rules: the library is the notebooks' export, settings agree, nothing large,
secret or local is tracked."""
import json, re, shutil, subprocess, sys, tomllib
from configparser import ConfigParser
from pathlib import Path

import install_cell
import pytest
import readme
import setup_env
import yaml

from conftest import ROOT, require
from lesson8 import __main__ as main

settings = ConfigParser(delimiters=['='], interpolation=None)
settings.read(ROOT/'settings.ini', encoding='utf-8')
settings = settings['DEFAULT']
project = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']
NOTEBOOKS = sorted(p for p in (ROOT/'nbs').rglob('*.ipynb') if '.ipynb_checkpoints' not in p.parts)


def files():
    "What is tracked, or would be after `git add .`."
    names = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT, capture_output=True,
                           text=True, check=True).stdout.splitlines()
    return [ROOT/n for n in names if (ROOT/n).is_file()]


@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "A copy of the project for tools that write in place."
    to = tmp_path_factory.mktemp('copy')
    for f in files():
        (to/f.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(f, to/f.relative_to(ROOT))
    return to


def nbdev(command, cwd):
    subprocess.run([Path(sys.executable).parent/command], cwd=cwd, check=True, capture_output=True)


BY_HAND = '__init__.py', '__main__.py'  # of lesson8/: what nbdev-export neither writes nor removes


def test_export_in_step(copy):
    for p in (copy/'lesson8').rglob('*.py'):
        if p.name not in BY_HAND: p.unlink()
    nbdev('nbdev-export', copy)
    made = {p.relative_to(copy): p.read_text() for p in (copy/'lesson8').rglob('*.py')}
    kept = {p.relative_to(ROOT): p.read_text() for p in (ROOT/'lesson8').rglob('*.py')}
    assert set(made) == set(kept), 'a module without a notebook, or a notebook not exported: run nbdev-export'
    assert not [str(p) for p in made if made[p] != kept[p]], (
        'lesson8/ is not what the notebooks export: run nbdev-export')


def test_notebooks_clean(copy):
    nbdev('nbdev-clean', copy)
    assert not [p.name for p in NOTEBOOKS if p.read_text() != (copy/p.relative_to(ROOT)).read_text()], (
        'run nbdev-clean')


def test_readme_in_step():
    text, pictures = readme.render()
    assert (ROOT/'README.md').read_text(encoding='utf-8') == text, 'run `make refresh NB=index`'
    assert {p.relative_to(ROOT).as_posix(): p.read_bytes()
            for p in (ROOT/readme.PICTURES).glob('*')} == pictures
    assert pictures, 'the readme shows a chart that the code drew'
    assert all(alt for alt in re.findall(r'!\[(.*?)\]\(README_files', text)), (
        'every picture has an alt text (#| fig-alt)')
    assert 'make run' in text and 'make test' in text


def test_readme_links():
    "Links of a page in nbs/ are turned for the top folder; one that leads nowhere is refused."
    assert readme.relink('[a](index.ipynb#x) [b](../LICENSE) [c](https://a.org/b) [d](#e)') == \
        '[a](nbs/index.ipynb#x) [b](LICENSE) [c](https://a.org/b) [d](#e)'
    assert readme.relink(
        '[a](search.html)') == f"[a]({settings['doc_host']}{settings['doc_baseurl']}/search.html)"
    with pytest.raises(ValueError, match='no_such.ipynb'): readme.relink('[a](no_such.ipynb)')


def test_settings_agree():
    home = f"https://github.com/{settings['user']}/{settings['repo']}"
    assert project['urls']['Repository'] == home
    assert project['urls']['Documentation'] == settings['doc_host'] + settings['doc_baseurl']
    assert project['urls']['Changelog'] == f"{home}/blob/{settings['branch']}/CHANGELOG.md"
    assert project['name'] == settings['lib_name'] and project['description'] == settings['description']
    assert project['keywords'] == settings['keywords'].split() and project['license'] == settings['license']
    assert project['requires-python'] == f">={settings['min_python']}"
    assert project['authors'] == [{'name': settings['author']}]
    assert main.HOME == home and main.SITE == project['urls']['Documentation']
    oldest = min(re.findall(r':: (3\.\d+)', '\n'.join(project['classifiers'])), key=lambda v: int(v[2:]))
    assert oldest == settings['min_python']


def test_set_up_costs_what_the_readme_says():
    "The words stand in tools/setup_env.py, which says them when it begins."
    assert setup_env.COST in ' '.join((ROOT/'README.md').read_text(encoding='utf-8').split())
    others = [f.name for f in files() if f.suffix in ('.md', '.sh', '.ipynb', '.yml')
              and re.search(r'\d+(\.\d+)? GB', f.read_text(encoding='utf-8'))
              and setup_env.COST not in f.read_text(encoding='utf-8') and f.name != 'CONTRIBUTING.md']
    assert not others, 'say it nowhere else, or with the same words'


def version(): return re.search(r'"(.+)"', (ROOT/'lesson8/__init__.py').read_text())[1]


@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_colab_installs_this_version(path):
    "The first code cell, at the tag of this version, in Colab and nowhere else."
    code = [''.join(c['source']) for c in json.loads(path.read_text(encoding='utf-8'))['cells']
            if c['cell_type'] == 'code']
    assert code[0] == install_cell.install_source(), 'run python tools/install_cell.py'
    assert sum('pip install' in c for c in code if 'colab' in c) == 1
    assert f"@v{version()}\"" in code[0] and '#| hide' in code[0] and 'lesson8[course]' in code[0]


def test_install_cell_is_set_once_and_follows_the_version(copy, tmp_path):
    def cell(kind, source):
        return dict(cell_type=kind, id=source[:3], metadata={}, source=source.splitlines(keepends=True))
    old = cell('code', "#| hide\nimport sys\nif 'google.colab' in sys.modules:\n    %pip install lesson8")
    old['metadata'] = {'jupyter': {'source_hidden': True}}
    title, first = cell('markdown', '# Title'), cell('code', 'one = 1')
    for before, after in [([title, old, first], [title, old, first]), ([title, first], [title, None, first]),
                          ([title, first, old], [title, old, first]),
                          ([title], [title, None])]:
        path = tmp_path/'a.ipynb'
        path.write_text(json.dumps(dict(cells=before, metadata={}, nbformat=4, nbformat_minor=5)))
        install_cell.main(tmp_path)
        once = path.read_text()
        found = json.loads(once)['cells']
        source = install_cell.install_source()
        said = [source if c in (old, None) else ''.join(c['source']) for c in after]
        assert [''.join(c['source']) for c in found] == said
        kept = [(c or {}).get('metadata', {}) for c in after]
        assert [c['metadata'] for c in found] == kept, 'a fold stays'
        install_cell.main(tmp_path)
        assert path.read_text() == once
    nbdev('nbdev-bump-version', copy)
    try:
        bumped = re.search(r'"(.+)"', (copy/'lesson8/__init__.py').read_text())[1]
        assert bumped != version() and f'@v{bumped}"' in install_cell.install_source(copy)
    finally: shutil.copy(ROOT/'lesson8/__init__.py', copy/'lesson8/__init__.py')
    assert 'tools/install_cell.py' in (ROOT/'Makefile').read_text(), 'make bump sets it'


def test_nbdev_reads_the_same():
    from nbdev.config import get_config
    cfg = get_config(ROOT)
    for key in ['user', 'repo', 'branch', 'lib_name', 'min_python', 'doc_host', 'doc_baseurl']:
        assert cfg[key] == settings[key], key


def test_lock_holds_every_requirement():
    """Each name of settings.ini is locked in a version its range allows, with hashes, and the lock names no
    index."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    for lock, keys in [('requirements.lock', setup_env.KEYS),
                       ('requirements-bench.lock', ['bench_requirements'])]:
        text = (ROOT/lock).read_text()
        assert '://' not in text
        pins = {}
        for name, version in re.findall(r'^([\w.-]+)(?:\[[^]]*\])?==(\S+)', text, re.M):
            pins.setdefault(canonicalize_name(name), []).append(version)
        bare = re.findall(r'^([\w.-]+)==.*\n(?! +--hash=sha256:[0-9a-f]{64})', text, re.M)
        assert pins and not bare, f'{lock}: no hash for {bare}'
        for r in (Requirement(line) for key in keys for line in settings[key].splitlines() if line.strip()):
            assert canonicalize_name(r.name) in pins, f'{r.name} is not in {lock}: run `make lock`'
            for v in pins[canonicalize_name(r.name)]:
                assert r.specifier.contains(v), (
                    f'{r.name} {v} in {lock} is outside {r.specifier}: run `make lock`')


def test_dependabot_sees_the_locks():
    "It reads .txt files only, so the locks have links under such names in the folder it is told of."
    for name, lock in {'course.txt': 'requirements.lock', 'bench.txt': 'requirements-bench.lock'}.items():
        assert (ROOT/'requirements'/name).read_bytes() == (ROOT/lock).read_bytes()
    updates = yaml.safe_load((ROOT/'.github/dependabot.yml').read_text())['updates']
    assert [u['directory'] for u in updates if u['package-ecosystem'] == 'pip'] == ['/requirements']


# Written in pieces, so that this file does not name what it forbids.
FORBIDDEN = {
    'a path of one machine': r'(?<![\w./~-])/(?:work|root|home|Users)/[\w.]' + r'|(?<![\w.])/' + r'tmp/[\w.]',
    'a package registry': '|'.join(re.escape(a + b)
                                   for a, b in [('pypi', '.org'), ('files.python', 'hosted.org'),
                                                ('registry.npm', 'js.org'),
                                                              ('registry.yarn', 'pkg.com'), ('npm', 'js.com'),
                                                              ('download.py', 'torch.org')]),
    'a secret': r'-----BEGIN [A-Z ]*PRIVATE '
    + r'KEY|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22}|AKIA[0-9A-Z]{16}|pypi-AgEI\w{20}',
}


def test_no_local_path_registry_or_secret():
    found = []
    for f in files():
        try: text = f.read_text(encoding='utf-8')
        except UnicodeDecodeError: continue
        found += [f'{f.relative_to(ROOT)}: {what}: {m[0]!r}' for what, pattern in FORBIDDEN.items()
                  for m in [re.search(pattern, text)] if m]
    assert not found


@pytest.mark.parametrize('text', ['see /' + 'work/main/x', '"/ro' + 'ot/.cache"',
                                  "https://" + "pypi" + ".org/simple", 'ghp_' + 'a1B2' * 9])
def test_forbidden_is_found(text): assert any(re.search(p, text) for p in FORBIDDEN.values())


def test_no_large_file():
    assert not [(f.name, f.stat().st_size) for f in files() if f.stat().st_size >= 1_000_000]


RAW = re.compile(r'\.(?:data|item|user|base|ubyte|gz|zip|tgz|tar|parquet|feather|npz|npy|pt|pth|pkl|sqlite)$'
                 r'|^(?:ratings?|train|test|store|store_states|flights)\.csv$|-ubyte$')


def test_no_data_set_is_tracked():
    assert not [str(f.relative_to(ROOT)) for f in files() if RAW.search(f.name)]


def test_bench_results_have_the_common_form():
    "As the pages and tests read them: what ran where and when, and rows with a spread."
    paths = sorted((ROOT/'bench/results').glob('*.json'))
    assert paths
    for path in paths:
        d = json.loads(path.read_text())
        assert {'machine', 'versions', 'date', 'command', 'results'} <= set(d) and d['results'], path.name
        assert re.fullmatch(r'\d{4}-\d\d-\d\d', d['date']) and d['versions'].get('python'), path.name
        for row in d['results']:
            assert {'id', 'value', 'sd', 'n', 'unit'} <= set(row), (path.name, row)
            assert isinstance(row['value'], (int, float)) and row['n'] >= 1, (path.name, row)
        ids = [row['id'] for row in d['results']]
        assert len(ids) == len(set(ids)), path.name


def test_citation_is_valid():
    check = [sys.executable, '-m', 'check_jsonschema', '--builtin-schema', 'vendor.citation-file-format',
             ROOT/'CITATION.cff']
    subprocess.run(check, check=True, capture_output=True)
    assert f"https://github.com/{settings['user']}/{settings['repo']}" in (ROOT/'CITATION.cff').read_text()


def test_changelog_names_the_version():
    found = re.search(rf'^## {re.escape(version())}\b', (ROOT/'CHANGELOG.md').read_text(), re.M)
    assert found, f'say in CHANGELOG.md what {version()} brings'


def test_missing_program_skips_or_fails(monkeypatch):
    """A test that needs a program that is not here skips and says how to get it; where LESSON8_REQUIRE names
    it, it fails."""
    monkeypatch.setenv('LESSON8_REQUIRE', 'browser')
    assert require('office', '/bin/x', 'how') == '/bin/x'
    with pytest.raises(pytest.skip.Exception, match='needs office: get it so'):
        require('office', None, 'get it so')
    monkeypatch.setenv('LESSON8_REQUIRE', 'browser, office')
    with pytest.raises(pytest.fail.Exception, match='needs office: get it so'):
        require('office', None, 'get it so')
