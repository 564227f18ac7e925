# `make help` lists what there is. Everything installs what it needs.
SHELL := /bin/bash
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup test-setup run demo test lint types layers unit bench screenshots lock clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16

setup: ## install the service into .venv; afterwards .venv/bin/nurture works
	@.ci/setup requirements.lock

test-setup: # the service with everything its tests need
	@.ci/setup tests/requirements.lock

run: setup ## serve on http://127.0.0.1:8000 with a local outbox
	@$(BIN)/nurture init
	@exec $(BIN)/nurture serve

demo: setup ## the main job in under a minute, without a browser
	@$(BIN)/nurture demo

test: test-setup ## lint, types, layers and every test
	@.ci/provision
	@$(MAKE) --no-print-directory lint types layers unit

lint: test-setup
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .

types: test-setup
	$(BIN)/mypy

layers: test-setup
	$(BIN)/lint-imports --no-cache > /tmp/nurture-layers.$$$$ || { cat /tmp/nurture-layers.$$$$; exit 1; }; rm -f /tmp/nurture-layers.$$$$

unit: test-setup
	$(BIN)/python -m pytest -n 2 --dist loadscope

bench: test-setup ## the benchmarks, as a table with ratios
	@.ci/provision
	@$(BIN)/python -m tests.benchmarks

screenshots: test-setup ## pictures of every page into docs/screenshots
	@.ci/provision
	@$(BIN)/python -m tests.screenshots

lock: test-setup ## resolve the dependencies anew into both locks
	.boot/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements.lock
	.boot/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --extra test -c requirements.lock pyproject.toml -o tests/requirements.lock

clean: ## remove what was installed and built; keeps instance/
	rm -rf .venv .boot .mypy_cache .ruff_cache .hypothesis
