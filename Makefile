# `make demo` runs the demonstration, `make up` leaves a Stella running to try (`make up HOSTS=sim:5`: without root and virtual
# machines), `make down` removes it, `make test` passes the tests. Each sets up what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
PYTHON := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)

HOSTS ?= lab

.PHONY: setup demo up down test test-faults test-browser check check-types test-dashboard figures figures-contention format clean

setup:
	@scripts/setup.sh

demo: setup
	@$(PYTHON) -m stella.cmd.stella_bench demo --output results/demo

up:
	@scripts/setup.sh $(if $(filter sim:%,$(HOSTS)),--without-packages)
	@$(PYTHON) -m stella.cmd.stella_bench up --hosts '$(subst ','\'',$(HOSTS))'

down:
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m stella.cmd.stella_bench down; fi

test: check
	@$(PYTHON) -m pytest -n 4 --dist loadfile --no-loadscope-reorder -m 'not vm' --ignore-glob '*/test_network_*' \
	  tests/faults tests/functional/test_schemathesis.py tests/functional tests/agent -p no:cacheprovider --timeout 600
	@$(PYTHON) -m pytest tests/functional/test_network_*.py -p no:cacheprovider --timeout 120
	@scripts/browser.sh
	@$(PYTHON) -m pytest tests/browser -m quick -p no:cacheprovider --timeout 120
	@$(PYTHON) -m pytest tests/vm -p no:cacheprovider --timeout 600

# Every fault of docs/faults.md on real parts, but for those that need `make openstack`; the table is in results/faults.
test-faults: setup
	@$(PYTHON) -m tests.faults

# Types are checked and the dashboard is tested side by side, each on one CPU; the unit tests take two.
check: setup
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target check-types test-dashboard
	@$(PYTHON) -m pytest -n 2 --dist loadfile tests/unit tests/property plugins/python-stellaclient/tests plugins/stella-nova/tests

check-types:
	@ruff check stella tests scripts plugins deploy
	@ruff format --check -q stella tests scripts plugins deploy
	@mypy
	@mypy --strict -p stellaclient
	@MYPYPATH=plugins/stella-nova mypy --strict -p stella_nova
	@MYPYPATH=deploy mypy --strict -p laboratory
	@lint-imports --no-cache | tail -n 4

test-dashboard:
	@scripts/test-stella-dashboard.sh

# Chromium on the dashboard, against stella-api in this process: each action in both languages. `make test` has the quick ones alone.
test-browser: setup
	@scripts/browser.sh
	@$(PYTHON) -m pytest -n 2 --dist loadfile tests/browser -p no:cacheprovider --timeout 300

figures: setup
	@$(PYTHON) -m stella.cmd.stella_bench figures --output results/figures --document docs/benchmarks.md

# Full uplinks and back ends: ten minutes.
figures-contention: setup
	@$(PYTHON) -m stella.cmd.stella_bench figures --only contention --repeat 1 --output results/contention --document docs/contention.md

format:
	@ruff format stella tests scripts plugins deploy; ruff check --fix -q stella tests scripts plugins deploy

clean: down
	@rm -rf .run results

include deploy/openstack.mk
