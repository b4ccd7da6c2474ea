# Every target shares one virtual environment, which is made and filled when it is first needed.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# The first of these that is Python 3.11 or newer; `make PYTHON=/path/to/python ...` names another.
PYTHON ?= python3 python3.12 python3.11
# Processes that run tests, each with one thread of arithmetic.
WORKERS ?= 2
MINUTES ?= 10
TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help quickstart leaderboard registry test test-slow chaos ddp-table check format

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

quickstart: $(READY)  ## run every method on the embedded digits and print the table
	$(BIN)/ltbench run --grid quickstart

leaderboard: $(READY)  ## write results, docs/methods.md and the README's table from the records
	$(BIN)/ltbench leaderboard --published-only --readme README.md --methods docs/methods.md

registry: $(READY)  ## write ltbench/methods/registry.json from the classes
	$(BIN)/python -m ltbench.methods.registry

test: check  ## check the code and run the fast tests
	$(TESTS) -m "not slow" -n $(WORKERS) --dist worksteal

# pytest ends with 5 where it finds no test; there may be no slow one.
test-slow: $(READY)  ## run the long end-to-end tests
	$(TESTS) -m slow --durations 10 || test $$? -eq 5

chaos: $(READY)  ## kill workers and trainers at random for MINUTES (10), and compare the records
	OMP_NUM_THREADS=1 $(BIN)/python tests/end_to_end/chaos.py --minutes $(MINUTES)

ddp-table: $(READY)  ## write docs/ddp.md: every method on 1, 2 and 4 ranks
	OMP_NUM_THREADS=1 $(BIN)/python tests/contract/ddp_table.py docs/ddp.md

check: $(READY)  ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)  ## format the code and mend what lint can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# pip comes last into a new environment: without it the environment was left unfinished.
$(READY): pyproject.toml ltbench/__init__.py
	@test -x $(BIN)/pip || { \
	  for python in $(PYTHON); do \
	    $$python -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' 2>/dev/null && break; \
	    python=; \
	  done; \
	  test -n "$$python" || { \
	    echo 'ltbench needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }; \
	  echo "$$python -m venv $(VENV)"; $$python -m venv --clear $(VENV); }
	@echo 'Installing into $(VENV), which takes some minutes once.'
	$(BIN)/pip install --quiet --editable '.[dev]'
	@touch $@
