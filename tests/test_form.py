"""The form that all notebooks share (STYLE in short: a story first, what can be skipped is folded, nothing
that reads badly)."""
import ast, json, re

import pytest
from fold import directives, folded, only_imports, source
from run import notebooks

NOTEBOOKS = notebooks()
WIDTH = 110
CHECK = re.compile(r'\bassert|\btest_\w+\(|@given\b')
every = pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda p: p.stem)


def cells(path): return json.loads(path.read_text(encoding='utf-8'))['cells']
def code(path): return [c for c in cells(path) if c['cell_type'] == 'code']
def texts(output):
    "What an output shows as text, in each of its forms."
    yield ''.join(output.get('text', ''))
    for mime, data in output.get('data', {}).items():
        if mime.startswith('text/'): yield ''.join(data)


@every
def test_first_cell_is_title_and_subtitle(path):
    """The text speaks of chapter 02, so the title says its number; nbdev takes the first cell for title and
    subtitle and drops the rest."""
    lines = source(cells(path)[0]).strip().splitlines()
    number = re.match(r'\d+[a-z]?', path.stem)
    assert re.match(rf'# {number[0]} \S' if number else r'# \S', lines[0]), (
        f'{lines[0]!r}: say the number of the notebook')
    assert len(lines) == 2 and lines[1].startswith('> '), lines


@every
def test_folded_cells_are_collapsed_in_jupyterlab(path):
    off = [c['id']
           for c in cells(path) if folded(c) != c['metadata'].get('jupyter', {}).get('source_hidden', False)]
    assert not off, f'run tools/fold.py: {off}'


@every
def test_imports_and_setup_are_out_of_the_way(path):
    "Imports are folded wherever they stand, and nothing unfolded comes between title and first thought."
    assert not [c['id'] for c in code(path) if only_imports(c) and not folded(c)], 'mark them #| hide'
    start = next(k for k, c in enumerate(cells(path)[2:], 2) if c['cell_type'] == 'markdown')
    assert not [c['id'] for c in cells(path)[:start] if c['cell_type'] == 'code' and not folded(c)]


@every
def test_exported_source_is_on_the_site(path):
    "nbdev shows the source of `#| exports`; a plain `#| export` is for imports."
    off = [c['id'] for c in code(path) if 'export' in directives(c) and not only_imports(c)]
    assert not off, f'write #| exports: {off}'


@every
def test_unfolded_checks_are_few_lines(path):
    """Of the tests only an equality that teaches stands in the story; errors and random shapes are checked in
    folded cells."""
    def wordy(c):
        tests = re.findall(r'^\s*(?:assert|test_\w+\()', source(c), re.M)
        return len(tests) > 1 or re.search(r'^(@given|\s*test_fail\()', source(c), re.M)
    off = [c['id'] for c in code(path) if not folded(c) and wordy(c)]
    assert not off, f'fold them: #| code-fold: true, #| code-summary: "Checks": {off}'


@every
def test_checks_say_so(path):
    "A folded cell has a summary; one with tests says that it holds checks."
    for c in code(path):
        said = directives(c)
        if said.get('code-fold') == 'true':
            assert said.get('code-summary'), f"{c['id']}: give it a #| code-summary"
            assert "'" not in said['code-summary'], f"{c['id']}: Quarto bends the apostrophe of its summary, reword it"
        if said.get('code-summary') == 'Checks': assert CHECK.search(source(c)), f"{c['id']}: checks nothing"


@every
def test_code_fits_the_page(path):
    wide = [(c['id'], len(l)) for c in code(path) if 'hide' not in directives(c)
            for l in source(c).splitlines()
            if len(l) > WIDTH and not l.startswith('#|')]
    assert not wide, f'at most {WIDTH} characters: {wide}'


@every
def test_outputs_read_well(path):
    "No type of NumPy's around a number, no NaN where a cell is empty."
    raw = re.compile(r'\bnp\.\w+\(|\bNaN\b|>nan<|\|\s*nan\s*\|')
    off = [(c['id'], m[0]) for c in code(path) for o in c['outputs']
           for t in texts(o) if (m := raw.search(t))]
    assert not off, off


@every
def test_cells_are_short_and_import_alone(path):
    for c in code(path):
        text = re.sub(r'^\s*[%!].*$', 'pass', source(c), flags=re.M)
        assert len([l for l in text.splitlines() if l.strip() and not l.startswith('#|')]) <= 30, c['id']
        if only_imports(c) or 'hide' in directives(c): continue
        inline = [n for n in ast.parse(text).body if isinstance(n, (ast.Import, ast.ImportFrom))]
        assert not inline, f"{c['id']} imports beside other code"
