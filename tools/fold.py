"""Collapse in JupyterLab the cells that the site hides or folds, so that both start with the story.

    python tools/fold.py [nbs/02_embeddings.ipynb ...]   all notebooks unless some are named; `make refresh` calls it

What is folded follows from a cell's directives alone: `#| hide`, `#| default_exp`, `#| code-fold: true` (with
`#| code-summary: "Checks"` for tests), and the imports that a module needs, `#| export` above nothing but imports.
"""
import ast, json, re, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DIRECTIVE = re.compile(r'^\s*#\s*\|\s*([\w-]+)\s*:?\s*(.*?)\s*$', re.M)


def source(cell): return ''.join(cell['source'])


def directives(cell):
    "The `#|` lines of a cell as {name: value}."
    return {m[1]: m[2].strip('"\'') for m in DIRECTIVE.finditer(source(cell))}


def only_imports(cell):
    "Whether a code cell imports something and does nothing else."
    try: body = ast.parse(re.sub(r'^\s*[%!].*$', '', source(cell), flags=re.M)).body
    except SyntaxError: return False
    return bool(body) and all(isinstance(o, (ast.Import, ast.ImportFrom)) for o in body)


def folded(cell):
    "Whether a reader sees this code cell only after a click, if at all."
    if cell['cell_type'] != 'code': return False
    said = directives(cell)
    return bool({'hide', 'default_exp'} & set(said)) or said.get('code-fold') == 'true' or ('export' in said and only_imports(cell))


def summary(cell):
    """What the fold of a code cell is called on the site; None: the site does not fold it.

    An exported cell is a Source, closed below the names it defines, whether or not it asks for a fold."""
    said = directives(cell)
    if 'exports' in said: return 'Source'
    return said.get('code-summary', 'Code') if said.get('code-fold') == 'true' else None


def fold(nb):
    "Set or take away `source_hidden` in every cell of a notebook; return how many cells changed."
    n = 0
    for cell in nb['cells']:
        before, jupyter = dict(cell['metadata']), dict(cell['metadata'].get('jupyter', {}))
        jupyter.pop('source_hidden', None)
        if folded(cell): jupyter['source_hidden'] = True
        cell['metadata'].pop('jupyter', None)
        if jupyter: cell['metadata']['jupyter'] = jupyter
        n += cell['metadata'] != before
    return n


def fold_file(path):
    "Fold the cells of the notebook at `path`, which is written only if something changes."
    nb = json.loads(Path(path).read_text(encoding='utf-8'))
    if fold(nb): Path(path).write_text(json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


if __name__ == '__main__':
    for path in sys.argv[1:] or sorted((ROOT/'nbs').glob('*.ipynb')): fold_file(path)
