# Every target first creates the environment in .venv, once.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin

# pip and uv read different variables for a folder or page of wheels; setting one is enough.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
# On a few cores, tiny models are much slower with several threads.
test: export OMP_NUM_THREADS := 1

.PHONY: help env demo test fuzz check golden chaos

help:
	@echo "make demo    run the whole method on Playhouse, a small drawn world"
	@echo "make test    run all tests that need neither an accelerator nor a network"
	@echo "make fuzz    read thousands of mutated images, clips, manifests and stores"
	@echo "make check   check format, lint, types and import contracts"
	@echo "make chaos   kill every command that writes, KILLS=500 times in all; count what is torn, lost or left"
	@echo "make golden  rewrite the golden files; review the diff before you commit"
	@echo "make env     create the environment in .venv"

env: .venv/.ready

# The stamp is newer than the files that define the environment; otherwise it is rebuilt.
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
	$(BIN)/python -m pytest -n 2 -m "not slow and not gpu and not network and not fuzz"

fuzz: export OMP_NUM_THREADS := 1
fuzz: .venv/.ready
	$(BIN)/python -m pytest -n 2 -m fuzz tests/fuzz

check: .venv/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/check_prose.py

KILLS ?= 500
chaos: export OMP_NUM_THREADS := 1
chaos: .venv/.ready
	$(BIN)/python scripts/chaos.py --kills $(KILLS)

golden: .venv/.ready
	$(BIN)/python -m pytest -q tests/golden --write-golden
