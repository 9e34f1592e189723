# The front door: every command of the project. `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(PYTHON) -m pip --disable-pip-version-check --python $(BIN)/python install --quiet --require-hashes --no-deps

.DEFAULT_GOAL := help

##@ Run

.PHONY: run api-logs api-logs-errors api-logs-full api-request-data

run: $(VENV)/.run-installed ## Start the whole service here (embedded queue and SQLite, or LEADS_REDIS_URL and LEADS_DATABASE_URL)
	@$(BIN)/python -m compose.local --stop-with-parent

api-logs: ## Show the last requests, of make run or of the production form (N=10)
	@compose/request-log last -n $(or $(N),10)

api-logs-errors: ## Show the last requests that were answered with an error (N=10)
	@compose/request-log errors -n $(or $(N),10)

api-logs-full: ## Show one request for reading: timing, headers, query, bodies cut to a screen (ID=, the request id)
	@$(if $(ID),,echo "ID= is missing: a request id, the last column of make api-logs" >&2; exit 1;) compose/request-log show -- "$(ID)"

api-request-data: ## Show one request and its response as JSON, with all that is kept (ID=, the request id; for jq)
	@$(if $(ID),,echo "ID= is missing: a request id, the last column of make api-logs" >&2; exit 1;) compose/request-log show --json -- "$(ID)"

##@ Test

.PHONY: test test-unit test-integration test-system test-compose test-helm test-swarm test-releases test-hosts test-traces coverage lint format fuzz postman-test

# Each file in one process, or all files that share a service, in the order of tests/conftest.py.
BY_FILE = --dist loadfile --no-loadscope-reorder
BY_SERVICE = --dist loadgroup --no-loadscope-reorder

test: $(VENV)/.test-installed servers newman axe ## Run all tests, and a minute of chaos (T=tests/unit/test_lead.py for one file, T=path::test for one test; ARGS="-k cursor -x" for pytest)
ifdef T
	@$(BIN)/python -m pytest $(T) -q $(ARGS)
else
	@$(BIN)/python -m tests.kit.tested say
	@echo "Testing: unit, integration, releases and the Helm chart"
	@$(BIN)/python -m pytest tests/unit tests/integration tests/releases tests/helm -m "not extended" -q --numprocesses 2 $(BY_FILE) $(ARGS)
	@echo "Testing: system (the really started service, over HTTP)"
	@# They wait more than they work: three at once on two cores.
	@$(BIN)/python -m pytest tests/system -m "not extended" -q --numprocesses 3 $(BY_SERVICE) $(ARGS)
	@echo "Testing: a minute of faults under load, the same each time"
	@$(BIN)/python -m loadtests.chaos $(ON) --minutes 1 --seed 16 --sources 6 --persons 300
	@$(BIN)/python -m tests.kit.tested keep test
endif

test-unit: $(VENV)/.test-installed ## Run the tests that need no server
	@$(BIN)/python -m pytest $(or $(T),tests/unit) -q $(ARGS)

test-integration: $(VENV)/.test-installed servers ## Run the tests against real Redis, MySQL and MariaDB servers
	@$(BIN)/python -m pytest $(or $(T),tests/integration) -q $(ARGS)

test-system: $(VENV)/.test-installed servers newman axe ## Run the black-box tests against the started service
	@$(BIN)/python -m pytest $(or $(T),tests/system) -q $(ARGS)

test-compose: $(VENV)/.test-installed servers ## Start, scale, break, stop and start the production form in Docker, under load
	@$(BIN)/python -m pytest $(or $(T),tests/compose) -q $(ARGS)
	@$(if $(T),,$(BIN)/python -m tests.kit.tested keep test-compose)

test-helm: $(VENV)/.test-installed servers ## Check the Helm chart, on a Kubernetes API with fake nodes too, and KEDA's scaler on a running Redis (needs Go)
	@tests/install-kubernetes cluster keda || echo "What is missing is skipped."
	@$(BIN)/python -m pytest $(or $(T),tests/helm tests/unit/test_chart.py) -q $(ARGS)

test-swarm: $(VENV)/.test-installed ## Deploy to a Docker Swarm of three engines in network namespaces, upgrade it and cut one off, under load (needs root)
	@$(BIN)/python -m tests.swarm $(or $(T),tests/swarm) -q $(ARGS)

test-releases: $(VENV)/.test-installed servers ## Run the last release beside this one: its system tests on the new tables, a rolling upgrade, and the way back
	@$(BIN)/python -m pytest $(or $(T),tests/releases) -q --numprocesses 2 $(BY_FILE) $(ARGS)

test-hosts: $(VENV)/.test-installed servers ## Run all tests of several hosts: Sentinel, Redis Cluster, Group Replication and Router, the long ones too
	@$(BIN)/python -m pytest $(or $(T),tests/integration tests/system -m hosts) -q $(ARGS)

