# Both commands set everything up themselves: they need Python 3.11 or newer, make and a C compiler.
PYTHON ?= python3
# Installed first, so that nothing else pulls another build of it.
TORCH ?= torch==2.13.0
BIN := .venv/bin

.PHONY: quickstart test slow format clean

quickstart: .venv/core
	$(BIN)/derailleur run recipes/quickstart.yaml --out runs/quickstart

test: .venv/dev
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest

slow: .venv/dev
	$(BIN)/python -m pytest -m slow

format: .venv/dev
	$(BIN)/ruff format src tests benchmarks
	$(BIN)/ruff check --fix src tests benchmarks

clean:
	rm -rf .venv dist build

.venv/core: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "derailleur needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

.venv/dev: .venv/core
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@
