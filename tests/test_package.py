"The package as someone gets it who installs it: its metadata, what is in it, and what importing it loads."
import ast, email, functools, json, os, re, shutil, subprocess, sys, tarfile, textwrap, zipfile
from configparser import ConfigParser
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conftest import ROOT

# Modules that must work with torch and numpy alone, each with something to compute in that bare environment.
LIGHT = dict(
    parameters='''
        from lesson8.parameters import Linear
        out = Linear(3, 2)(torch.ones(4, 3)); out.sum().backward()
        assert out.shape == (4, 2)''',
    embeddings='''
        from lesson8.embeddings import DotProductBias
        torch.manual_seed(0)
        model = DotProductBias(4, 5, n_factors=3, y_range=(0, 5.5))
        out = model(torch.tensor([[0, 4], [3, 0]])); out.sum().backward()
        assert out.shape == (2,) and 0 < out.min() and out.max() < 5.5''',
    training='''
        from lesson8.embeddings import DotProductBias
        from lesson8.batches import Batches
        from lesson8.training import fit
        torch.manual_seed(0)
        x = torch.randint(0, 4, (256, 2)); y = 1 + .6*x.sum(1)
        train, valid = Batches(x, y, bs=16), Batches(x, y, bs=64, shuffle=False)
        history = fit(DotProductBias(4, 4, n_factors=2), train, valid, epochs=3, lr=.1)
        assert history['valid_loss'][-1] < .5 * history['valid_loss'][0], history''',
    convolutions='''
        from lesson8.convolutions import conv2d
        x, w = torch.randn(2, 3, 7, 7), torch.randn(4, 3, 3, 3, requires_grad=True)
        out = conv2d(x, w, stride=2, padding=1); out.sum().backward()
        theirs = torch.nn.functional.conv2d(x, w, stride=2, padding=1)
        assert torch.allclose(out, theirs, atol=1e-5) and w.grad.shape == w.shape''',
    pooling='''
        from lesson8.pooling import AdaptiveConcatPool2d, max_pool2d
        x = torch.arange(32.).view(1, 2, 4, 4)
        assert max_pool2d(x, 2).flatten()[:4].tolist() == [5., 7., 13., 15.]
        assert AdaptiveConcatPool2d(1)(x).shape == (1, 4, 1, 1)''',
    text='''
        from lesson8.text import NextWord, label_share, tokenize, windows
        assert tokenize("They went to sea, didn't they?") == ['they', 'went', 'to', 'sea', "didn't", 'they']
        x, y = windows(torch.tensor([1, 2, 3, 1, 2]), 2)
        torch.manual_seed(0)
        assert y.tolist() == [3, 1, 2] and NextWord(4, 3, 2, 5)(x).shape == (3, 4)
        assert label_share(torch.eye(2)[[0, 0, 1, 0, 1]], torch.tensor([0, 1, 2, 1, 2])) == 1.''',
    steps='''
        from lesson8.steps import AdamW
        p = torch.nn.Parameter(torch.ones(2)); p.grad = torch.ones(2)
        AdamW([p], lr=.1).step()
        assert (p < 1).all()''',
    speed='''
        from lesson8.embeddings import DotProductBias
        from lesson8.speed import dot_gradient
        model = DotProductBias(3, 3, n_factors=2)
        loss = dot_gradient(model)(torch.tensor([[0, 1], [2, 2]]), torch.tensor([4., 2.]))
        assert loss > 0 and all(p.grad.abs().sum() > 0 for p in model.parameters())''',
    history='''
        from lesson8.history import smooth
        assert smooth([2., 2.]) == [2., 2.]''',
    batches='''
        from lesson8.batches import Batches
        assert [len(y) for x, y in Batches(torch.zeros(5, 2), torch.zeros(5), bs=2)] == [2, 2, 1]''',
    lr_finder='''
        from lesson8.batches import Batches
        from lesson8.lr_finder import lr_find
        x = torch.randn(64, 2)
        found = lr_find(torch.nn.Linear(2, 1), Batches(x, x.sum(1, keepdim=True), bs=16), steps=20)
        assert len(found.lrs) == len(found.losses) <= 20 and 0 < found.suggestion < 10''',
    ranking='''
        from lesson8.ranking import EASE, ndcg, top_n
        X = (torch.rand(9, 6, generator=torch.Generator().manual_seed(0)) < .5).float()
        lists = top_n(EASE(1.).fit(X).score(X), torch.zeros(9, 6, dtype=torch.bool), 3)
        assert lists.shape == (9, 3) and ndcg(torch.ones(2, 3), torch.tensor([3, 4])).tolist() == [1., 1.]''',
    feedback='''
        from lesson8.feedback import gini, list_overlap
        assert gini(torch.tensor([0, 0, 0, 4])) == .75
        assert list_overlap(torch.tensor([[0, 1], [1, 2]]), 3) == .5''',
    checks='''
        from lesson8.checks import check_pair, check_whole
        assert check_whole('n', torch.tensor(3)) == 3 and check_pair('k', 2) == (2, 2)''',
    digits_net='''
        from lesson8.digits_net import conv_net, receptive_field
        net = conv_net()
        assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 10) and receptive_field(net).size >= 28''',
    objects='''
        from lesson8.objects import small_objects
        x, y = torch.zeros(100, 28, 28, dtype=torch.uint8), torch.arange(100) % 10
        frames, classes = small_objects(x, y, 5)
        assert frames.shape == (5, 1, 56, 56) and classes.shape == (5,)''',
    maps='''
        import numpy as np
        from lesson8.maps import procrustes, tour_test
        a = np.random.default_rng(0).normal(size=(5, 2))
        assert procrustes(a, 2*a + 1).fit > .999 and 0 < tour_test(a, 99).p <= 1''',
    dropout='''
        from lesson8.dropout import Dropout, dropout_mask, mc_predict
        x = torch.ones(200, requires_grad=True)
        out = Dropout(.5)(x); out.sum().backward()
        assert set(out.tolist()) == {0., 2.} and torch.equal(out, x.grad) and Dropout(.5).eval()(x) is x
        outs, y = mc_predict(Dropout(.5), [(x.detach()[None], torch.zeros(1))], n=4)
        assert outs.shape == (4, 1, 200) and set(dropout_mask((99,), .75).tolist()) == {0., 4.}''',
    activations='''
        from lesson8.activations import Mish, dead_units, grad_of, mish
        x = torch.randn(50, requires_grad=True)
        mish(x).sum().backward()
        assert torch.allclose(x.grad, grad_of(mish)(x)) and torch.allclose(Mish()(x), torch.nn.functional.mish(x), atol=1e-6)
        assert dead_units(torch.nn.Sequential(torch.nn.ReLU()), -torch.ones(3, 2))['0'].all()''')
