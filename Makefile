# Every task of the project, for people and for CI. Needs make and Python 3.11 or newer; everything else is installed into
# .venv and .venv-ministack from hashed locks. `make` alone lists the tasks.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PY := $(BIN)/python
# The newest pip is not needed and its nagging hides real output.
PIP := -m pip install --quiet --disable-pip-version-check --require-hashes
UV ?= uv
PROTOS = $(shell find protos -name '*.proto' 2>/dev/null | sort)
PROTO_OUT ?= .
# What the tests should use instead of the embedded stores, each by itself:
#   make test DYNAMODB_ENDPOINT=http://127.0.0.1:8000
export DYNAMODB_ENDPOINT SQS_ENDPOINT EVENTBRIDGE_ENDPOINT S3_ENDPOINT REDIS_URL

.PHONY: help
help: ## List the tasks
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##### Environments

# Prefer 3.11: it answers a few percent more calls than 3.12 and 3.13. A candidate counts only if it runs: version
# managers leave commands in PATH that do not.
define find_python
for p in $(PYTHON) python3.11 python3.12 python3.13 python3.14 python3 python; do \
  if "$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
    found=$$p; break; fi; done; \
if [ -z "$${found:-}" ]; then \
  echo "brain2: needs Python 3.11 or newer with its venv module (or say make PYTHON=/path/to/python)" >&2; exit 1; fi
endef

# $(call environment,folder,lock): a folder whose interpreter no longer runs (moved, upgraded) is made again.
define environment
@$(find_python); echo "brain2: installing $(2) into $(1), once"; \
if ! $(1)/bin/python -c '' 2>/dev/null; then "$$found" -m venv --clear $(1); fi; \
$(1)/bin/python $(PIP) -r $(2) || { echo "brain2: could not install $(2), see above" >&2; exit 1; }; \
touch $@
endef

.PHONY: venv
venv: .venv/.stamp .venv-ministack/.stamp .dynoxide/.stamp clients/console/view/dist/.stamp ## Create the environments: Python's two, and the embedded DynamoDB

.venv/.stamp: requirements/dev.txt
	$(call environment,.venv,$<)

.venv-ministack/.stamp: requirements/ministack.txt
	$(call environment,.venv-ministack,$<)

# Two things come from npm, and everything else works without them. Where npm can't be used at all, that is said once. When
# it fails (no network), its message is shown, the rest is built, and the next make tries again.
NPM_CI := npm ci --ignore-scripts --no-audit --no-fund --loglevel=error --fetch-retries=1 --fetch-retry-mintimeout=1000

# The embedded DynamoDB is a binary in an npm package. Where it can't be had, ministack serves DynamoDB, too.
.dynoxide/.stamp: deploy/local/dynoxide/package-lock.json
	@mkdir -p .dynoxide && cp deploy/local/dynoxide/package*.json .dynoxide/
	@if [ "$$(uname -sm)" != "Linux x86_64" ] || ! command -v npm >/dev/null; then rm -rf .dynoxide/node_modules; touch $@; \
	  echo "brain2: dynoxide needs npm and Linux on x86-64; ministack serves DynamoDB here, slower"; \
	elif (cd .dynoxide && $(NPM_CI) >/dev/null); then touch $@; \
	  echo "brain2: installed dynoxide, the embedded DynamoDB, once"; \
	else rm -rf .dynoxide/node_modules; \
	  echo "brain2: npm could not install dynoxide, see above; ministack serves DynamoDB until a later make can"; fi

