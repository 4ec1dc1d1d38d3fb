# make bench   from a fresh clone to a leaderboard          make test   the tests
# make lint    style                                        make types  static types
# Each sets up the environment it needs, and again only when pyproject.toml changes. VENV=DIR picks another place.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
RESULTS ?= results/quick

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help bench test lint types clean

help:
	@sed -n 's/^# //p' Makefile

bench: $(VENV)/.installed
	$(BIN)/splitbench run quick --results $(RESULTS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m 'not cluster' -n 2 --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

clean:
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("Splitbench needs Python 3.10 or newer.") if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed-test $(VENV)/.installed