HEAVY = {'fastai', 'fastcore', 'IPython', 'matplotlib', 'pandas', 'tqdm', 'sklearn', 'scipy', 'ipywidgets',
         'nbdev', 'pytest', 'pooch', 'PIL'}

settings = ConfigParser(delimiters=['='], interpolation=None)
settings.read(ROOT/'settings.ini', encoding='utf-8')
settings = settings['DEFAULT']


def modules(): return sorted(p.stem for p in (ROOT/'lesson8').glob('*.py') if not p.stem.startswith('_'))


def run(*args, cwd=None, **kwargs):
    res = subprocess.run([str(a) for a in args], cwd=cwd, capture_output=True, text=True, **kwargs)
    assert res.returncode == 0, f'{" ".join(map(str, args))}\n{res.stdout}{res.stderr}'
    return res.stdout


@pytest.fixture(scope='session')
def dists(tmp_path_factory):
    """The built sdist and wheel; built from a copy, as a build leaves files behind, and the wheel from the
    sdist, as an index would."""
    src, out = tmp_path_factory.mktemp('src'), tmp_path_factory.mktemp('dist')
    for name in run('git', 'ls-files', '-co', '--exclude-standard', cwd=ROOT).splitlines():
        if not (ROOT/name).is_file(): continue
        (src/name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT/name, src/name)
    run(sys.executable, '-m', 'build', '--no-isolation', '--outdir', out, src)
    sdist, wheel = next(out.glob('*.tar.gz')), next(out.glob('*.whl'))
    return sdist, wheel


