# Everything a developer does, one word each. `make` alone prints the list.

PYTHON ?= python3
VENV ?= .venv
TORCH_FIND_LINKS ?=
SLOW ?= slow
WORKERS ?= 2

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

# Some machines set this; without bytecode on disk every import takes about three times longer.
unexport PYTHONDONTWRITEBYTECODE

BIN := $(VENV)/bin
PY := $(BIN)/python
STAMP := $(VENV)/.setup-done
# Whole modules go to a worker, so that what they share (a server, a cycle) is made once.
PARALLEL = --numprocesses $(WORKERS) --dist loadscope
BENCHES = $(wildcard tests/bench/bench_*.py)
CACHES := .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
GENERATED_DATA = $(filter-out data/, $(shell git ls-files --others --ignored --exclude-standard --directory data))

.PHONY: help setup run test test-slow check lint types bench ui screenshots docs golden clean clean-data clean-all

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  PYTHON=python3.12            interpreter for the environment (3.11 to 3.13)"
	@echo "  VENV=.venv                   where the environment lives"
	@echo "  COMPARISON=FILE              of tessera compare, pictured by make screenshots too"
	@echo "  SLOW='slow and not long'     which tests test-slow runs; these are CI's"
	@echo "  WORKERS=2                    processes that share the tests; about 1.5 GB each"
	@echo "  TORCH_FIND_LINKS=URL|FOLDER  where pip may find another build of torch, as the CPU wheels"

setup: $(STAMP)  ## make .venv and install everything, once

run: setup  ## run the whole cycle on simulated scenes, from scene to audit
	$(BIN)/tessera retrain

test: setup  ## run the tests that need no GPU and little time
	$(PY) -m pytest -m "not slow and not gpu" -rs $(PARALLEL)

test-slow: setup  ## run the slow tests: whole cycles, servers, real clients
	$(PY) -m pytest -m "$(SLOW)" -rs --durations=20 $(PARALLEL)

check: lint types test docs  ## everything that must pass before a commit

lint: setup  ## check style, layout, layers and spelling
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell

types: setup  ## check types (mypy --strict)
	$(PY) -m mypy

bench: setup  ## measure speed; prints one table per tests/bench/bench_*.py
	@for script in $(BENCHES); do echo "== $$script"; PYTHONPATH=. $(PY) "$$script"; done

ui: setup  ## serve the MLflow and Prefect pages of your runs
	$(BIN)/tessera ui

screenshots: setup  ## retake docs/img/mlflow-*.png from this checkout's runs (needs Chromium)
	PYTHONPATH=. $(PY) -m tests.pages.mlflow_pages . docs/img $(COMPARISON)

docs: setup  ## build the documentation into site/; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

golden: setup  ## record the golden files anew and show what moved
	$(PY) -m pytest tests/golden --bless -rs
	git --no-pager diff --stat -- tests/golden

clean:  ## remove caches and build results
	rm -rf $(CACHES) build dist site *.egg-info
	find tessera_core flows tests -name __pycache__ -type d -prune -exec rm -rf {} +

clean-data:  ## remove generated data, its lineage, and the tracking databases (not DVC's cache)
	rm -rf .mlflow .prefect $(GENERATED_DATA)

clean-all: clean clean-data  ## remove all of that and the environment
	@if [ -e $(VENV)/pyvenv.cfg ]; then echo "rm -rf $(VENV)"; rm -rf $(VENV); fi

# pip writes bytecode itself unless told otherwise by its configuration; compileall then finds
# nothing to do. Some packages carry sources that are broken on purpose, hence `|| true`.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "make setup: $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo not there); Tessera needs Python 3.11, 3.12 or 3.13." >&2; \
	  echo "Name one of them: make setup PYTHON=python3.12" >&2; exit 2; }
	@if [ -z "$(TORCH_FIND_LINKS)" ] && ! command -v nvidia-smi >/dev/null; then \
	  echo "No NVIDIA GPU seen. Where pip knows no CPU build of torch it takes the CUDA one (some 3 GB);"; \
	  echo "TORCH_FIND_LINKS=<URL or folder with CPU wheels> avoids that."; fi
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet $(if $(TORCH_FIND_LINKS),--find-links $(TORCH_FIND_LINKS)) -e '.[dev]' -c constraints.txt
	@$(PY) -m compileall -q -j 2 "$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" >/dev/null 2>&1 || true
	@$(PY) -m compileall -q -j 2 tessera_core flows
	@$(PY) -m tessera_core.pretrain.warm
	@$(PY) -c 'import torch; print("torch", torch.__version__, "- CUDA", torch.version.cuda or "none: CPU build")'
	@touch $(STAMP)
