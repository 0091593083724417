"Every notebook runs from top to bottom, and what it says it reached is what it reaches now."
import json, math, re, shutil

import nbformat
import pytest
from run import clean, notebooks, overprint, read_headlines, run_notebook

from conftest import ROOT

NOTEBOOKS = notebooks()


@pytest.mark.notebook
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_runs_and_reaches_its_figures(path, tmp_path):
    before = path.read_bytes()
    res = run_notebook(path, tmp_path/path.name)
    assert not res.error, res.error
    assert path.read_bytes() == before, 'a run leaves the notebook as it was'
    saved, fresh = read_headlines(path), res.headlines
    # figures in a reference may be measured, too
    def told(rows): return [(n, tol, re.sub(r'[\d.]+', '#', ref)) for n, _, tol, ref in rows]
    assert told(saved) == told(fresh), f'run `make refresh NB={path.stem[:2]}`'
    off = [f'{n}: saved {a:g}, now {b:g}, allowed difference {tol:g}'
           for (n, a, tol, _), (_, b, _, _) in zip(saved, fresh)
           if not math.isfinite(b) or abs(a - b) > tol]
    assert not off, off


@pytest.mark.parametrize('path', [p for p in NOTEBOOKS if re.match('(0[1-9]|1[0-3])[a-d]?_', p.name)],
                         ids=lambda p: p.stem)
def test_chapter_reports_a_figure(path):
    rows = read_headlines(path)
    assert rows and all(math.isfinite(v) and tol >= 0 for _, v, tol, _ in rows)


def test_progress_bar_leaves_nothing(tmp_path):
    "What is saved has no trace of a bar that has gone; all other outputs are kept."
    bar = ("h = display({'text/plain': '10%'}, raw=True, display_id=True); h.update({'text/plain': ''}, "
           "raw=True); print('done')")
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in (bar, 'display(1)', '2')])
    nbformat.write(nb, tmp_path/'a.ipynb')
    assert not run_notebook(tmp_path/'a.ipynb', tmp_path/'b.ipynb').error
    kinds = [[o.output_type for o in c.outputs] for c in nbformat.read(tmp_path/'b.ipynb', 4).cells]
    assert kinds == [['stream'], ['display_data'], ['execute_result']]


NOISE = """import sys, time
for i in range(5):
    print(f'\\r{i*25}%', end='', file=sys.stderr, flush=True); time.sleep(.02)
print('\\r     \\r', end='', file=sys.stderr, flush=True)
print('one', flush=True); time.sleep(.05); print('two', flush=True); print('beware', file=sys.stderr)"""
TABLES = """import pandas as pd
display(*(pd.DataFrame({'a': [k]}).style.background_gradient() for k in (1, 2)))"""


def project(folder, cells):
    "A small project with one notebook, a.ipynb, in which nbdev-clean finds this project's settings."
    (folder/'nbs').mkdir(parents=True)
    shutil.copy(ROOT/'pyproject.toml', folder)
    kernel = dict(display_name='x', language='python', name='python3')
    nb = nbformat.v4.new_notebook(cells=cells, metadata={'kernelspec': kernel})
    nbformat.write(nb, folder/'nbs'/'a.ipynb')
    return folder/'nbs'/'a.ipynb'


def refreshed(path):
    assert not (res := run_notebook(path, path)).error, res.error
    clean(path)
    return path.read_text(encoding='utf-8')


def test_two_runs_of_an_unchanged_notebook_are_equal(tmp_path):
    """Addresses, names of styled tables, progress and how streams were cut leave no trace; what was said
    stays."""
    sources = NOISE, TABLES, '[object(), len]', 'print(object())'
    path = project(tmp_path, [nbformat.v4.new_code_cell(s) for s in sources])
    first, second = refreshed(path), refreshed(path)
    assert first == second
    outputs = [c.outputs for c in nbformat.read(path, 4).cells]
    assert [(o.name, o.text) for o in outputs[0]] == [('stdout', 'one\ntwo\n'), ('stderr', 'beware\n')]
    tables = [re.search(r'<table id="(\w+)"', o.data['text/html'])[1] for o in outputs[1]]
    assert len(set(tables)) == 2, 'two tables on one page need two names'
    for t, o in zip(tables, outputs[1]):
        assert f'#{t}_row0_col0' in o.data['text/html'], 'the style still finds its table'
    assert outputs[2][0].data['text/plain'] == '[<object>, <function len(obj, /)>]'
    assert outputs[3][0].text == '<object object>\n'


def test_a_chapter_run_twice_is_equal(tmp_path):
    "A real notebook without measured times, as it is saved."
    path = project(tmp_path, [])
    shutil.copy(ROOT/'nbs/25_report.ipynb', path)
    assert refreshed(path) == refreshed(path)


def test_overprint():
    assert overprint('a\n10%\r100%\rdone\nb') == 'a\ndone\nb'
    assert overprint('100%\r    \r') == '' and overprint('a  \n') == 'a  \n'


def test_clean_keeps_what_is_folded(tmp_path):
    "`source_hidden` survives nbdev-clean and a refresh; other metadata of a cell does not."
    cell = nbformat.v4.new_code_cell('1', metadata={'jupyter': {'source_hidden': True}, 'trusted': True})
    path = project(tmp_path, [cell])
    clean(path)
    assert json.loads(path.read_text())['cells'][0]['metadata'] == {'jupyter': {'source_hidden': True}}
    refreshed(path)
    assert json.loads(path.read_text())['cells'][0]['metadata'] == {'jupyter': {'source_hidden': True}}
