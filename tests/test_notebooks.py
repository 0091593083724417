"Every notebook runs from top to bottom, and what it says it reached is what it reaches now."
import math, re

import nbformat
import pytest
from run import notebooks, read_headlines, run_notebook

NOTEBOOKS = notebooks()


@pytest.mark.notebook
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)
def test_runs_and_reaches_its_figures(path, tmp_path):
    before = path.read_bytes()
    res = run_notebook(path, tmp_path/path.name)
    assert not res.error, res.error
    assert path.read_bytes() == before, 'a run leaves the notebook as it was'
    saved, fresh = read_headlines(path), res.headlines
    def told(rows): return [(n, tol, re.sub(r'[\d.]+', '#', ref)) for n, _, tol, ref in rows]  # figures in a reference may be measured, too
    assert told(saved) == told(fresh), f'run `make refresh NB={path.stem[:2]}`'
    off = [f'{n}: saved {a:g}, now {b:g}, allowed difference {tol:g}' for (n, a, tol, _), (_, b, _, _) in zip(saved, fresh)
           if not math.isfinite(b) or abs(a - b) > tol]
    assert not off, off


@pytest.mark.parametrize('path', [p for p in NOTEBOOKS if re.match('(0[1-9]|1[0-3])_', p.name)], ids=lambda p: p.stem)
def test_chapter_reports_a_figure(path):
    rows = read_headlines(path)
    assert rows and all(math.isfinite(v) and tol >= 0 for _, v, tol, _ in rows)


def test_progress_bar_leaves_nothing(tmp_path):
    "What is saved has no trace of a bar that has gone; all other outputs are kept."
    bar = "h = display({'text/plain': '10%'}, raw=True, display_id=True); h.update({'text/plain': ''}, raw=True); print('done')"
    nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(s) for s in (bar, 'display(1)', '2')])
    nbformat.write(nb, tmp_path/'a.ipynb')
    assert not run_notebook(tmp_path/'a.ipynb', tmp_path/'b.ipynb').error
    kinds = [[o.output_type for o in c.outputs] for c in nbformat.read(tmp_path/'b.ipynb', 4).cells]
    assert kinds == [['stream'], ['display_data'], ['execute_result']]
