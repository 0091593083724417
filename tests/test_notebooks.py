"Every notebook runs from top to bottom, and what it says it reached is what it reaches now."
import math, re

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
