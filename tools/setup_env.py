"""Makes .venv what the lock files say, or finds in a moment that nothing is to be done.

    python tools/setup_env.py          what the notebooks, the tests and JupyterLab need
    python tools/setup_env.py bench    also the peers that bench/ measures

The Makefile calls it through setup_env.sh, which finds a Python to begin with; `python -m lesson8` calls
it where the running Python lacks something. PYTHON=/path/to/python chooses the interpreter of a new .venv.
It imports the standard library alone, as it runs before anything is installed.
"""
import hashlib, os, re, shlex, shutil, subprocess, sys
from configparser import ConfigParser
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT/'.venv'
COST = 'about 6.5 GB on disk and 5 to 20 minutes'  # nbs/index.ipynb says the same words; a test compares them
# of settings.ini: what requirements.lock locks
KEYS = 'requirements', 'course_requirements', 'lab_requirements', 'dev_requirements'
OLDEST = 3, 11


def venv_python(venv=VENV): return venv/('Scripts/python.exe' if os.name == 'nt' else 'bin/python')


def works(python, *args):
    "Whether `python` runs and is new enough."
    code = f'import sys; sys.exit(sys.version_info < {OLDEST})'
    try: return subprocess.run([python, *args, '-c', code], capture_output=True).returncode == 0
    except OSError: return False


def usable():
    """Whether .venv runs and was made in this folder: its scripts hold the folder's name, so one that was
    moved or copied is made anew."""
    activate = venv_python().with_name('activate.bat' if os.name == 'nt' else 'activate')
    if not works(venv_python()) or not activate.is_file(): return False
    return str(VENV) in activate.read_text(encoding='utf-8', errors='replace')


def requirements(keys=KEYS):
    "The lines of settings.ini under `keys`."
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    return [line.strip() for key in keys for line in cfg['DEFAULT'][key].splitlines() if line.strip()]


def lacking(lines):
    "Those of the requirements `lines` that the running Python does not meet."
    try: from packaging.requirements import Requirement
    except ImportError:
        try: from pip._vendor.packaging.requirements import Requirement
        except ImportError: return list(lines)
    def met(r):
        if r.marker and not r.marker.evaluate(): return True
        try: return r.specifier.contains(version(r.name), prereleases=True)
        except PackageNotFoundError: return False
    return [line for line in lines if not met(Requirement(line))]


# Dependabot reads only .txt files: those in requirements/ are links to the locks.
def lock(name): return ROOT/('requirements.lock' if name == 'course' else f'requirements-{name}.lock')


def stamp(name): return VENV/f'.ready-{name}'


def state(name):
    "What .venv depends on, as a hash; its stamp says which one was installed last."
    files = lock(name), *(ROOT/f for f in ('settings.ini', 'pyproject.toml', 'setup.py'))
    return hashlib.sha256(b''.join(f.read_bytes() for f in files)).hexdigest()


def ready(name): return stamp(name).is_file() and stamp(name).read_text() == state(name)


def run(*command, **env):
    subprocess.run([str(c) for c in command], cwd=ROOT, check=True, env={**os.environ, **env})


def make():
    "A new, empty .venv."
    chosen = os.environ.get('PYTHON') or sys.executable
    if not works(chosen):
        oldest = '.'.join(map(str, OLDEST))
        raise SystemExit(f'{chosen} does not run or is older than Python {oldest}, which lesson8 needs.')
    # The interpreter under a virtual environment, which may be the very one that goes now.
    base = 'import sys; print(getattr(sys, "_base_executable", None) or sys.executable)'
    python = subprocess.run([chosen, '-c', base], capture_output=True, text=True, check=True).stdout.strip()
    print(f'Setting up .venv: {COST}, once.', flush=True)
    if VENV.exists(): shutil.rmtree(VENV)
    if shutil.which('uv'): return run('uv', 'venv', '--quiet', '--python', python, VENV)
    try: run(python, '-m', 'venv', VENV)
    except subprocess.CalledProcessError:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SystemExit(
            f"'{python} -m venv' failed. On Debian and Ubuntu it needs the package python3-venv; "
                         'elsewhere install uv and try again.') from None


def install(*args, **env):
    """Install into .venv without looking for more than is said; with uv where it is, as it is many times
    faster."""
    quiet = [] if sys.stderr.isatty() else ['--quiet']
    tool = ['uv', 'pip', 'install', '--python', venv_python()] if shutil.which('uv') else \
        [venv_python(), '-m', 'pip', 'install', '--disable-pip-version-check']
    run(*tool, *quiet, '--no-deps', *args, **env)


def merge_driver(python):
    """How git is to merge notebooks, as .gitattributes asks; where this Python or the script is gone, as
    it merges any text."""
    script, python = 'tools/merge_notebooks.py', shlex.quote(Path(python).as_posix())
    ours = f'{python} {script} %O %A %B %P'
    return f'if test -f {script} && test -x {python}; then {ours}; else git merge-file %A %O %B; fi'


def set_merge_driver(python, root=ROOT):
    """Tell git in this clone (and its worktrees) how to merge notebooks; silently nothing where there is
    no clone or no git."""
    def git(*args): return subprocess.run(['git', 'config', *args], cwd=root, capture_output=True, text=True)
    if not (root/'.git').exists() or not shutil.which('git'): return
    for key, value in {'name': 'notebooks, cell by cell', 'driver': merge_driver(python)}.items():
        if git('--get', f'merge.notebooks.{key}').stdout.strip() != value:
            git(f'merge.notebooks.{key}', value)


def set_up(*more):
    "Bring .venv up to date with the lock of the course and those named in `more`; return its Python."
    if not usable(): make()
    for name in ('course', *more):
        if ready(name): continue
        stamp(name).unlink(missing_ok=True)
        print(f'Installing what {lock(name).relative_to(ROOT).as_posix()} says.', flush=True)
        install('--require-hashes', '-r', lock(name))  # the lock is complete: nothing is left to resolve
        if name == 'course': install('--no-build-isolation', '-e', '.', PYTHONWARNINGS='ignore')
        stamp(name).write_text(state(name))
    set_merge_driver(venv_python())
    return venv_python()


def python():
    """A Python that has all that settings.ini asks for: the running one if it has, or else that of .venv,
    set up or brought up to date."""
    if not lacking(requirements()): return Path(sys.executable)
    found = set_up()
    return Path(sys.executable) if Path(sys.prefix).resolve() == VENV else found


def stopped(error):
    "What to say of a command that failed."
    return (f'The set-up stopped at: {shlex.join(error.cmd)}\nWhy, it says above. Once that is mended, '
            'try again: what is installed already stays.')


def main():
    if sys.version_info < OLDEST:
        raise SystemExit(f'This is Python {sys.version.split()[0]}; lesson8 needs 3.11 or newer.')
    if bad := [m for m in sys.argv[1:] if not re.fullmatch(r'\w+', m) or not lock(m).is_file()]:
        raise SystemExit(f'there is no lock called {bad[0]!r}: {lock(bad[0]).name} is missing')
    try: set_up(*sys.argv[1:])
    except subprocess.CalledProcessError as e: raise SystemExit(stopped(e)) from None


if __name__ == '__main__': main()