test-traces: $(VENV)/.test-installed servers ## See a lead's trace in Jaeger, which it builds, and run all tests of traces (needs Go)
	@tests/install-jaeger || echo "What is missing is skipped."
	@$(BIN)/python -m pytest $(or $(T),tests/unit/test_tracing.py tests/integration/test_trace_context.py tests/system/test_traces.py tests/system/test_traces_collector.py tests/system/test_traces_in_jaeger.py) -q $(ARGS)

coverage: $(VENV)/.test-installed servers ## Show which lines the unit and integration tests leave out
	@$(BIN)/python -m pytest tests/unit tests/integration -q --numprocesses 2 $(BY_FILE) \
		--cov --cov-report=term:skip-covered $(ARGS)

lint: $(VENV)/.test-installed ## Check style and types, and the shell and Lua scripts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@tests/lint-scripts

format: $(VENV)/.test-installed ## Put the code into the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

fuzz: $(VENV)/.test-installed ## Send the API whatever its document allows and forbids, for five minutes (ARGS="--max-time 60 --seed 7")
	@$(BIN)/python -m tests.system.fuzzing $(ARGS)

postman-test: $(VENV)/.test-installed newman ## Run the Postman collection with newman (HOST=http://127.0.0.1:8080, or a service of its own)
	@HOST=$(HOST) $(BIN)/python -m tests.system.postman $(ARGS)

##@ Measure

.PHONY: chaos chaos-hosts faults bench bench-hosts bench-page bench-read load-test load-test-sustained load-test-spike

# The database of what measures and proves: MySQL where there is one.
ON = $(if $(DATABASE),--database $(DATABASE))
LOAD = $(if $(HOST),--host $(HOST)) $(if $(RATE),--rate $(RATE)) $(if $(MINUTES),--minutes $(MINUTES)) $(ARGS)
ROWS ?= 1000000

chaos: $(VENV)/.test-installed servers ## Break everything at random under load, and count what was lost (DATABASE=mariadb, ARGS="--minutes 5 --seed 7 --queue sentinel --peer stock")
	@$(BIN)/python -m loadtests.chaos $(ON) $(ARGS)

chaos-hosts: $(VENV)/.test-installed servers ## Break one of three hosts after another, each a network namespace (needs root; ARGS="--minutes 30 --only lost --stock")
	@$(BIN)/python -m loadtests.hosts $(ARGS)

faults: $(VENV)/.test-installed servers ## Put each listed fault into a copy of the code, and see that the tests notice it (ARGS="--only flush,claim --jobs 4")
	@$(BIN)/python -m tests.faults $(ARGS)

bench: $(VENV)/.test-installed servers ## Measure ours, its peers and the limits (DATABASE=mariadb, ARGS="--only accept,store --rounds 5 --hold 300")
	@tests/install-servers wrk
	@$(BIN)/python -m loadtests.bench $(ON) $(ARGS)

bench-hosts: $(VENV)/.test-installed servers ## Measure one to four hosts of a share of a core each, as root (ARGS="--share 0.25 --hosts 1,4 --rounds 5")
	@tests/install-servers wrk
	@$(BIN)/python -m loadtests.bench.hosts $(ON) $(ARGS)

bench-page: $(VENV)/.test-installed ## Measure what the page for people costs the API: 20 of them for a minute (ARGS="--tabs 5 --seconds 20")
	@$(BIN)/python -m loadtests.page_cost $(ARGS)

bench-read: $(VENV)/.test-installed servers ## Measure lists over ROWS leads beside the usual endpoint (ROWS=10000000 for ten million, DATABASE=mariadb)
	@tests/install-servers wrk
	@$(BIN)/python -m loadtests.reads --rows $(ROWS) $(ON) $(ARGS)

load-test: $(VENV)/.test-installed ## Run all load tests against thresholds (HOST=, RATE= a minute, MINUTES=), with reports in var/load-tests
	@$(BIN)/python -m loadtests.shapes $(LOAD)

load-test-sustained: $(VENV)/.test-installed ## A steady rate: 1,000 requests a minute (HOST=, RATE=, MINUTES=)
	@$(BIN)/python -m loadtests.shapes sustained $(LOAD)

load-test-spike: $(VENV)/.test-installed ## A normal rate, ten times as much, and back (HOST=, RATE=, MINUTES=)
	@$(BIN)/python -m loadtests.shapes spike $(LOAD)

##@ Production (Docker)

.PHONY: build start stop restart status logs scale monitoring backup restore key

build: ## Production form in Docker: build the image, make the secrets, start, show where it listens (PYTHON=3.13)
	@PYTHON_IMAGE="$(if $(filter command,$(origin PYTHON)),$(PYTHON))" compose/production/stack build

start: ## Start the production form, as it was stopped
	@compose/production/stack start

stop: ## Stop the production form; everything is kept
	@compose/production/stack stop

restart: ## Stop and start the production form
	@compose/production/stack restart

status: ## Show the production form's containers and the ledger
	@compose/production/stack status

logs: ## Show the production form's logs (SERVICE=api TAIL=100 FOLLOW=1)
	@TAIL="$(TAIL)" FOLLOW="$(FOLLOW)" compose/production/stack logs $(SERVICE)

