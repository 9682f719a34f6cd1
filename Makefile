PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
NODE := .ci/node
TSC := $(NODE)/node_modules/.bin/tsc

LOCKED := $(BIN)/python -m pip install --quiet --no-deps --require-hashes

.PHONY: install serve test lint audit bench faults phantom

# torch comes as your index has it, for a CPU or for CUDA; all the rest by hash.
$(BIN)/.installed: pyproject.toml constraints.txt .ci/build.lock .ci/runtime.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(LOCKED) -r .ci/build.lock
	$(LOCKED) -r .ci/runtime.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	touch $@

$(BIN)/.tested: $(BIN)/.installed .ci/dev.lock
	$(LOCKED) -r .ci/dev.lock
	touch $@

install: $(BIN)/.installed

serve: install
	$(BIN)/python -m deployments serve_config.yaml

test: $(BIN)/.tested
	$(BIN)/python -m pytest

$(NODE)/node_modules/.installed: $(NODE)/package.json $(NODE)/package-lock.json
	@command -v node >/dev/null && command -v npm >/dev/null || { \
	  echo "make lint checks the page's scripts with TypeScript: install Node.js 20 or newer, with npm" >&2; exit 1; }
	npm ci --prefix $(NODE) --no-fund --no-audit
	touch $@

lint: $(BIN)/.tested $(NODE)/node_modules/.installed
	$(BIN)/ruff check .
	$(BIN)/mypy medinterp deployments
	$(TSC) -p $(NODE)

audit: $(BIN)/.tested
	$(BIN)/python .ci/audit.py

bench: install
	$(BIN)/medinterp bench

faults: $(BIN)/.tested
	$(BIN)/python -m tests.faults

phantom: install
	$(BIN)/medinterp phantom train --out medinterp/phantom/weights
	$(BIN)/medinterp calibrate phantom --synthetic 40 --out medinterp/phantom/weights/calibration.json
	$(BIN)/medinterp domain --synthetic 1000 --out medinterp/phantom/weights/films.json
	$(BIN)/medinterp phantom train-boxes --out medinterp/phantom/boxes
	$(BIN)/medinterp evaluate --report --films 1000
	$(BIN)/medinterp evaluate --localisation --films 500
