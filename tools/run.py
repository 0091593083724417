"""Execute the notebooks with a real kernel: the one runner behind `make run`, `make refresh` and the tests.

    python tools/run.py [--nb 02 ...]            copies into _run/nbs, nothing tracked is touched
    python tools/run.py --inplace [--nb 02 ...]  saves the outputs in nbs/ (a notebook that fails keeps its old ones)
    python tools/run.py --summary                prints the table of headline results of the last run
"""
import argparse, itertools, json, os, re, sys, tempfile, time
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = Path(__file__).resolve().parent.parent
NBS, RUN = ROOT/'nbs', ROOT/'_run'
SKIP_FLAGS = {'notest', 'gpu'}  # as in [tool.nbdev] tst_flags; `--flags gpu` runs those cells too
DIRECTIVE = re.compile(r'^\s*#\s*\|\s*(.+?)\s*$', re.M)


@dataclass
class Result:
    "What one notebook came to."
    name: str  # file name without ending
    seconds: float = 0.  # wall time of all cells, kernel start included
    headlines: list = field(default_factory=list)  # (name, value, tolerance, reference) of every headline result
    error: str = ''  # the failing cell and its traceback; empty when all cells ran


def notebooks(prefixes=(), nbs=NBS):
    "The notebooks of the course in order of their numbers, or those whose names start with one of `prefixes`."
    found = sorted(p for p in nbs.glob('*.ipynb') if not p.name.startswith(('.', '_')))
    if not prefixes: return found
    for o in prefixes:
        if not any(p.name.startswith(o) for p in found):
            raise SystemExit(f"no notebook starts with {o!r}; there are: {', '.join(p.stem for p in found)}")
    return [p for p in found if p.name.startswith(tuple(prefixes))]


def is_skipped(cell, flags=()):
    "Whether a code cell is left out: `#| eval: false`, or a flag of `SKIP_FLAGS` that was not asked for."
    said = {d.lower() for d in DIRECTIVE.findall(cell.source)}
    return any(re.fullmatch(r'eval:\s*false', d) for d in said) or bool(said & (SKIP_FLAGS - set(flags)))


class Client(NotebookClient):
    "nbclient that leaves out the cells nbdev leaves out and tells how far it is."
    def __init__(self, nb, flags=(), tick=None, **kwargs):
        super().__init__(nb, **kwargs)
        self.flags, self.tick = flags, tick

    async def async_execute_cell(self, cell, cell_index, *args, **kwargs):
        if self.tick: self.tick(cell_index + 1, len(self.nb.cells))
        if cell.cell_type == 'code' and is_skipped(cell, self.flags): return cell
        return await super().async_execute_cell(cell, cell_index, *args, **kwargs)


def read_headlines(nb):
    "The rows of a notebook's headline tables, read from its saved outputs: (name, value, tolerance, reference)."
    nb = nbformat.read(nb, 4) if isinstance(nb, (str, Path)) else nb
    rows = []
    for cell in nb.cells:
        if cell.cell_type != 'code' or not re.search(r'^headline\(', cell.source, re.M): continue
        text = ''.join(''.join(o.get('data', {}).get('text/markdown', '')) for o in cell.outputs)
        for line in text.splitlines()[2:]:
            name, value, tol, reference = [o.strip() for o in line.strip().strip('|').split('|')]
            rows.append((name, float(value), float(tol), reference))
    return rows


def is_empty(output):
    "Whether an output shows nothing, like a progress bar that has gone."
    return output.output_type == 'display_data' and not any(map(bool, output.data.values()))


def overprint(text):
    "What a terminal shows of `text`: what follows a carriage return is written over the line."
    def line(said):
        shown = ''
        for part in said.rstrip('\r').split('\r'): shown = part + shown[len(part):]
        return shown.rstrip() if '\r' in said else shown
    return '\n'.join(map(line, text.split('\n')))


def joined(outputs):
    """Outputs with one piece a stream between two of another kind, as a terminal shows it: how streams are
    cut and mixed is chance."""
    found = []
    for is_stream, group in itertools.groupby(outputs, lambda o: o.output_type == 'stream'):
        if not is_stream: found += group; continue
        said = {}
        for o in group: said.setdefault(o.name, []).append(o.text)
        for name in sorted(said, reverse=True):  # stdout before stderr
            if (text := overprint(''.join(said[name]))).strip():
                found.append(nbformat.v4.new_output('stream', name=name, text=text))
    return found


ADDRESS = re.compile(r' at 0x[0-9a-fA-F]{6,}')
STYLER = re.compile(r'T_[0-9a-f]{5}(?![0-9a-f])')  # how pandas names a styled table, anew each time