scale: ## Run so many containers of the API and of the workers (API=3 WORKERS=4)
	@compose/production/stack scale $(if $(API),api=$(API)) $(if $(WORKERS),worker=$(WORKERS))

monitoring: ## Start Prometheus, Alertmanager and Grafana beside the production form
	@compose/production/stack monitoring

backup: ## Write all of MySQL's leads into compose/backups, while it runs
	@compose/production/stack backup

restore: ## Replace all of MySQL's leads by those of a backup (FILE=compose/backups/... YES=1 to not be asked)
	@YES="$(YES)" compose/production/stack restore "$(FILE)"

key: ## Change the keys of the production form's tokens, logging nobody out (STEP=prepare, use, retire or list)
	@compose/production/stack key $(STEP)

##@ Docker Swarm

.PHONY: image stack stack-scale stack-status stack-backup stack-restore

image: ## Build the image and make the secrets for a Swarm (LEADS_REGISTRY=registry.example.com to push it; PYTHON=3.13)
	@PYTHON_IMAGE="$(if $(filter command,$(origin PYTHON)),$(PYTHON))" compose/production/swarm image

stack: ## Deploy to the Swarm, or upgrade it there (HOSTS="node1 node2 node3": who runs it; the first has Redis and MySQL)
	@compose/production/swarm deploy $(HOSTS)

stack-scale: ## Run so many tasks of the API and of the workers in the Swarm (API=3 WORKERS=4)
	@compose/production/swarm scale $(if $(API),api=$(API)) $(if $(WORKERS),worker=$(WORKERS))

stack-status: ## Show the Swarm's services and tasks, and the ledger
	@compose/production/swarm status

stack-backup: ## Write all of the Swarm's leads into compose/backups, while it runs
	@compose/production/swarm backup

stack-restore: ## Replace all of the Swarm's leads by those of a backup, while nothing stores (FILE=compose/backups/... YES=1 to not be asked)
	@YES="$(YES)" compose/production/swarm restore "$(FILE)"

##@ Maintenance

.PHONY: help docs screenshots lock clean

help: ## List the commands
	@awk -F ':.*## ' '/^##@ / { print "\n" substr($$0, 5) } /^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' Makefile

docs: $(VENV)/.test-installed ## Write docs/configuration.md, metrics.md, support.md the dashboard, and what the chart knows of shards and settings, from their declarations
	@$(BIN)/python -m schema configuration > docs/configuration.md
	@$(BIN)/python -m schema storage > docs/storage.md
	@$(BIN)/python -m compose.monitoring.metrics_reference > docs/metrics.md
	@$(BIN)/python -m tests.kit.tested document
	@$(BIN)/python -m compose.monitoring.dashboard > compose/monitoring/grafana/dashboards/overview.json
	@$(BIN)/python -m compose.helm.shards > compose/helm/lead-ingest/files/shards.json
	@$(BIN)/python -m compose.helm.settings_schema

screenshots: $(VENV)/.test-installed servers ## Take the README's pictures anew (a quarter of an hour: the chart fills)
	@SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/python -m pytest tests/system/test_flower.py tests/system/test_page_now.py -k "tasks_page or picture" -q

lock: $(VENV)/.test-installed ## Write the lock files anew from setup.cfg (UPGRADE=1: with the newest versions)
	@$(call compile,requirements.lock,--extra embedded)
	@$(call compile,requirements-image.lock,--constraint requirements.lock)
	@$(call compile,requirements-dev.lock,--extra embedded --extra test --extra load --extra lock --constraint requirements.lock)

compile = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url $(if $(UPGRADE),--upgrade) $(2) setup.cfg --output-file $(1)

clean: ## Remove the virtual environment, the stopped containers, and what the tools left (not var/ nor volumes: leads)
	@[ ! -e compose/production.env ] || compose/production/stack clean
	rm -rf $(VENV) .servers .kubernetes .jaeger postman/node_modules tests/browser/node_modules .coverage .mypy_cache .pytest_cache .ruff_cache .hypothesis .schemathesis

# What the commands above need: servers, newman, axe and the virtual environment.

.PHONY: servers newman axe

servers:
	@tests/install-servers

newman: servers postman/node_modules/.installed

postman/node_modules/.installed: postman/package-lock.json
	@echo "Installing newman from postman/package-lock.json"
	@cd postman && npm ci --no-audit --no-fund --silent
	@touch $@

axe: servers tests/browser/node_modules/.installed

tests/browser/node_modules/.installed: tests/browser/package-lock.json
	@echo "Installing axe from tests/browser/package-lock.json"
	@cd tests/browser && npm ci --no-audit --no-fund --silent
	@touch $@

$(BIN)/python:
	@echo "Making the virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed: make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -m venv --without-pip $(VENV)

$(VENV)/.run-installed: requirements.lock | $(BIN)/python
	@echo "Installing what the service needs from requirements.lock"
	@$(PIP) --requirement requirements.lock
	@touch $@

$(VENV)/.test-installed: requirements-dev.lock | $(BIN)/python
	@echo "Installing what the tests need from requirements-dev.lock"
	@$(PIP) --requirement requirements-dev.lock
	@touch $@
