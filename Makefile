# make run and make test are all a learner needs; `make help` lists the rest. Each target first brings .venv up to date
# (tools/setup_env.sh), which takes no time when it is. PYTHON=/path/to/python chooses the interpreter of a new one.
# Where there is no make, `python -m lesson8 run|test|lab|docs|refresh [NB]` does the same: these targets call it.
SHELL := /bin/sh
PY := .venv/bin/python
ENV := PYTHON="$(PYTHON)" sh tools/setup_env.sh
COURSE := $(PY) -m lesson8
export PATH := $(CURDIR)/.venv/bin:$(PATH)

NB ?=
FLAGS ?=
ARGS ?=
PART ?= 2
# UPGRADE= (empty) keeps the versions that are locked already.
UPGRADE ?= --upgrade
LOCK := uv pip compile --quiet $(UPGRADE) --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock" --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help env run test lab docs refresh bench bump lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s%s\n", $$1, $$2}' Makefile

env:  ## set up .venv or bring it up to date
	@$(ENV)

run: env  ## run copies of all notebooks (NB=03: of one; FLAGS=gpu: GPU cells too) and render the site in _docs/
	@$(COURSE) run $(NB) $(if $(FLAGS),--flags $(FLAGS))

test: env  ## run all tests, the notebooks among them (NB=03: of one chapter; ARGS="-k fetch": what pytest is to get)
	@$(COURSE) test $(NB) -- $(ARGS)

lab: env  ## open JupyterLab on the notebooks (NB=03: on one)
	@$(COURSE) lab $(NB) -- $(ARGS)

docs: env  ## render the site with the saved outputs in _docs/, with Quarto if it is installed
	@$(COURSE) docs

refresh: env  ## export, run in place and clean all notebooks (NB=03: one), remake README.md: changes tracked files
	@$(COURSE) refresh $(NB)

bench:  ## measure this package and its peers side by side (NAME=import_time: one subject); writes bench/results/
	@$(ENV) bench
	@for f in bench/$(or $(NAME),[a-z]*).py; do echo "$$f"; OMP_NUM_THREADS=1 $(PY) $$f || exit 1; done

bump: env  ## raise the version by a patch (PART=1: minor, PART=0: major), in the notebooks' install cells, too
	@nbdev-bump-version --part $(PART)
	@$(PY) tools/install_cell.py
	@echo "Now say in CHANGELOG.md what changed, commit, and tag: git tag v$$($(PY) -c 'import lesson8; print(lesson8.__version__)')"

lock: env  ## resolve the requirements of settings.ini anew (needs uv; UPGRADE= keeps what is locked already)
	@$(LOCK) --extra course --extra lab --extra dev -o requirements.lock pyproject.toml
	@$(PY) -c "from configparser import *; c = ConfigParser(); c.read('settings.ini'); print(c['DEFAULT']['bench_requirements'])" | \
	$(LOCK) -c requirements.lock -o requirements-bench.lock -
	@$(ENV)

clean:  ## remove all that was made, but not .venv, downloaded data and results
	rm -rf _docs _proc _run build dist .pytest_cache .hypothesis lesson8.egg-info
	find lesson8 tests tools bench nbs -name __pycache__ -o -name .ipynb_checkpoints -o -name .hypothesis | xargs rm -rf
