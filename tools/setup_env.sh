#!/bin/sh
# Finds a Python for tools/setup_env.py, which makes .venv what the lock files say; every target of the Makefile calls it.
#   sh tools/setup_env.sh          what the notebooks, the tests and JupyterLab need
#   sh tools/setup_env.sh bench    also the peers that bench/ measures
# PYTHON=/path/to/python chooses the interpreter of a new environment.
set -eu
cd -P "$(dirname "$0")/.."

for p in "${PYTHON:-}" .venv/bin/python python3.13 python3.12 python3.11 python3 python; do
    if [ -n "$p" ] && "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then exec "$p" tools/setup_env.py "$@"; fi
done
if command -v uv >/dev/null && p=$(uv python find --system --no-python-downloads '>=3.11' 2>/dev/null); then
    exec "$p" tools/setup_env.py "$@"
fi
echo "lesson8 needs Python 3.11 or newer and found none. Install one (from python.org, your system's packages, or with" >&2
echo "'uv python install 3.12') and try again; 'make run PYTHON=/path/to/python' names one that is not on the PATH." >&2
exit 1
