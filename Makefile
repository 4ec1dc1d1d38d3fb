# make bench   from a fresh clone to a report               make test   all tests but those of several machines
# make check   lint, types, and the tests of what changed   make lint   style, floors and rooms
# make hooks   run the checks at every commit               make types  static types
# make docs    the documentation as a site, build/docs
# Each sets up the environment it needs, and again only when pyproject.toml changes. VENV=DIR picks another folder.

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
RESULTS ?= results/quick

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help bench test check lint types docs hooks clean

help:
	@sed -n 's/^# //p' Makefile

bench: $(VENV)/.installed
	$(BIN)/splitbench run quick --results $(RESULTS); status=$$?; \
	  [ $$status -gt 1 ] || $(BIN)/splitbench report $(RESULTS) --out $(RESULTS)/report.html || exit; exit $$status

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m 'not cluster' -n 2 --dist loadfile --no-loadscope-reorder

check: lint types
	$(BIN)/python .ci/changed_tests.py | xargs $(BIN)/python -m pytest -m 'not cluster and not ray and not slow' -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/rooms.py > /dev/null

types: $(VENV)/.installed-dev
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=. $(BIN)/mkdocs build --strict --quiet --config-file .ci/docs/mkdocs.yml --site-dir $(CURDIR)/build/docs

hooks: $(VENV)/.installed-dev
	$(BIN)/pre-commit install

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

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@ $(VENV)/.installed-test $(VENV)/.installed
