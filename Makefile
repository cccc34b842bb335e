# `make demo` and `make test` do all their own set-up. `make help` lists the rest.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bascule
BIN := .venv/bin
UV := 0.13.9
COMPILE = $(CACHE)/lock/bin/uv pip compile $(UPGRADE) --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --no-annotate

export PIP_DISABLE_PIP_VERSION_CHECK := 1
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help venv demo test check lint fix golden docs transparency live soak bench recording cluster api schemas lock hooks clean

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: .venv/test.stamp ## the Python environment for development, as locked

demo: .venv/demo.stamp ## see it work on a bundled example: no cluster, only Python 3.11 or newer
	@$(BIN)/bascule demo

test: ## all that CI runs: lint and every test; brings what the machine lacks
	@tools/bootstrap.sh test
	@$(MAKE) --no-print-directory lint
	tools/suite.sh $(BIN)/pytest

check: lint ## what a commit must pass: lint and the golden files; seconds
	$(BIN)/pytest tests/test_golden.py tests/test_purity.py

lint: .venv/test.stamp ## ruff, mypy --strict, the import contracts, the made pages of docs/
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python tools/docs.py --check

fix: .venv/test.stamp ## let ruff mend and format what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

golden: .venv/test.stamp ## rewrite golden/ from what the commands print now; fails if anything changed
	$(BIN)/pytest tests/test_golden.py --update-golden

docs: .venv/test.stamp ## write the pages of docs/ that are made from code
	$(BIN)/python tools/docs.py

transparency: .venv/test.stamp ## measure docs/transparency.md and write it
	$(BIN)/python tools/transparency.py --write

live: .venv/test.stamp ## of the tests those on a whole cluster: faults, hostile users, lost requests, used rights
	@tools/bootstrap.sh test
	$(BIN)/pytest -m node

soak: .venv/test.stamp ## half a million requests against real nginx; half an hour
	BASCULE_FUZZ_REQUESTS=500000 $(BIN)/pytest tests/test_fuzz.py
	BASCULE_RELAY_MEGABYTES=1024 $(BIN)/pytest tests/test_relay_live.py -k much

bench: .venv/test.stamp ## run each benchmark; three quarters of an hour
	@tools/bootstrap.sh bench
	@set -e; for each in generate carrier conflicts startup idle live command relay; do echo "$$each"; $(BIN)/python "benchmarks/$$each.py"; done

recording: .venv/test.stamp ## record `bascule demo` and `bascule bridge` on a terminal, as docs/demo.svg and docs/bridge.svg
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/record.py docs/demo.svg bascule demo
	@$(BIN)/python tools/record_bridge.py docs/bridge.svg

cluster: .venv/test.stamp ## a Kubernetes of one node to try things out, until Ctrl-C; ten minutes, the first time
	@tools/bootstrap.sh test
	@$(BIN)/python -m tests.cluster up "$(CACHE)/cluster"

api: .venv/test.stamp ## only its API server: where nothing runs
	@tools/bootstrap.sh test
	@$(BIN)/python -m tests.cluster up --api-only "$(CACHE)/api"

schemas: ## cut tests/schemas/ again (downloads 108 MB)
	@python="$$(tools/bootstrap.sh python)" && "$$python" -m venv "$(CACHE)/schemas"
	"$(CACHE)/schemas/bin/pip" install --quiet --require-hashes -r requirements/schemas.txt
	"$(CACHE)/schemas/bin/python" tools/cut_schemas.py tests/schemas

lock: ## requirements/ from pyproject.toml; UPGRADE=--upgrade for the newest of all
	@python="$$(tools/bootstrap.sh python)" && "$$python" -m venv "$(CACHE)/lock"
	@"$(CACHE)/lock/bin/pip" install --quiet uv==$(UV)
	$(COMPILE) pyproject.toml --extra demo --group build -o requirements/demo.txt
	$(COMPILE) pyproject.toml --extra operator --group build -c requirements/demo.txt -o requirements/operator.txt
	$(COMPILE) pyproject.toml --extra demo --extra operator --group build --group test -c requirements/demo.txt -o requirements/test.txt
	$(COMPILE) --group schemas -c requirements/test.txt -o requirements/schemas.txt
	$(COMPILE:3.11=3.11.7) --group gefyra -o requirements/gefyra.txt

hooks: ## let git run `make check` before each commit
	@hook="$$(git rev-parse --git-path hooks/pre-commit)" && mkdir -p "$$(dirname "$$hook")" \
		&& printf '#!/bin/sh\nexec env -u GIT_DIR -u GIT_INDEX_FILE make check\n' > "$$hook" && chmod +x "$$hook" && echo "wrote $$hook"

clean: ## remove what was built here; the cache of the user stays
	rm -rf .venv dist .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/%.stamp: requirements/%.txt pyproject.toml
	@python="$$(tools/bootstrap.sh python)" && { $(BIN)/python -m pip --version >/dev/null 2>&1 || "$$python" -m venv --clear .venv; }
	@echo "installing $< into .venv (a minute, the first time)"
	@$(BIN)/python -m pip install --quiet --require-hashes -r $<
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
