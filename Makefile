# make run and make test are all a learner needs; `make help` lists the rest. Each target first brings .venv up to date
# (tools/setup_env.sh), which takes no time when it is. PYTHON=/path/to/python chooses the interpreter of a new one.
SHELL := /bin/sh
PY := .venv/bin/python
ENV := PYTHON="$(PYTHON)" sh tools/setup_env.sh
export PATH := $(CURDIR)/.venv/bin:$(PATH)

NB ?=
FLAGS ?=
ARGS ?=
PART ?= 2
LOCK := uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock" --python-version 3.11
chosen := $(if $(NB),--nb $(NB))

.DEFAULT_GOAL := help
.PHONY: help env run test lab docs refresh bench bump lock clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s%s\n", $$1, $$2}' Makefile

env:  ## set up .venv or bring it up to date
	@$(ENV)

run: env  ## run copies of all notebooks (NB=03: of one; FLAGS=gpu: GPU cells too) and render the site in _docs/
	@rm -rf _run
	@$(if $(NB),,$(PY) tools/fetch_data.py)
	@$(PY) tools/run.py $(chosen) $(if $(FLAGS),--flags $(FLAGS)); failed=$$?; \
	$(PY) tools/docs.py --nbs _run/nbs --out _docs || failed=1; \
	echo; $(PY) tools/run.py --summary || failed=1; \
	echo; echo "The site: _docs/index.html   The executed notebooks: _run/nbs/"; [ $$failed = 0 ] || { echo "Something failed, see above." >&2; exit 1; }

test: env  ## run all tests, the notebooks among them (ARGS="-k fetch": some of them)
	@$(PY) -m pytest $(ARGS)

lab: env  ## open JupyterLab on the notebooks
	@$(PY) -m jupyter lab --notebook-dir=nbs --LabApp.news_url=None --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate $(ARGS)

docs: env  ## render the site with the saved outputs in _docs/, with Quarto if it is installed
	@$(PY) tools/docs.py --nbs nbs --out _docs

refresh: env  ## export, run in place and clean all notebooks (NB=03: one), remake README.md: changes tracked files
	@nbdev-export
	@$(PY) tools/run.py --inplace $(chosen)
	@$(PY) tools/readme.py

bench:  ## measure this package and its peers side by side (NAME=import_time: one subject); writes bench/results/
	@$(ENV) bench
	@for f in bench/$(or $(NAME),[a-z]*).py; do echo "$$f"; OMP_NUM_THREADS=1 $(PY) $$f || exit 1; done

bump: env  ## raise the version by a patch (PART=1: minor, PART=0: major)
	@nbdev-bump-version --part $(PART)
	@echo "Now say in CHANGELOG.md what changed, commit, and tag: git tag v$$($(PY) -c 'import lesson8; print(lesson8.__version__)')"

lock: env  ## resolve the requirements of settings.ini anew (needs uv)
	@$(LOCK) --extra course --extra dev -o requirements.lock pyproject.toml
	@$(PY) -c "from configparser import *; c = ConfigParser(); c.read('settings.ini'); print(c['DEFAULT']['bench_requirements'])" | \
	$(LOCK) -c requirements.lock -o requirements-bench.lock -
	@$(ENV)

clean:  ## remove all that was made, but not .venv, downloaded data and results
	rm -rf _docs _proc _run build dist .pytest_cache .hypothesis lesson8.egg-info
	find lesson8 tests tools bench nbs -name __pycache__ -o -name .ipynb_checkpoints -o -name .hypothesis | xargs rm -rf
