"""What `make` does, for every system: `python -m lesson8 run|test|lab [NB]` in a checkout of the course.

Written by hand, not exported from a notebook. It imports the standard library alone, as it also sets up
what the rest needs.
"""
import argparse, os, shutil, subprocess, sys
from pathlib import Path

from lesson8 import __version__

ROOT = Path(__file__).resolve().parent.parent
LANES = 4  # notebooks that are tested at a time, at most: each takes up to 2 GB
EXAMPLES = '''examples:
  python -m lesson8 lab             open JupyterLab on the notebooks
  python -m lesson8 run 02          run copies of the notebooks of chapter 02 and render the site
  python -m lesson8 test            all tests
  python -m lesson8 test 03         the notebooks of chapter 03 and the tests about them
  python -m lesson8 test -- -k pool the tests whose names have "pool": what follows -- is for pytest

Where the Python that runs this lacks something, a .venv is set up in the checkout, once, and used.'''
HOME, SITE = 'https://github.com/lesson8-course/lesson8', 'https://lesson8-course.github.io/lesson8'
NO_NOTEBOOKS = f'''The notebooks of the course are not part of the installed package. To run them here:

  git clone --branch v{__version__} {HOME}
  cd lesson8
  python -m lesson8 lab

Or read them on {SITE}, where the badge at the top of a chapter opens it in Colab.'''


def is_checkout(root=ROOT): return all((root/f).exists() for f in ['nbs', 'tools/run.py', 'settings.ini'])


def cores():
    "How many this process may use."
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def tool(*args):
    "Run this Python with `args` in the checkout; its exit status."
    return subprocess.run([sys.executable, *map(str, args)], cwd=ROOT).returncode


def given(name, values): return [name, *values] if values else []


def run(a):
    "run copies of the notebooks in _run/ and render the site in _docs/; nothing tracked changes"
    shutil.rmtree(ROOT/'_run', ignore_errors=True)
    if not a.nb: tool('tools/fetch_data.py')
    failed = tool('tools/run.py', *given('--nb', a.nb), *given('--flags', a.flags))
    failed |= tool('tools/docs.py', '--nbs', '_run/nbs', '--out', '_docs')
    print(flush=True)
    failed |= tool('tools/run.py', '--summary')
    print(f"\nThe site: {ROOT/'_docs'/'index.html'}   The executed notebooks: {ROOT/'_run'/'nbs'}",
          flush=True)
    if failed: print('Something failed, see above.', file=sys.stderr)
    return int(failed != 0)


def one_file(more):
    "Whether pytest's arguments name a single file, for which starting one process a core does not pay."
    return sum('.py' in o for o in more) == 1 and not any('test_notebooks' in o for o in more)


def test(a):
    "run the tests, the notebooks among them, on all cores"
    alone = ('-n', '--numprocesses', '--pdb', '--collect-only', '--co')
    lanes = min(cores(), LANES) + 1  # one for the tests that mostly wait
    spread = [] if one_file(a.more) or any(o.startswith(alone) for o in a.more) else ['-n', lanes]
    return tool('-m', 'pytest', *spread, *(o for nb in a.nb for o in ('--nb', nb)), *a.more)


def lab(a):
    "open JupyterLab on the notebooks, or on one"
    options = ['--LabApp.news_url=None', '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate']
    which = [sorted((ROOT/'nbs').glob(f'{nb}*.ipynb')) for nb in a.nb]
    if [] in which: raise SystemExit(f'no notebook starts with {a.nb[which.index([])]!r}')
    which = [found[0] for found in which]
    try:
        return tool('-m', 'jupyter', 'lab', '--config=tools/jupyter_server_config.py', '--notebook-dir=nbs',
                    *options, *a.more, *which)
    except KeyboardInterrupt: return 0  # how JupyterLab is ended


def docs(a):
    "render the site with the saved outputs in _docs/, with Quarto if it is installed"
    return tool('tools/docs.py', '--nbs', 'nbs', '--out', '_docs')


def refresh(a):
    "export to lesson8/, run the notebooks in place, clean them, remake README.md: changes tracked files"
    export = 'from nbdev.doclinks import nbdev_export; nbdev_export.__wrapped__()'
    steps = [('tools/fetch_data.py', '--all'), ('tools/fold.py',), ('-c', export),
             ('tools/run.py', '--inplace', *given('--nb', a.nb)), ('tools/readme.py',), ('tools/lesson_map.py',)]
    return next((failed for step in steps if (failed := tool(*step))), 0)


def parser():
    p = argparse.ArgumentParser('python -m lesson8',
                                description='Run, test and open the notebooks of the course.',
                                epilog=EXAMPLES,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('--version', action='version', version=__version__)
    todo = p.add_subparsers(dest='do', metavar='run | test | lab | docs | refresh')
    for f in (run, test, lab, docs, refresh):
        q = todo.add_parser(f.__name__, help=f.__doc__, description=f.__doc__)
        q.set_defaults(f=f)
        if f is not docs:
            q.add_argument('nb', nargs='*', metavar='NB', help='only notebooks whose names start so, e.g. 02')
        if f is run:
            q.add_argument('--flags', nargs='*', default=[], help='run cells with these flags, too, e.g. gpu')
    return p


def main(argv=None):
    argv = sys.argv[1:] if argv is None else argv
    at = argv.index('--') if '--' in argv else len(argv)
    own, more = argv[:at], argv[at+1:]
    p = parser()
    a = p.parse_args(own)
    if not a.do: p.print_help()
    if not is_checkout():
        print(NO_NOTEBOOKS if a.do else f'\n{NO_NOTEBOOKS}', file=sys.stderr if a.do else None)
        return int(bool(a.do))
    if not a.do: return 0
    if more and a.do not in ('test', 'lab'): p.error(f'{a.do} takes nothing after --')
    a.more = more
    os.environ['PYTHONUTF8'] = '1'  # all files of the course are UTF-8, whatever the system's default
    sys.path.insert(0, str(ROOT/'tools'))
    import setup_env
    try: python = setup_env.python()
    except subprocess.CalledProcessError as e: raise SystemExit(setup_env.stopped(e)) from None
    # Kernels and tools are found where this Python has its own, and import this checkout.
    path = {'PATH': python.parent, 'PYTHONPATH': ROOT}
    for k, v in path.items(): os.environ[k] = os.pathsep.join([str(v), *filter(None, [os.environ.get(k)])])
    if python == Path(sys.executable): return a.f(a)
    return subprocess.run([str(python), '-m', 'lesson8', *argv], cwd=ROOT).returncode


if __name__ == '__main__': sys.exit(main())
