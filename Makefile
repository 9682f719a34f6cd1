PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install serve test lint phantom

$(BIN)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[model,serve]'
	touch $@

$(BIN)/.tested: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[model,serve,dev]'
	touch $@

install: $(BIN)/.installed

serve: install
	$(BIN)/python -m deployments serve_config.yaml

test: $(BIN)/.tested
	$(BIN)/python -m pytest

lint: $(BIN)/.tested
	$(BIN)/ruff check .
	$(BIN)/mypy medinterp deployments

phantom: install
	$(BIN)/medinterp phantom train --out medinterp/phantom/weights
	$(BIN)/medinterp evaluate --report --films 1000