def members(path):
    if path.suffix == '.whl':
        with zipfile.ZipFile(path) as z: return {n: z.read(n) for n in z.namelist()}
    with tarfile.open(path) as t:
        return {m.name.split('/', 1)[1]: t.extractfile(m).read() for m in t.getmembers() if m.isfile()}


def metadata(path):
    files = members(path)
    name = next(n for n in files if n.endswith('.dist-info/METADATA') or n == 'PKG-INFO')
    return email.message_from_bytes(files[name])


def wanted(key): return {str(Requirement(line)) for line in settings[key].splitlines() if line.strip()}


@pytest.mark.parametrize('kind', [0, 1], ids=['sdist', 'wheel'])
def test_metadata(dists, kind):
    meta = metadata(dists[kind])
    version = re.search(r'"(.+)"', (ROOT/'lesson8/__init__.py').read_text())[1]
    assert (meta['Name'], meta['Version'],
            meta['Requires-Python']) == ('lesson8', version, f'>={settings["min_python"]}')
    assert meta['Summary'] == settings['description'] and meta['License-Expression'] == settings['license']
    assert dists[kind].name.startswith(f'lesson8-{version}')
    extras = {k.removesuffix('_requirements') for k in settings if k.endswith('_requirements')}
    assert set(meta.get_all('Provides-Extra')) == extras and {'course', 'lab', 'dev', 'bench'} <= extras
    found = {extra: set() for extra in extras | {''}}
    for r in map(Requirement, meta.get_all('Requires-Dist')):
        extra = re.search(r'extra == "(\w+)"', str(r.marker))[1] if r.marker else ''
        r.marker = None
        found[extra].add(str(r))
    assert found.pop('') == wanted('requirements')
    assert found == {e: wanted(f'{e}_requirements') for e in extras}


def test_readme_has_full_addresses(dists):
    meta = metadata(dists[1])
    assert meta['Description-Content-Type'] == 'text/markdown'
    text = meta.get_payload(decode=True).decode()
    links = re.findall(r'\]\(([^)\s]+)', text)
    assert len(text) > 500 and links
    assert not [o for o in links if not re.match(r'https?://|#', o)]


def test_contents(dists):
    sdist, wheel = map(members, dists)
    source = {p.relative_to(ROOT).as_posix() for p in (ROOT/'lesson8').rglob('*') if p.is_file()
              and '__pycache__' not in p.parts}
    results = {f'lesson8/assets/results/{p.name}' for p in (ROOT/'bench'/'results').glob('*.json')}
    packaged = {n for n in wheel if '.dist-info/' not in n}
    assert packaged == source | results, (
        'modules and assets in the wheel are those in lesson8/, and the stored figures of bench/')
    assert source <= set(sdist)
    assert {'settings.ini', 'setup.py', 'pyproject.toml', 'README.md', 'LICENSE'} <= set(sdist)
    assert any(n.endswith('.dist-info/licenses/LICENSE') for n in wheel)
    assert dists[1].stat().st_size < 2e6


def closure(*names):
    "The installed distributions that `names` need here, themselves included."
    found, todo, seen = {}, [(n, '') for n in names], set()
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen: continue
        seen.add((name, extra))
        found[name] = distribution(name)
        for r in map(Requirement, found[name].requires or []):
            if r.marker is None or r.marker.evaluate({'extra': extra}):
                todo += [(canonicalize_name(r.name), e) for e in ['', *r.extras]]
    return found.values()


