# Every target first creates the environment it needs, once.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
# A Python that is asked for has an environment of its own, named after its version.
ifeq ($(origin PYTHON),file)
ENV := .venv
else
ENV := .venv-$(or $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'),$(error PYTHON=$(PYTHON) does not run))
endif
BIN := $(ENV)/bin
TOOLS := .venv-tools
DOCS := .venv-docs
LOWEST := .venv-lowest
VLLM := .venv-vllm

# pip and uv read different variables for a folder or page of wheels; setting one is enough.
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# On a few cores, tiny models are much slower with several threads.
test test-lowest fuzz chaos vllm: export OMP_NUM_THREADS := 1

.PHONY: help env demo test test-lowest fuzz vllm check golden chaos lock sbom docs notebook wheel-test

help:
	@echo "make demo         run the whole method on Playhouse, a small drawn world"
	@echo "make test         run all tests that need neither an accelerator nor a network"
	@echo "make test-lowest  run them with the oldest libraries that pyproject.toml allows"
	@echo "make fuzz         read thousands of mutated images, clips, manifests and stores"
	@echo "make vllm         run the tests of a real vLLM, in an environment of 3.5 GB; before a release"
	@echo "make check        check format, lint, types and import contracts"
	@echo "make docs         build the documentation site in build/site; warnings and broken links are errors"
	@echo "make notebook     write the tutorial as a notebook, build/tutorial.ipynb"
	@echo "make wheel-test   build the releases, and try the wheel with each extra in a clean environment"
	@echo "make chaos        kill every command that writes, KILLS=500 times in all; count what is torn, lost or left"
	@echo "make golden       rewrite the golden files; review the diff before you commit"
	@echo "make env          create the environment in .venv"
	@echo "make lock         pin what requirements/*.txt lack; ARGS=--upgrade pins the newest versions"
	@echo "make sbom         list the environment as a CycloneDX bill of materials, build/sbom.json"
	@echo "With PYTHON=python3.13 or another, a target runs in an environment of that Python, such as .venv-3.13."

env: $(ENV)/.ready

# The stamp is newer than the files that define the environment; otherwise it is rebuilt. torch is not in the lock: it
# comes from PyPI or, as a CPU build, from elsewhere, with other digests.
$(ENV)/.ready: pyproject.toml requirements/dev.txt requirements/torch.txt
	if command -v uv >/dev/null; then \
		[ -x $(BIN)/python ] || uv venv --quiet --python $(PYTHON) $(ENV); \
		pip="uv pip"; where="--quiet --python $(BIN)/python"; \
	else \
		[ -x $(BIN)/pip ] || $(PYTHON) -m venv --clear $(ENV); \
		pip="$(BIN)/pip"; where=--quiet; \
	fi; \
	$$pip install $$where --no-deps --require-hashes -r requirements/dev.txt; \
	$$pip install $$where -r requirements/torch.txt; \
	$$pip install $$where --no-deps --no-build-isolation -e .; \
	$$pip check $$where
	touch $@

$(TOOLS)/.ready: requirements/tools.txt
	python3 -m venv --clear $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --no-deps --require-hashes -r requirements/tools.txt
	touch $@

$(DOCS)/.ready: requirements/docs.txt
	python3 -m venv --clear $(DOCS)
	$(DOCS)/bin/pip install --quiet --no-deps --require-hashes -r requirements/docs.txt
	touch $@

# Without wheels from elsewhere: the oldest torch is on PyPI only.
$(LOWEST)/.ready: pyproject.toml | $(TOOLS)/.ready
	$(TOOLS)/bin/uv venv --quiet --clear --python $(PYTHON) $(LOWEST)
	UV_FIND_LINKS= $(TOOLS)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct -e '.[dev]'
	touch $@

# vLLM has its own versions of torch and transformers.
$(VLLM)/.ready: pyproject.toml requirements/vllm.txt scripts/vllm/make_environment.sh scripts/vllm/torchvision_schemas.py
	scripts/vllm/make_environment.sh $(VLLM) $(PYTHON)
	touch $@

PYTEST := -m pytest -n 2 -m "not slow and not gpu and not network and not fuzz and not vllm"

demo: $(ENV)/.ready
	$(BIN)/mien demo

test: $(ENV)/.ready
	$(BIN)/python $(PYTEST)

test-lowest: $(LOWEST)/.ready
	$(LOWEST)/bin/python $(PYTEST)

fuzz: $(ENV)/.ready
	$(BIN)/python -m pytest -n 2 -m fuzz tests/fuzz

vllm: $(VLLM)/.ready
	$(VLLM)/bin/python -m pytest -m vllm tests/vllm

check: $(ENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/check_prose.py

docs: $(ENV)/.ready $(DOCS)/.ready
	$(BIN)/python -m scripts.docs.build_site --zensical $(DOCS)/bin/zensical

notebook: $(ENV)/.ready
	$(BIN)/python -m scripts.docs.notebook $(ARGS)

wheel-test: $(ENV)/.ready $(TOOLS)/.ready
	$(TOOLS)/bin/hadolint Dockerfile
	$(BIN)/python scripts/wheel_test.py --uv $(TOOLS)/bin/uv $(ARGS)

KILLS ?= 500
chaos: $(ENV)/.ready
	$(BIN)/python scripts/chaos.py --kills $(KILLS)

golden: $(ENV)/.ready
	$(BIN)/python -m pytest -q tests/golden --write-golden

COMPILE := $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--only-binary :all: --emit-build-options --custom-compile-command "make lock"
lock: export UV_FIND_LINKS :=
lock: $(TOOLS)/.ready
	$(COMPILE) $(ARGS) pyproject.toml --extra dev --extra serve-ray -c requirements/torch.txt --no-emit-package torch \
		--excludes requirements/gpu-libraries.txt -o requirements/dev.txt
	$(COMPILE) $(ARGS) --group pyproject.toml:tools -o requirements/tools.txt
	$(COMPILE) $(ARGS) --group pyproject.toml:docs -o requirements/docs.txt

sbom: $(ENV)/.ready $(TOOLS)/.ready
	mkdir -p build
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible -o build/sbom.json $(BIN)/python
