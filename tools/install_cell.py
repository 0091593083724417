"""Writes into every notebook the cell that installs this version of the package in Colab.

    python tools/install_cell.py [FOLDER]     the notebooks of FOLDER, by default nbs/; a second time it changes nothing

It is the first code cell of a notebook: where one is there it is rewritten in place, where none is it is
put before the first code cell. `make bump` calls it with the new version.
"""
import json, re, sys
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CELL = '''#| hide
import sys
if 'google.colab' in sys.modules:
    %pip install -q "lesson8[course] @ git+https://github.com/{user}/{repo}@v{version}"'''


def install_source(root=ROOT):
    "What the cell says in this version."
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    cfg.read(root/'settings.ini', encoding='utf-8')
    version = re.search(r'^__version__ = "(.+)"', (root/'lesson8/__init__.py').read_text(encoding='utf-8'),
                        re.M)[1]
    return CELL.format(version=version, **{k: cfg['DEFAULT'][k] for k in ('user', 'repo')})


def is_install(cell):
    return cell['cell_type'] == 'code' and "'google.colab' in sys.modules" in ''.join(cell['source'])


def set_install(nb, source):
    """Put the install cell into the notebook `nb`, a dict; other cells, and what it says beside its
    source, stay as they are."""
    code = next((i for i, c in enumerate(nb['cells']) if c['cell_type'] == 'code'), len(nb['cells']))
    if not (code < len(nb['cells']) and is_install(nb['cells'][code])):
        old = [c for c in nb['cells'] if is_install(c)]  # one that stands too late
        for c in old: nb['cells'].remove(c)
        new = dict(cell_type='code', execution_count=None, id='00c3d516', metadata={}, outputs=[])
        nb['cells'].insert(code, old[0] if old else new)
    nb['cells'][code]['source'] = source.splitlines(keepends=True)


def main(folder=ROOT/'nbs'):
    for path in sorted(Path(folder).rglob('*.ipynb')):
        if any(part.startswith(('.', '_')) for part in path.relative_to(folder).parts): continue
        before = path.read_text(encoding='utf-8')
        nb = json.loads(before)
        set_install(nb, install_source())
        after = json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + '\n'
        if after == before: continue
        path.write_text(after, encoding='utf-8', newline='\n')
        print(f'{path.name}: installs this version in Colab')


if __name__ == '__main__': main(*sys.argv[1:])