def settle(cell):
    """Take from a cell's outputs what differs between two runs and says nothing: addresses, names of
    styled tables, cut streams, bars."""
    cell.outputs = joined(o for o in cell.outputs if not is_empty(o))
    tables = {}
    def named(m): return tables.setdefault(m[0], f'T_{cell.id}_{len(tables)}')
    for o in cell.outputs:
        if o.output_type == 'stream': o.text = ADDRESS.sub('', o.text)
        for mime, data in o.get('data', {}).items():
            if not mime.startswith('text/'): continue
            data = ADDRESS.sub('', data)
            o.data[mime] = STYLER.sub(named, data) if mime == 'text/html' and '<style' in data else data


def run_notebook(path, out=None, flags=(), timeout=600, tick=None):
    "Execute the notebook `path` with a real kernel in its folder, write it to `out` if all cells ran, and return a `Result`."
    path = Path(path)
    nb, res, start = nbformat.read(path, 4), Result(path.stem), time.perf_counter()
    with tempfile.TemporaryDirectory() as tmp:
        sockets = {} if os.name == 'nt' else dict(transport='ipc', ip=f'{tmp}/kernel')  # no open port where that can be
        km = AsyncKernelManager(kernel_name='python3', **sockets)
        client = Client(nb, flags, tick, km=km, timeout=timeout, resources={'metadata': {'path': str(path.parent)}})
        client.owns_km = True  # so that the client also ends the kernel
        try: client.execute()
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as e: res.error = str(e) or type(e).__name__
    if res.error:
        at = next((i for i, c in enumerate(nb.cells) if any(o.output_type == 'error' for o in c.get('outputs', []))), None)
        res.error = f'{path.name}, cell {at}:\n{res.error}'
    res.seconds = time.perf_counter() - start
    if not res.error:
        for c in nb.cells:
            c.metadata.pop('execution', None)
            if c.cell_type == 'code': settle(c)
        res.headlines = read_headlines(nb)
        if out:
            Path(out).parent.mkdir(parents=True, exist_ok=True)
            nbformat.write(nb, out)
    return res


def clean(path):
    "What nbdev-clean does."
    from nbdev.clean import nbdev_clean
    nbdev_clean.__wrapped__(str(path))


def line(i, n, res):
    "One progress line: number, name, seconds, the first headline result or what failed."
    said = 'FAILED' if res.error else f'{res.headlines[0][0]}: {res.headlines[0][1]:g}' if res.headlines else 'ok'
    return f'[{i}/{n}] {res.name:<22}{res.seconds:6.1f} s   {said}'


def table(results):
    "All headline results beside their references, as text."
    rows = [(r['name'], name, f'{value:g}', ref) for r in results for name, value, _, ref in r['headlines']]
    if not rows: return 'no headline results'
    rows = [('notebook', 'result', 'here', 'to compare with')] + rows
    w = [max(len(r[k]) for r in rows) for k in range(3)]
    return '\n'.join(f'{a:<{w[0]}}  {b:<{w[1]}}  {c:>{w[2]}}  {d}' for a, b, c, d in rows)


def main():
    p = argparse.ArgumentParser(description='Execute the notebooks of the course.')
    p.add_argument('--nb', nargs='*', default=[], help='only those whose names start so, e.g. 02')
    p.add_argument('--inplace', action='store_true', help='save outputs in nbs/')
    p.add_argument('--flags', nargs='*', default=[], help='run cells with these flags too, e.g. gpu')
    p.add_argument('--timeout', type=int, default=600, help='seconds a cell may take')
    p.add_argument('--summary', action='store_true', help='print the headline results of the last run and stop')
    a = p.parse_args()
    report = RUN/'results.json'
    if a.summary:
        if not report.exists(): raise SystemExit('nothing has been run yet: type `make run`')
        print(table(json.loads(report.read_text()))); return 0
    os.environ['PATH'] = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'
    paths, results = notebooks(a.nb), []
    def tick(name):
        live = sys.stdout.isatty()
        return (lambda k, n: print(f'\r\033[K      {name}: cell {k}/{n}', end='', flush=True)) if live else None
    for i, path in enumerate(paths, 1):
        res = run_notebook(path, path if a.inplace else RUN/'nbs'/path.name, a.flags, a.timeout, tick(path.stem))
        results.append(res)
        print(('\r\033[K' if sys.stdout.isatty() else '') + line(i, len(paths), res), flush=True)
        if res.error: print(res.error, file=sys.stderr, flush=True)
        elif a.inplace: clean(path)
    if not a.inplace:
        RUN.mkdir(exist_ok=True)
        report.write_text(json.dumps([vars(r) for r in results], indent=1))
    total = sum(r.seconds for r in results)
    failed = sum(bool(r.error) for r in results)
    print(f'{len(results) - failed} of {len(results)} notebooks ran, {total:.0f} s')
    return 1 if failed else 0


if __name__ == '__main__': sys.exit(main())
