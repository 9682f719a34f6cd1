PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install serve test lint

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
	RAY_ENABLE_DASHBOARD=0 $(BIN)/serve run serve_config.yaml

test: $(BIN)/.tested
	$(BIN)/python -m pytest

lint: $(BIN)/.tested
	$(BIN)/ruff check .
	$(BIN)/mypy medinterp deployments
