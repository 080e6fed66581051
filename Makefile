# `make demo` shows it, `make check` is the gate. Both make .venv first; nothing but the package index is reached over the network.

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt lint types layers docs clean

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
export HF_HUB_OFFLINE := 1

help: ## what there is
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 10

# A stamp: installed again when what is asked for changes, and only then.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -c constraints.txt -e ".[dev,data]"
	touch $@

demo: .venv/.installed ## a prompt, learned and shown on the embedded model
	$(BIN)/promptatlas demo

test: .venv/.installed ## tests, warnings as errors; README and docs are run among them (ARGS="-m slow" for others)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 $(ARGS)

check: lint types layers test ## all that CI runs

fmt: .venv/.installed ## format, and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lint: .venv/.installed ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed ## mypy --strict
	$(BIN)/mypy

layers: .venv/.installed ## who may import whom
	$(BIN)/lint-imports --no-logo

docs: .venv/.installed ## run every block of README and docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_docs.py $(ARGS)

clean: ## all that was made, .venv too
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find src -name '*.egg-info' -type d -prune -exec rm -rf {} +
