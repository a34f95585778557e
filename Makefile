# Both commands set everything up themselves: they need Python 3.11 or newer, make and a C compiler.
PYTHON ?= python3
# Installed first, so that nothing else pulls another build of it.
TORCH ?= torch==2.13.0
# Kernels are tested in Triton's interpreter. It stays out of the environment itself, where transformers
# would take it as a sign of a GPU. A platform without a wheel goes without these tests.
TRITON ?= triton>=3.5,<4
BIN := .venv/bin
IN_TRITON := TRITON_INTERPRET=1 PYTHONPATH=.venv/triton-site $(BIN)/python -m pytest tests/kernels/triton

.PHONY: quickstart test test-clients slow format clean

quickstart: .venv/core
	$(BIN)/derailleur run recipes/quickstart.yaml --out runs/quickstart

test: .venv/dev .venv/triton
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest
	if [ -s .venv/triton ]; then cat .venv/triton; else $(IN_TRITON); fi

# Real clients and broken ones against a real server.
test-clients: .venv/clients
	$(BIN)/python -m pytest tests/clients -m "clients and not slow"

slow: .venv/dev .venv/triton
	$(BIN)/python -m pytest -m slow
	if [ -s .venv/triton ]; then cat .venv/triton; else $(IN_TRITON) -m slow; fi

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

.venv/clients: .venv/dev
	$(BIN)/python -m pip install --quiet --editable ".[dev,clients]"
	touch $@

# Empty, or why there is no Triton.
.venv/triton: .venv/core
	rm -rf .venv/triton-site
	$(BIN)/python -m pip install --quiet --no-deps --target .venv/triton-site "$(TRITON)" && : > $@ \
		|| echo "Triton could not be installed: its kernels are not tested here; rm $@ tries again" > $@
