"What every measurement shares: the machine, the versions, and the one form of bench/results/<subject>.json."
import argparse, json, os, platform, re, statistics as st, sys, time
from datetime import date
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).resolve().parent/'results'


def row(id, values, unit):
    """One figure from repeated measurements: the median for times and ratios of times, the mean for errors;
    sd over the repeats."""
    values = [float(v) for v in values]
    middle = st.mean if unit in ('mse', 'rmse', 'mape', 'accuracy') else st.median
    return dict(id=id, value=round(middle(values), 6),
                sd=round(st.stdev(values), 6) if len(values) > 1 else 0., n=len(values), unit=unit)


def machine():
    "Processor, cores in reach, memory, accelerator and system; nothing that names the machine."
    cpu = platform.processor()
    if Path('/proc/cpuinfo').exists():
        cpu = (re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text()) or [0, cpu])[1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    memory = round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30) if hasattr(
        os, 'sysconf') else None
    gpu = None
    if 'torch' in sys.modules:
        import torch
        gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return dict(cpu=cpu, cores=cores, memory_gib=memory, gpu=gpu,
                system=f'{platform.system()} {platform.machine()}')


def stored_rows(path):
    "The rows of a result file by id; none if there is no such file."
    return {r['id']: r for r in json.loads(path.read_text())['results']} if path.exists() else {}


def save(subject, results, packages=('torch', 'numpy'), path=None, command=None, keep=False):
    """Write the rows `results` to bench/results/<subject>.json, or `path`, with machine, versions of Python
    and `packages`, and print them.

    With `keep`, after a run of some parts, the other rows of the file stay. One head stands over all of them,
    so where it has changed (another machine, another version) the file is left alone and the new rows go to
    <name>_part.json."""
    path = path or RESULTS/f'{subject}.json'
    head = dict(machine=machine(),
                versions=dict(python=platform.python_version(), **{p: version(p) for p in packages}))
    rows = {r['id']: r for r in results}
    if keep and path.exists():
        if all(json.loads(path.read_text())[k] == v for k, v in head.items()): rows = stored_rows(path) | rows
        else:
            path = path.with_stem(f'{path.stem}_part')
            print(
                f'The stored rows are from another machine or other versions, so the new ones are in '
                f'{path.name}.')
    head |= dict(date=date.today().isoformat(),
                 command=command or f'make bench NAME={Path(sys.argv[0]).stem}')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(head | dict(results=list(rows.values())), indent=1) + '\n')
    for r in rows.values():
        print(f"{r['id']:<60}{r['value']:>12.4g} {r['unit']:<8} sd {r['sd']:.2g}, n {r['n']}")


def run_parts(subject, parts, doc, packages=('torch', 'numpy'), digits=4):
    "The command line of a subject in parts, name -> f(seeds) that yields rows: prints each row and saves all."
    p = argparse.ArgumentParser(description=doc.splitlines()[0])
    p.add_argument('--part', choices=list(parts), action='append',
                   help='only this part; rows of the others are kept as they are stored')
    p.add_argument('--seeds', type=int, default=10)
    args = p.parse_args()
    rows = {}
    for part in args.part or parts:
        start = time.perf_counter()
        for r in parts[part](args.seeds):
            rows[r['id']] = r
            print(f"{r['id']:<55} {r['value']:.{digits}f} sd {r['sd']:.{digits}f} n {r['n']}", flush=True)
        print(f'-- {part}: {time.perf_counter() - start:.0f} s', flush=True)
    save(subject, rows.values(), packages, keep=bool(args.part))
