# Each target does the set-up that it needs, in .venv; a second run is quick. `make` alone lists the targets.
# Variables: ARGS are further arguments of the program that runs (make test ARGS="-k sweep"), PYTHON is the
# interpreter for new environments, VENV their directory.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=
export PYTHON

# The stamps: what was installed, as of the pyproject.toml of then.
RUNTIME := $(VENV)/.installed-runtime
DEV := $(VENV)/.installed-dev
EXECO := .venv-bench/.installed

.PHONY: help
help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(firstword $(MAKEFILE_LIST)) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: $(RUNTIME) ## run the demo: a parameter sweep over local processes, with a picture at the end
	$(BIN)/regisseur demo -C $(ARGS)

.PHONY: test
test: $(DEV) debian-packages ## run the tests
	$(BIN)/python -m pytest $(ARGS)

.PHONY: check
check: $(DEV) ## check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(DEV) ## put the code into the one format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: bench
bench: $(DEV) $(EXECO) ## measure, beside execo, asyncio, pykka and a loop in C
	$(BIN)/python benchmarks/run.py $(ARGS)

.PHONY: test-all
test-all: $(DEV) debian-packages ## run the tests under each CPython from 3.11 to 3.13 that is found
	$(BIN)/python tools/test_all.py $(ARGS)

.PHONY: setup
setup: $(DEV) ## only do the set-up of test and check

.PHONY: debian-packages
debian-packages:
	@tools/debian_packages.sh

.PHONY: clean
clean: ## remove what was built, and caches
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -path './.venv*' -prune -o -name __pycache__ -type d -print0 | xargs -0 --no-run-if-empty rm -rf

.PHONY: clean-all
clean-all: clean ## remove the virtual environments too
	rm -rf .venv .venv-*

# An environment that is gone or broken (its Python was upgraded away) counts as not there: then all is done anew.
$(RUNTIME): pyproject.toml tools/setup_venv.sh $(BIN)/python
	tools/setup_venv.sh $(VENV) --editable '.[plots]'
	@touch $@

$(DEV): pyproject.toml tools/setup_venv.sh $(BIN)/python
	tools/setup_venv.sh $(VENV) --editable '.[plots]' --group dev
	@touch $@ $(RUNTIME)

$(BIN)/python:
	tools/setup_venv.sh $(VENV) pip

$(EXECO): tools/setup_venv.sh
	tools/setup_venv.sh .venv-bench execo==2.8.2
	@touch $@
