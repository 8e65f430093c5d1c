# What a developer and an operator type. `make` alone prints this list.
# Every target sets up what it needs in .venv first: no root, no activation; see scripts/bootstrap.sh.

.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

PY := .venv/bin/python
NJORD_LOG_DIR ?= var/log/njord
WORKERS ?= auto
ARGS ?=

# make run FEED=path VENUE=binance SYMBOL=BTC/USDT becomes --feed path --venue binance --symbol BTC/USDT.
FLAGS = $(if $(FEED),--feed "$(FEED)") $(if $(VENUE),--venue "$(VENUE)") $(if $(SYMBOL),--symbol "$(SYMBOL)")

.PHONY: help install runtime present fmt lint type test test-rest test-all check hooks lock docs bench clean \
        run run-redis run-md run-risk run-paper run-strat run-bars run-kill-trip run-kill-clear check-kill journal rehearse torture mutants

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## "; print "usage: make TARGET [FEED=… VENUE=… SYMBOL=… ARGS=\"…\" PYTHON=…]" } \
	  /^## / { printf "\n%s\n", substr($$0, 4) } \
	  /^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

## Set up
install: ## Create .venv with everything for development (locked, hash-checked)
	@scripts/bootstrap.sh dev

runtime: ## Create .venv with what the daemons need, no more
	@scripts/bootstrap.sh runtime

hooks: install ## Have git run the checks before each commit
	@$(PY) -m pre_commit install --hook-type pre-commit --hook-type commit-msg

lock: install ## Renew the lock files from pyproject.toml (ARGS=--upgrade for newer versions)
	@scripts/lock.sh $(ARGS)

clean: ## Remove .venv, caches and build output; journals in var/ stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# What must work in an emergency does not wait for an update: any .venv will do.
present:
	@[ -x $(PY) ] || scripts/bootstrap.sh runtime

## Guardrails
fmt: install ## Format the code and mend what ruff can mend
	@$(PY) -m ruff check --fix-only --quiet .
	@$(PY) -m ruff format .

lint: install ## Style, layers between packages, ambient state in decision code, stale generated docs
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@PYTHONPATH=. .venv/bin/lint-imports --no-logo
	@$(PY) -m scripts.check_ambient
	@$(PY) -m scripts.generate_docs --check

type: install ## mypy --strict
	@$(PY) -m mypy

test: install ## The quick suite (ARGS="-k name" or a path: those tests, however long they take)
	@$(PY) -m pytest -n $(WORKERS) --quick $(ARGS)

test-rest: install ## What the quick suite leaves out: real processes, kill tests, seeds by the hundred
	@$(PY) -m pytest -n $(WORKERS) -m "full and not slow" $(ARGS)

test-all: install ## The whole suite
	@$(PY) -m pytest -n $(WORKERS) $(ARGS)

check: lint type test ## lint, type and the quick suite

rehearse: install ## The fleet on virtual time under seeded faults, then everything must add up (ARGS="--seeds 5000")
	@$(PY) -m backtest.simulation.rehearsal $(ARGS)

torture: install ## Kill real processes hundreds of times and look for anything lost or done twice (ARGS="--seed 7")
	@$(PY) -m scripts.torture $(ARGS)

## Run
run: runtime ## The whole fleet in one process, without Redis (FEED, VENUE, SYMBOL, ARGS)
	@$(PY) -m apps.fleet $(FLAGS) $(ARGS)

run-redis: install ## A private Redis on loopback in the foreground, its data in var/redis
	@$(PY) -m scripts.run_redis

run-md: runtime ## Market data ingestion over Redis
	@$(PY) -m apps.md_ingest $(FLAGS) $(ARGS)

run-bars: runtime ## Bar aggregation over Redis
	@$(PY) -m apps.ohlcv_aggregator $(ARGS)

run-strat: runtime ## Strategy runner over Redis
	@$(PY) -m apps.strategy_runner $(ARGS)

run-risk: runtime ## Risk engine over Redis
	@$(PY) -m apps.risk_engine $(ARGS)

run-paper: runtime ## Paper trader over Redis
	@$(PY) -m apps.paper_trader $(ARGS)

## Kill switch
run-kill-trip: present ## Stop all trading now
	@$(PY) scripts/njord_kill.py trip $(ARGS)

run-kill-clear: present ## Let trading go on
	@$(PY) scripts/njord_kill.py clear $(ARGS)

check-kill: present ## Whether trading is stopped, and by what
	@$(PY) scripts/njord_kill.py status $(ARGS)

## Look
journal: ## Follow the journals as they grow
	@ls $(NJORD_LOG_DIR)/*.ndjson >/dev/null 2>&1 || { \
	  echo "no journals in $(NJORD_LOG_DIR) yet: the daemons write there (make run-md …); those of a run in one" \
	    "process are in a folder of its own: make journal NJORD_LOG_DIR=var/runs/…/journals" >&2; exit 1; }
	@tail -n 5 -F $(NJORD_LOG_DIR)/*.ndjson

bench: install ## Measure against bare libraries on this machine
	@$(PY) -m benchmarks $(ARGS)

mutants: install ## Change the code at random and see which changes no test notices (ARGS="core/position_ledger.py --sample 50")
	@$(PY) -m scripts.mutants $(ARGS)

docs: install ## Rewrite the generated tables of the documentation
	@$(PY) -m scripts.generate_docs