# The graph view of the console, bundled from npm packages by name and hash. Without npm the console serves the API alone.
clients/console/view/dist/.stamp: clients/console/view/package-lock.json clients/console/view/build.mjs $(wildcard clients/console/view/src/*)
	@mkdir -p $(@D)
	@if ! command -v npm >/dev/null; then touch $@; \
	  echo "brain2: the graph view needs npm; the console serves the API without it"; \
	elif (cd clients/console/view && $(NPM_CI) >/dev/null && npm run --silent build); then touch $@; \
	  echo "brain2: built the graph view"; \
	else echo "brain2: npm could not build the graph view, see above; the console serves the API until a later make can"; fi

.PHONY: view
view: clients/console/view/dist/.stamp ## Build the graph view that the console serves

##### Use it

.PHONY: run demo import export
run: venv ## Start the four services and their stores here; Ctrl-C stops them (ARGS=--help)
	@exec $(PY) -m deploy.local up $(ARGS)

demo: venv ## A guided tour with real notes, on the running stack or on one of its own
	@exec $(PY) -m deploy.local demo $(ARGS)

import: venv ## Import notes: make import FROM=notes.jsonl|folder FOR=user
	@exec $(PY) -m deploy.local import "$(FROM)" --user "$(FOR)" $(ARGS)

export: venv ## Export notes: make export FOR=user TO=folder (FORMAT=markdown|graphml|jsonl)
	@exec $(PY) -m deploy.local export --user "$(FOR)" --to "$(TO)" --format "$(or $(FORMAT),markdown)" $(ARGS)

##### Check it

.PHONY: test lint format proto-check
test: venv ## Unit, contract, integration, end-to-end, a short chaos and a short fuzz test on real servers (PYTEST_ARGS="-k word")
	@exec $(if $(strip $(PYTEST_ARGS)),$(PY) -m pytest $(PYTEST_ARGS),tests/run.sh)

lint: venv proto-check ## Style, types, architecture, .proto rules and stub freshness
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "brain2: run 'make format'" >&2; exit 1; }
	@$(PY) -m mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo > .brain2/lint-imports.log 2>&1 || { cat .brain2/lint-imports.log; exit 1; }
	@$(BIN)/buf lint
	@echo "brain2: lint is clean"

format: venv ## Let ruff and buf format the code
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format --quiet .
	@$(BIN)/buf format -w

proto-check: venv
	@rm -rf .brain2/proto-check && mkdir -p .brain2/proto-check
	@$(MAKE) proto PROTO_OUT=.brain2/proto-check
	@cd .brain2/proto-check && find . -type f | sort | while read -r f; do \
	  cmp -s "$$f" "../../$$f" || { echo "brain2: $$f is stale, run 'make proto'" >&2; exit 1; }; done

.PHONY: perf bench-fairness bench-import bench-throughput bench-graph bench-similarity bench-view bench-memory bench-cost plots eval chaos fuzz audit
perf: venv ## Measure the promised latencies on the whole stack; fails when one is broken (ARGS=--quick)
	@exec $(PY) -m tests.bench.perf $(ARGS)

bench-fairness: venv ## Measure how soon a single note is found while another user imports; fails when the promise is broken
	@exec $(PY) -m tests.bench.fairness $(ARGS)

bench-throughput: venv ## Measure calls a second and processor a call, with one and two processes a service (ARGS=--quick)
	@exec $(PY) -m tests.bench.throughput $(ARGS)

bench-import: venv ## Measure the processor time of an import, by service (BASE=<git ref>: beside an earlier tree)
	@exec $(PY) -m tests.bench.imports $(if $(BASE),--base $(BASE)) $(ARGS)

bench-graph: venv ## Measure edge lookups and traversals
	@exec $(PY) -m tests.bench.graph $(ARGS)

bench-similarity: venv .venv-bench/.stamp ## Measure adding, finding and searching notes, beside other tools (ARGS=--quick)
	@exec $(PY) -m tests.bench.similarity $(ARGS)

bench-memory: venv ## Measure each service's memory under the largest requests that it accepts
	@exec $(PY) -m tests.bench.memory $(ARGS)

bench-cost: venv ## Count the units, requests and events that each operation costs on AWS
	@exec $(PY) -m tests.bench.cost $(ARGS)

plots: venv ## Draw the numbers in docs/bench as docs/images/*.svg
	@exec $(PY) -m tests.bench.plots

# What it is compared with; needed for nothing else.
.venv-bench/.stamp: requirements/bench.txt
	$(call environment,.venv-bench,$<)

bench-view: venv ## Measure the graph view in a real browser (needs Chromium)
	@exec $(PY) -m tests.bench.view $(ARGS)

eval: venv ## Score the automatic links: make eval FILE=collection.jsonl.gz
	@exec $(PY) -m tests.bench.eval $(FILE) $(ARGS)

chaos: venv ## Break a running stack on purpose and count what is lost (ARGS=--cluster: on a Redis Cluster)
	@exec $(PY) -m tests.chaos $(ARGS)

fuzz: venv ## Send 200,000 hostile requests to a stack of its own, and count what breaks
	@exec $(PY) -m tests.fuzz $(ARGS)

# pip-audit isn't a dependency: it needs a network, and the locks decide what is installed.
export PIP_AUDIT
audit: venv ## Look the locked dependencies up in the databases of known vulnerabilities (needs pip-audit, npm and a network)
	@exec $(PY) -m deploy.audit

##### Keep it

.PHONY: proto docs lock clean clean-data
proto: venv ## Generate the Python stubs beside the .proto files
	@PATH="$(CURDIR)/$(BIN):$$PATH" buf generate -o $(PROTO_OUT) 2>&1 | { grep -v '^Writing mypy' || true; }
	@$(PY) -m grpc_tools.protoc -I. --grpc_python_out=$(PROTO_OUT) $(PROTOS)
	@$(PY) -m clients.python.stubs $(PROTO_OUT)
	@$(PY) -m clients.console.openapi $(PROTO_OUT)

docs: venv ## Refresh what the documentation takes from the code and from docs/bench
	@$(PY) -m deploy.docs
	@exec $(PY) -m tests.bench.sections

# uv isn't a dependency: locks are made rarely, by whoever changes a *.in file.
COMPILE = UV_CUSTOM_COMPILE_COMMAND="make lock" $(UV) pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url
lock: ## Resolve requirements/*.in into hashed locks (LOCK_ARGS=--upgrade; needs uv)
	@command -v $(UV) >/dev/null || { echo "brain2: make lock needs uv (pip install uv, or UV=/path/to/uv)" >&2; exit 1; }
	@$(COMPILE) $(LOCK_ARGS) requirements/dev.in -o requirements/dev.txt
	@$(COMPILE) $(LOCK_ARGS) requirements/ministack.in -o requirements/ministack.txt
	@$(COMPILE) $(LOCK_ARGS) requirements/bench.in -o requirements/bench.txt
	@for s in node graph similarity cleanup console; do \
	  $(COMPILE) $(LOCK_ARGS) -c requirements/dev.txt requirements/$$s.in -o requirements/$$s.txt; done

clean: ## Remove environments and caches; the notes in .brain2/ stay
	@rm -rf .venv .venv-ministack .dynoxide .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .brain2/proto-check
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

clean-data: ## Forget every local note and edge
	@if $(PY) -c 'from deploy.local.stack import describe; raise SystemExit(not describe())' 2>/dev/null; then \
	  echo "brain2: a stack is running on .brain2: stop it first" >&2; exit 1; fi
	@rm -rf .brain2
