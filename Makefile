# Every target sets up its own environment in .venv, once; `make env` does only that.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin

# uv reads another variable than pip for a folder or page of wheels; what serves one serves the other.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# Tiny models are many times slower on several threads that share two cores.
test: export OMP_NUM_THREADS := 1

.PHONY: help env demo test check golden chaos

help:
	@echo "make demo    the whole method on the embedded theatre, then a report"
	@echo "make test    all tests that need no accelerator and no network"
	@echo "make check   format, lint, types, import contracts"
	@echo "make chaos   describing, killed KILLS=2000 times; counts what was lost, duplicated, torn"
	@echo "make golden  write the golden files anew; read the difference before you commit it"
	@echo "make env     only the environment in .venv"

env: .venv/.ready

# The stamp is younger than what it was made from, or it is made again.
.venv/.ready: pyproject.toml constraints.txt
	if command -v uv >/dev/null; then \
		[ -x $(BIN)/python ] || uv venv --quiet --python $(PYTHON) .venv; \
		uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
		[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear .venv; \
		$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	touch $@

demo: .venv/.ready
	$(BIN)/mien demo

test: .venv/.ready
	$(BIN)/python -m pytest -n 2 -m "not slow and not gpu and not network"

check: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

KILLS ?= 2000
chaos: export OMP_NUM_THREADS := 1
chaos: .venv/.ready
	$(BIN)/python scripts/chaos.py --kills $(KILLS)

golden: .venv/.ready
	$(BIN)/python -m pytest -q tests/golden --write-golden
