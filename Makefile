PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install serve test lint bench phantom

$(BIN)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[model,serve,dicom]'
	touch $@

$(BIN)/.tested: $(BIN)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[model,serve,dicom,dev]'
	touch $@

install: $(BIN)/.installed

serve: install
	$(BIN)/python -m deployments serve_config.yaml

test: $(BIN)/.tested
	$(BIN)/python -m pytest

lint: $(BIN)/.tested
	$(BIN)/ruff check .
	$(BIN)/mypy medinterp deployments

bench: install
	$(BIN)/medinterp bench

phantom: install
	$(BIN)/medinterp phantom train --out medinterp/phantom/weights
	$(BIN)/medinterp calibrate phantom --synthetic 40 --out medinterp/phantom/weights/calibration.json
	$(BIN)/medinterp domain --synthetic 1000 --out medinterp/phantom/weights/films.json
	$(BIN)/medinterp evaluate --report --films 1000
	$(BIN)/medinterp evaluate --localisation --films 500
