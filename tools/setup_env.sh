#!/bin/sh
# Makes .venv what the lock files say, or finds in a moment that nothing is to be done; every target of the Makefile calls it.
#   sh tools/setup_env.sh          what the notebooks and the tests need
#   sh tools/setup_env.sh bench    also the peers that bench/ measures
# PYTHON=/path/to/python chooses the interpreter of a new environment.
set -eu
cd -P "$(dirname "$0")/.."
here=$(pwd -P)
locks="requirements.lock${1:+ requirements-$1.lock}"
[ -t 2 ] && quiet= || quiet=--quiet

# Scripts in .venv/bin hold the folder's name, so an environment that was moved or copied here is made anew.
usable() { .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && grep -qsF "$here/.venv" .venv/bin/activate; }
state() { cat "$1" settings.ini pyproject.toml setup.py | cksum; }
ready() { [ "$(cat ".venv/.ready-$1" 2>/dev/null)" = "$(state "$1")" ]; }

find_python() {
    for p in "${PYTHON:-}" python3.13 python3.12 python3.11 python3 python; do
        if [ -n "$p" ] && "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11) or sys.prefix == sys.argv[1])' "$here/.venv" 2>/dev/null
        then echo "$p"; return; fi
    done
    if command -v uv >/dev/null; then uv python find --system --no-python-downloads '>=3.11' 2>/dev/null || true; fi
}

install() {  # pip's arguments; uv when it is there, as it is many times faster
    if command -v uv >/dev/null; then uv pip install $quiet --python .venv/bin/python --no-deps "$@"
    else .venv/bin/python -m pip install $quiet --disable-pip-version-check --no-deps "$@"; fi
}

if ! usable; then
    python=$(find_python)
    if [ -z "$python" ]; then
        echo "lesson8 needs Python 3.11 or newer and found none. Install one (from python.org, your system's packages, or with" >&2
        echo "'uv python install 3.12') and try again; 'make run PYTHON=/path/to/python' names one that is not on the PATH." >&2
        exit 1
    fi
    echo "Setting up .venv with $("$python" -V): about 6.5 GB on disk and 5 to 20 minutes, once."
    rm -rf .venv
    if command -v uv >/dev/null; then uv venv --quiet --python "$python" .venv
    elif ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "'$python -m venv' failed. On Debian and Ubuntu it needs the package python3-venv; elsewhere install uv and try again." >&2
        exit 1
    fi
fi

for lock in $locks; do
    if ready "$lock"; then continue; fi
    rm -f ".venv/.ready-$lock"
    echo "Installing what $lock says."
    install --require-hashes -r "$lock"  # the lock is complete: nothing is left to resolve
    [ "$lock" != requirements.lock ] || (export PYTHONWARNINGS=ignore; install --no-build-isolation -e .)
    state "$lock" > ".venv/.ready-$lock"
done
