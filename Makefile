# Few verbs; CI runs the same ones. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo test check fmt bench faults lock clean
PY := .venv/bin/python

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

setup: ## .venv with everything that the other verbs need
	@deploy/dev/setup.sh

demo: setup ## three real calls through a real LiveKit server
	@deploy/dev/system-packages.sh espeak-ng
	@$(PY) -m router.demo.livekit_server >/dev/null
	@.venv/bin/persona-router demo

test: setup ## all tests; ARGS go to pytest
	@deploy/dev/system-packages.sh espeak-ng postgresql redis-server chromium prometheus
	@$(PY) -m router.demo.livekit_server >/dev/null || [ "$$CI" != true ] # its tests are skipped then
	@$(PY) -m pytest -n 3 $(ARGS)

check: setup ## formatting, lint, types, import rules
	@$(PY) -m ruff check
	@$(PY) -m ruff format --check
	@$(PY) -m mypy
	@.venv/bin/lint-imports

fmt: setup ## format, and fix what ruff can fix
	@$(PY) -m ruff check --fix --exit-zero
	@$(PY) -m ruff format

bench: setup ## the figures of BENCH.md
	@$(PY) -m router.demo.livekit_server >/dev/null
	@$(PY) -m tests.bench

faults: setup ## everything that may break, broken on purpose; writes FAULTS.md
	@deploy/dev/system-packages.sh espeak-ng postgresql redis-server
	@$(PY) -m router.demo.livekit_server >/dev/null
	@$(PY) -m tests.faults $(ARGS)

lock: ## hash-pinned requirements from pyproject.toml; UPGRADE=1 takes the newest versions
	@deploy/requirements/lock.sh $(if $(UPGRADE),--upgrade)

clean: ## remove .venv and every cache of this folder
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	@find agent personas router tests -name __pycache__ -type d -prune -exec rm -rf {} +