@pytest.fixture(scope='session')
def bare(dists, tmp_path_factory):
    """The Python of an environment that holds the wheel, torch and numpy and nothing else; torch is linked,
    not copied."""
    env = tmp_path_factory.mktemp('env')/'venv'
    run(sys.executable, '-m', 'venv', '--without-pip', env)
    python = env/('Scripts/python.exe' if sys.platform == 'win32' else 'bin/python')
    site = Path(run(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))').strip())
    for dist in closure('torch', 'numpy'):
        for top in {Path(f).parts[0] for f in dist.files} - {'..', '__pycache__'}:
            real = Path(dist.locate_file(top))
            if real.exists() and not (site/top).exists(): (site/top).symlink_to(real)
    # what `make lock` leaves in the checkout would count as installed
    alone = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    run(sys.executable, '-m', 'pip', '--python', python, 'install', '--no-deps', '--no-index',
        '--disable-pip-version-check', dists[1], cwd=env, env=alone)
    return python


def test_bare_environment_is_bare(bare):
    code = (f'import importlib.util as u; print([m for m in {sorted(HEAVY)} if u.find_spec(m)], '
            f'u.find_spec("lesson8").origin)')
    found, origin = run(bare, '-I', '-c', code).rsplit('] ', 1)
    assert found == '[' and Path(origin.strip()).is_relative_to(bare.parent.parent)


AFTER = '''
import contextlib, io, json, os, sys, traceback
def told(code):
    said, error = io.StringIO(), ''
    with contextlib.redirect_stdout(said):
        try: exec(code, globals())
        except BaseException: error = traceback.format_exc()
    return json.dumps([said.getvalue(), error])
codes, first = json.loads(sys.argv[1]), sys.argv[2]
exec(first)
for code in codes:
    pid = len(codes) > 1 and os.fork()
    if pid: os.waitpid(pid, 0)
    else:
        print(told(code), flush=True)
        if len(codes) > 1: os._exit(0)
'''


def each_after(first, codes, python=(sys.executable,), forks=hasattr(os, 'fork')):
    """(What each of `codes` prints, the error it ends in or ''), in a process of its own that has just run
    `first`. Where processes can fork, `first`, which may take seconds, runs once."""
    def lines(codes): return run(*python, '-c', AFTER, json.dumps(codes), first).splitlines()
    out = lines(codes) if forks else [line for code in codes for line in lines([code])]
    assert len(out) == len(codes), out
    return [tuple(json.loads(line)) for line in out]


def printed_after(first, codes):
    "The JSON that each of `codes` prints; none of them may fail."
    out = each_after(first, codes)
    assert not [error for _, error in out if error]
    return [json.loads(said) for said, _ in out]


@pytest.fixture(scope='session')
def computed(bare):
    "{module: the error of what LIGHT has it compute in the bare environment, or ''}."
    there = [m for m in LIGHT if m in modules()]
    codes = [textwrap.dedent(LIGHT[m] or 'raise NotImplementedError') for m in there]
    # macOS may end a forked process that uses its libraries for linear algebra
    out = each_after('import torch', codes, (bare, '-I'), forks=sys.platform == 'linux')
    return dict(zip(there, [error for _, error in out]))


@pytest.mark.parametrize('module', [m for m in LIGHT if m in modules()])
def test_light_module_computes_with_torch_alone(computed, module):
    assert LIGHT[module], f'say in LIGHT what lesson8.{module} is to compute in the bare environment'
    assert not computed[module], computed[module]


def test_what_fails_in_its_own_process_is_reported():
    for forks in {hasattr(os, 'fork'), False}:
        codes = ['print(x); x = 3; 1/0', 'assert x == 2, x']
        (said, error), (_, other) = each_after('x = 2', codes, forks=forks)
        assert said == '2\n' and 'ZeroDivisionError' in error and not other


NAMES = '''
import sys, json
print(json.dumps(sorted({m if m.startswith('lesson8.') else m.partition('.')[0] for m in sys.modules})))
'''


