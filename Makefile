# `make demo` and `make test` need Python 3.11 or newer and a package index; nothing else is downloaded.
PYTHON ?= python3.11
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help demo test lint types clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

demo: .venv/core  ## install, segment the bundled picture, say where the results are
	$(BIN)/car demo --out demo --overwrite

test: .venv/dev  ## install with the dev extra and run the whole suite
	$(BIN)/python -m pytest

lint: .venv/dev  ## ruff: style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/dev  ## mypy on car/
	$(BIN)/mypy

clean:  ## remove what the targets made
	rm -rf .venv build demo *.egg-info

.venv/python:
	$(PYTHON) -m venv .venv || python3 -m venv .venv
	@touch $@

# torch comes first and by its exact version: asked for loosely, Linux gets several gigabytes of CUDA packages.
.venv/core: .venv/python setup.cfg pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

.venv/dev: .venv/core
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@# pydensecrf is compiled on installation; without a C++ compiler its tests are skipped.
	-$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[crf]'
	@touch $@
