# `make help` lists what there is. Everything installs what it needs; PYTHON=python3.12 chooses an interpreter.
SHELL := /bin/bash
BIN := .venv/bin
PYTEST_ARGS ?= -n 3 --dist load --maxschedchunk 4
RESOLVE = .boot/bin/uv pip compile -q --system-certs --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
export PYTHON
unexport PYTHONDONTWRITEBYTECODE # the tests start hundreds of processes, and each would compile every module anew

.DEFAULT_GOAL := help
.PHONY: help setup tools services run demo test test-all check lint types layers unit faults bench lighthouse screenshots audit sbom lock clean


help: ## list the targets
	@sed -nE 's/^([a-z-]+):[^#]*## /  \1\t/p' Makefile | expand -t 16

setup: ## install the service into .venv; afterwards .venv/bin/nurture works
	@.ci/setup requirements.lock

run: setup ## serve on http://127.0.0.1:8000 with a local outbox
	@$(BIN)/nurture init
	@exec $(BIN)/nurture serve

demo: setup ## the main job in under a minute, without a browser
	@exec $(BIN)/nurture demo

test: services ## lint, types, layers and every test
	@$(MAKE) --no-print-directory lint types layers unit

test-all: services ## the same, with every test that uses a database on SQLite and on PostgreSQL
	@TESTS=all $(MAKE) --no-print-directory lint types layers unit PYTEST_ARGS="$(PYTEST_ARGS) --both-databases"

check: tools ## the inner loop: lint, types, layers, and the tests that need no server
	@$(MAKE) --no-print-directory lint types layers
	$(BIN)/python -m pytest -n 2 -k "not postgresql" tests/domain tests/house tests/letters tests/store

tools: # the service with the tools of its tests
	@.ci/setup tests/requirements.lock

services: # and the servers and the browser they use
	@.ci/provision python postgresql redis chromium spamassassin
	@.ci/setup tests/requirements.lock

lint: tools ## style
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .

types: tools ## mypy, strict
	$(BIN)/mypy

layers: tools ## imports only point down
	@echo $(BIN)/lint-imports; said=$$($(BIN)/lint-imports --no-cache) || { echo "$$said"; exit 1; }

unit: services ## every test; PYTEST_ARGS="-x tests/domain" chooses
	$(BIN)/python -m pytest $(PYTEST_ARGS)

faults: services ## the whole proof that no mail is lost or doubled; FAULTS_SEED=… repeats a run, FAULTS_ONLY=… chooses
	@FAULTS=full $(BIN)/python -m pytest -n 2 --dist worksteal --timeout 0 --show-capture=no \
		$(if $(FAULTS_ONLY),-k "$(FAULTS_ONLY)") tests/faults tests/delivery/test_safety_checks.py tests/test_dispatch.py \
		tests/test_stopping.py tests/domain/test_send_cycle.py

bench: services ## the benchmarks, each as a table with ratios
	@$(BIN)/python -m tests.benchmarks

lighthouse: services ## scores of the desk's pages, and their first load; needs Node.js and npm
	@$(BIN)/python -m tests.lighthouse

screenshots: services ## pictures of every page into docs/screenshots
	@$(BIN)/python -m tests.screenshots

audit: tools ## known vulnerabilities of the dependencies; fails where no source of advisories answers
	@.ci/audit

sbom: tools ## a bill of materials of what is shipped (CycloneDX), into dist/sbom.cdx.json
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-format JSON --output-file dist/sbom.cdx.json
	@echo dist/sbom.cdx.json

lock: tools ## resolve the dependencies anew into the locks
	uv=$$(grep -o '^uv==[0-9.]*' .ci/requirements.lock) && echo "$$uv" | $(RESOLVE) - -o .ci/requirements.lock
	$(RESOLVE) --upgrade --group build pyproject.toml -o requirements.lock
	$(RESOLVE) --upgrade --group build --extra test -c requirements.lock pyproject.toml -o tests/requirements.lock

clean: ## remove what was installed and built; keeps instance/
	rm -rf .venv .boot .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