def loaded(code):
    "Names in sys.modules after `code`, here, where everything is installed: of packages, and of our modules."
    return set(json.loads(run(sys.executable, '-c', f'{code}\n{NAMES}')))


def test_import_lesson8_loads_nothing_heavy():
    assert not loaded('import lesson8') & (HEAVY | {'torch', 'numpy'})


@pytest.fixture(scope='session')
def loads():
    "{module: what is loaded after torch, numpy and it}; '' stands for no module."
    names = ['', *modules()]
    codes = [(f'import lesson8.{m}\n' if m else '') + NAMES for m in names]
    return dict(zip(names, map(set, printed_after('import torch, numpy', codes))))


def test_light_modules_load_nothing_beside_torch(loads):
    light = [m for m in LIGHT if m in modules()]
    extra = {m: loads[m] - loads[''] - set(sys.stdlib_module_names) for m in light}
    own = {m: {n for n in names if n.startswith('lesson8.')} for m, names in extra.items()}
    assert {m: names - own[m] for m, names in extra.items()} == {m: {'lesson8'} for m in light}
    assert 'lesson8.convolutions' in own['convolutions'] and 'lesson8.training' not in own['convolutions']


STATE = '''
import torch, numpy as np, random, warnings, os
def state():
    return (torch.get_num_threads(), torch.get_num_interop_threads(), torch.get_default_dtype(),
        torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled(), torch.get_rng_state().tolist(),
        np.random.get_state()[1].tolist(), random.getstate(), np.geterr(), warnings.filters[:], os.getcwd(),
        dict(os.environ))
'''


def test_imports_change_no_global_state(loads):
    """Seeds, threads, defaults, warnings and environment stay the caller's; what else a module imports comes
    first, as it is not ours to answer for."""
    first = ''.join(f'import {m}\n' for m in sorted(set().union(*loads.values()) & HEAVY)) + STATE
    # taken in the child: a fork seeds Python's random numbers anew
    same = [f'before = state()\nimport lesson8.{m}\n'
            'print(json.dumps([k for k, (a, b) in enumerate(zip(before, state())) if a != b]))'
            for m in modules()]
    assert dict(zip(modules(), printed_after(first, same))) == {m: [] for m in modules()}


@functools.cache
def carriers():
    "The distributions that each top-level name comes from; it takes seconds to find out."
    return packages_distributions()


def imports(text):
    "Top-level names that Python source imports: (as it is loaded, later inside a function)."
    tree = ast.parse(text)
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef))
              for n in ast.walk(f)}
    found = set(), set()
    for n in ast.walk(tree):
        names = [a.name for a in n.names] if isinstance(n, ast.Import) else []
        if isinstance(n, ast.ImportFrom) and not n.level: names = [n.module]
        found[id(n) in inside].update(name.partition('.')[0] for name in names)
    return found


def test_every_import_is_required():
    """A module may load only base requirements, and a function those of an extra; tests, tools and notebooks
    those of course, dev and bench."""
    # a peer in bench/, seldom installed where the tests run
    of = {'surprise': ['scikit-surprise'], **carriers()}
    def missing(names, *keys):
        known = {canonicalize_name(Requirement(line).name) for k in keys
                 for line in settings[k].splitlines() if line.strip()}
        return {n for n in names if n not in sys.stdlib_module_names and n not in own
                and not {canonicalize_name(d) for d in of.get(n, [n])} & known}
    base, rest = ['requirements'], [k for k in settings if k.endswith('_requirements')]
    own = {'lesson8'} | {p.stem for folder in ['tools', 'tests', 'bench'] for p in (ROOT/folder).glob('*.py')}
    found = {}
    for p in (ROOT/'lesson8').rglob('*.py'):
        loaded_at_once, later = imports(p.read_text())
        found[p.name] = missing(loaded_at_once, *base) | missing(later, *base, *rest)
    for folder in ['tools', 'tests', 'bench']:
        for p in (ROOT/folder).glob('*.py'):
            found[p.name] = missing(set.union(*imports(p.read_text())), *base, *rest)
    for p in (ROOT/'nbs').rglob('*.ipynb'):
        cells = [''.join(c['source']) for c in json.loads(p.read_text())['cells'] if c['cell_type'] == 'code']
        found[p.name] = missing(set().union(*(s for c in cells
                                              for s in imports(re.sub(r'^([ \t]*)[%!].*$', r'\1pass', c,
                                                                      flags=re.M)))), *base, *rest)
    assert not {k: v for k, v in found.items() if v}, 'say it in settings.ini, then make lock'


