"""Merge driver of git for notebooks: merges them cell by cell, so that what comes out is a notebook in any
case.

    python tools/merge_notebooks.py BASE OURS THEIRS [PATH]     writes OURS; exit status 1 if there are conflicts

Two branches that ran the same notebook have other times and pictures in it, which line by line would be a
conflict each. Here cells are merged by their sources; outputs come along from the side whose source was
taken, ours where both are the same. What both sides changed stands twice, between cells `<<<<<<<`,
`=======` and `>>>>>>>`: open the notebook, keep what is right, delete these cells, and run `make refresh`
on it. Standard library only, as git may call it with any Python.
"""
import json, subprocess, sys, tempfile
from pathlib import Path

MARKS = {'<' * 7: '<<<<<<< ours', '=' * 7: '=======', '>' * 7: '>>>>>>> theirs'}


def source(cell): return ''.join(cell['source'])


def keys(nb):
    "The cells of a notebook by their ids; one without an id, or with one used before, gets a key of its own."
    found = {}
    for i, c in enumerate(nb['cells']):
        found[c['id'] if c.get('id') and c['id'] not in found else f'cell {i}'] = c
    return found


def skeleton(cells):
    """A text with one line for each cell's source, fenced by lines of its id, so that changes in
    neighbouring cells do not collide."""
    def line(key, cell):
        return json.dumps([key, cell['cell_type'], cell.get('metadata', {}), source(cell)], sort_keys=True)
    def fenced(key, cell):
        fence = f'{json.dumps(key)}\n'*2
        return f'{fence}{line(key, cell)}\n{fence}'
    return ''.join(fenced(k, c) for k, c in cells.items())


def merge_text(base, ours, theirs):
    "The three-way merge of texts as git does it: (merged, whether it has conflicts)."
    with tempfile.TemporaryDirectory() as tmp:
        files = [Path(tmp)/n for n in ('ours', 'base', 'theirs')]
        for f, text in zip(files, (ours, base, theirs)): f.write_text(text, encoding='utf-8', newline='\n')
        command = ['git', '-c', 'merge.conflictStyle=merge', 'merge-file', '-p', *files]
        done = subprocess.run(command, capture_output=True, text=True, encoding='utf-8')
    if not 0 <= done.returncode < 128: raise RuntimeError(done.stderr)
    return done.stdout, done.returncode > 0


def merge_source(base, ours, theirs):
    """The source of a cell that both sides changed, where the changes are in different lines; None where
    they collide."""
    text, conflict = merge_text(*(s + '\n' for s in (base, ours, theirs)))
    return None if conflict else text[:-1]


def mark(text, i): return dict(cell_type='markdown', id=f'conflict-{i}', metadata={}, source=[f'`{text}`'])


def merge(base, ours, theirs):
    "The merged notebook, and how many conflicts it has."
    olds, mine, yours = map(keys, (base, ours, theirs))
    mended = {}
    # cells that all three have: merged within, where that can be
    for k in mine.keys() & yours.keys() & olds.keys():
        o, m, y = (source(c[k]) for c in (olds, mine, yours))
        if len({o, m, y}) == 3 and (both := merge_source(o, m, y)) is not None: mended[k] = both
    def with_mended(cells):
        return {k: {**c, 'source': mended[k]} if k in mended else c for k, c in cells.items()}
    mine, yours = with_mended(mine), with_mended(yours)
    text, _ = merge_text(*map(skeleton, (olds, mine, yours)))
    cells, conflicts, side = [], 0, None
    for line in text.splitlines():
        if line[:7] in MARKS:
            side = {'<': mine, '=': yours, '>': None}[line[0]]
            conflicts += line[0] == '<'
            cells.append(mark(MARKS[line[:7]], len(cells)))
        elif line.startswith('['):
            key, *said = json.loads(line)
            kind, metadata, text = said
            def same(c): return [c['cell_type'], c.get('metadata', {}), source(c)] == said
            held = [c[key] for c in ([side] if side else [mine, yours]) if key in c]
            cell = next(filter(same, held), held[0])
            cell = {**cell, 'cell_type': kind, 'metadata': metadata, 'source': text.splitlines(keepends=True)}
            if any(c.get('id') == cell.get('id') for c in cells if 'id' in cell): cell['id'] += '-theirs'
            cells.append(cell)
    return {**ours, 'cells': cells}, conflicts


def read(path): return json.loads(Path(path).read_text(encoding='utf-8') or '{"cells": []}')


def main(base, ours, theirs, path=''):
    try: nb, conflicts = merge(*map(read, (base, ours, theirs)))
    except (ValueError, KeyError, TypeError, RuntimeError):  # one of them is no notebook: as any other text
        return subprocess.run(['git', 'merge-file', ours, base, theirs]).returncode
    Path(ours).write_text(json.dumps(nb, sort_keys=True, indent=1, ensure_ascii=False) + '\n',
                          encoding='utf-8', newline='\n')
    if conflicts: print(f'{path}: {conflicts} conflicts, marked by cells of their own', file=sys.stderr)
    return int(conflicts > 0)


if __name__ == '__main__': sys.exit(main(*sys.argv[1:]))
