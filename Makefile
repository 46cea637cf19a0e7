# Bare `make` prints this file's targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Where `make run` keeps its database, keys and trust anchor.
DATA ?= data

.DEFAULT_GOAL := help
.PHONY: help demo run test soak check format bench docs lock build keep-db clean

help: ## Show the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## Start a server, issue a certificate, serve it, check it, clean up
	@$(BIN)/python -m demo.run

run: $(VENV)/.run ## Serve for good from DATA (default: ./data)
	@CERTCTL_DATA_DIR=$(DATA) exec $(BIN)/certctl server

test: $(VENV)/.dev ## Run every test, on SQLite and on PostgreSQL
	$(BIN)/pytest -m "not soak" -n auto --maxprocesses 4 --dist worksteal

soak: $(VENV)/.dev ## Run the long forms of the tests
	$(BIN)/pytest -m soak

check: $(VENV)/.dev ## Lint, types, layers, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sphinx-build -q -W -b html docs docs/_build/html

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure: issuances per second, start-up, memory
	$(BIN)/python -m benchmarks

docs: $(VENV)/.dev ## Build the documentation into docs/_build/html
	$(BIN)/sphinx-build -b html docs docs/_build/html

build: $(VENV)/.dev ## Build the wheel into dist/
	$(BIN)/python -m hatchling build -t wheel

keep-db: $(VENV)/.dev ## Keep a database of this release in tests/releases/
	$(BIN)/python -m tests.releases.make_database

UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url
lock: $(VENV)/.dev ## Renew the versions and hashes in requirements/
	$(UV_COMPILE) --upgrade requirements/build.in -o requirements/build.txt
	$(UV_COMPILE) --upgrade pyproject.toml -o requirements/run.txt
	$(UV_COMPILE) --upgrade pyproject.toml requirements/dev.in -c requirements/run.txt -o requirements/dev.txt

clean: ## Remove the environment and everything built
	rm -rf $(VENV) dist docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis

PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python requirements/build.txt requirements/run.txt pyproject.toml
	@echo "Installing certctl into $(VENV) (once, about half a minute)"
	@$(PIP_INSTALL) --require-hashes -r requirements/build.txt -r requirements/run.txt
	@$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "Installing what the tests and checks need into $(VENV) (once, about a minute)"
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@