# What Google Colab has installed, of all that pip would look at; its kernel has loaded the first ones
# before a notebook's first cell.
COLAB = {'ipython': '7.34.0', 'ipywidgets': '7.7.1', 'ipykernel': '6.17.1', 'jupyter-client': '7.4.9',
         'notebook': '6.5.7', 'traitlets': '5.7.1',
         'matplotlib': '3.10.0', 'numpy': '2.0.2', 'pandas': '2.2.2', 'torch': '2.6.0',
         'scikit-learn': '1.6.1', 'tqdm': '4.67.1',
         'requests': '2.32.4', 'setuptools': '75.2.0', 'pip': '24.1.2', 'pooch': '1.8.2'}


def asked(*keys):
    return [Requirement(line) for key in keys for line in settings[key].splitlines() if line.strip()]


def test_colab_keeps_what_its_kernel_has_loaded():
    """[course] admits Colab's own versions, and does not name what belongs to the machine one runs
    notebooks on."""
    there = {canonicalize_name(r.name): r for r in asked('requirements', 'course_requirements')}
    known = [(r, COLAB[name]) for name, r in there.items() if name in COLAB]
    assert not [str(r) for r, version in known if not r.specifier.contains(version)]
    assert {'ipython', 'numpy', 'pandas', 'torch', 'matplotlib'} <= set(there)
    machine = {'ipywidgets', 'jupyterlab', 'notebook', 'jupyter', 'nbdev', 'ipykernel', 'jupyter-client'}
    assert not machine & set(there)
    assert {'jupyterlab', 'nbdev'} <= {r.name for r in asked('lab_requirements')}


def test_course_is_what_notebooks_import():
    used = set()
    for p in [*(ROOT/'nbs').rglob('*.ipynb')]:
        cells = [''.join(c['source']) for c in json.loads(p.read_text(encoding='utf-8'))['cells']
                 if c['cell_type'] == 'code']
        for c in cells: used.update(*imports(re.sub(r'^([ \t]*)[%!].*$', r'\1pass', c, flags=re.M)))
    for p in (ROOT/'lesson8').rglob('*.py'): used.update(*imports(p.read_text(encoding='utf-8')))
    names = {canonicalize_name(d) for n in used for d in carriers().get(n, [])}
    course = {canonicalize_name(r.name) for r in asked('course_requirements')}
    assert not course - names, 'no notebook imports it'


def test_installed_package_says_where_the_notebooks_are(bare, tmp_path):
    """`python -m lesson8` without a checkout: help, the address and the version to clone; a command fails
    with the same words."""
    version = re.search(r'"(.+)"', (ROOT/'lesson8/__init__.py').read_text())[1]
    said = run(bare, '-I', '-m', 'lesson8', cwd=tmp_path)
    res = subprocess.run([bare, '-I', '-m', 'lesson8', 'run', '02'], cwd=tmp_path, capture_output=True,
                         text=True)
    assert res.returncode == 1 and not list(tmp_path.iterdir())
    for text in (said, res.stderr):
        assert (f"git clone --branch v{version} "
                f"https://github.com/{settings['user']}/{settings['repo']}") in text
    assert 'run | test | lab' in said


def test_installed_set_is_consistent():
    run(sys.executable, '-m', 'pip', '--disable-pip-version-check', 'check')
