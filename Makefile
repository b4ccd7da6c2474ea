# All targets share one virtual environment, which is created when it is first needed.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Candidates: the first that is Python 3.11 or newer; override by `make PYTHON=/path/to/python ...`.
PYTHON ?= python3 python3.12 python3.11
# Test processes, each with one thread.
WORKERS ?= 2
MINUTES ?= 10
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help quickstart gpu leaderboard registry test test-slow chaos ddp-table check format

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

# Published jobs are not trained again: without published records, all are trained here.
quickstart: $(READY)  ## train softmax and a dozen methods on the embedded digits and print the tables
	$(BIN)/ltbench run --grid quickstart --run-dir runs/quickstart --records runs/quickstart/none

gpu: $(READY)  ## train and publish what needs a GPU; without one, rehearse it; the same command resumes
	$(BIN)/python benchmarks/gpu.py

leaderboard: $(READY)  ## write results/, docs/methods.md and the README's table from the records
	$(BIN)/ltbench leaderboard --published-only --readme README.md --methods docs/methods.md

registry: $(READY)  ## write ltbench/methods/registry.json from the method classes
	$(BIN)/python -m ltbench.methods.registry

test: check  ## check the code and run the fast tests
	$(TESTS) -m "not slow" -n $(WORKERS) --dist worksteal

# pytest exits with 5 if it finds no test.
test-slow: $(READY)  ## run the long end-to-end tests
	$(TESTS) -m slow --durations 10 || test $$? -eq 5

chaos: $(READY)  ## kill workers and trainers at random for MINUTES (10), then compare the records
	OMP_NUM_THREADS=1 $(BIN)/python tests/end_to_end/chaos.py --minutes $(MINUTES)

ddp-table: $(READY)  ## write docs/ddp.md: every method on 1, 2 and 4 processes
	OMP_NUM_THREADS=1 $(BIN)/python tests/contract/ddp_table.py docs/ddp.md

check: $(READY)  ## check formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)  ## format the code and apply lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# pip is installed last into a new environment: without pip the environment is incomplete.
$(READY): pyproject.toml ltbench/__init__.py
	@test -x $(BIN)/pip || { \
	  for python in $(PYTHON); do \
	    $$python -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    python=; \
	  done; \
	  test -n "$$python" || { \
	    echo 'ltbench needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }; \
	  echo "$$python -m venv $(VENV)"; $$python -m venv --clear $(VENV); }
	@echo 'Installing into $(VENV); this takes a few minutes, once.'
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@
