# Everything a checkout needs. `make help` lists it; the work of set-up is in .ci/setup.

BIN := .venv/bin
# More arguments for serve, test, lock and the benchmarks: make test ARGS="-k tasks -x"
ARGS ?=

# Number of test processes, each with its own PostgreSQL; 0 runs the tests in one: make test WORKERS=0 ARGS="-x --pdb"
WORKERS ?= auto

# Start-up time is a promise, and a missing .pyc costs a second of it.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help

.PHONY: help
help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | \
		while IFS='|' read -r target words; do printf '%-17s %s\n' "$$target" "$$words"; done

# --- use --------------------------------------------------------------------

.PHONY: setup
setup: ## make or repair .venv with all that development needs; test, check and bench call it
	@bash .ci/setup

.PHONY: serve
serve: ## set up, then serve (make serve ARGS="--port 9000")
	@bash .ci/setup serve
	@exec $(BIN)/howdah serve $(ARGS)

.PHONY: demo
demo: ## set up, then serve with a sample database and example data (make demo ARGS=--reset)
	@bash .ci/setup serve
	@exec $(BIN)/howdah demo $(ARGS)

.PHONY: graphiql
graphiql: ## build the GraphiQL page; needs npm
	@bash .ci/graphiql

.PHONY: docs
docs: setup ## build the documentation as a site with search in build/site; fails on a broken link
	@bash .ci/docs

# --- check ------------------------------------------------------------------

.PHONY: test
test: setup clients ## set up, then test (make test ARGS="-k tasks -x")
	@bash .ci/test $(WORKERS) $(ARGS)

# The npm packages of the tests with real clients and browsers, and of the example apps.
NPM_FOLDERS := $(patsubst %/package.json,%,$(wildcard tests/clients/package.json tests/browser/package.json tests/schema/package.json docs/examples/package.json))
NPM_DONE := $(addsuffix /node_modules/.installed,$(NPM_FOLDERS))

.PHONY: clients
clients: $(NPM_DONE) ## install the npm packages that some tests use; without npm those tests skip

%/node_modules/.installed: %/package.json $(wildcard docs/examples/*/package.json)
	@if ! command -v npm >/dev/null; then echo "npm is not installed: the tests that need $* will skip"; \
	else npm install --prefix $* --no-audit --no-fund --loglevel=error && touch $@ \
		|| echo "npm failed: the tests that need $* will skip"; fi

# Gates that are tests. After `make test` they are done: .ci/run empties this.
TESTED = check-architecture check-migrations check-docs

.PHONY: check
check: check-style check-types check-schema $(TESTED) ## every gate; make -k check goes on after a failure

.PHONY: check-style
check-style: setup
	@failed=0; $(BIN)/ruff check || failed=1; $(BIN)/ruff format --check || failed=1; exit $$failed

.PHONY: check-types
check-types: setup
	$(BIN)/mypy

.PHONY: check-architecture
check-architecture: setup
	$(BIN)/python -m pytest -q tests/test_architecture.py tests/test_steadiness.py tests/graph/test_schema.py tests/db/test_tables.py

.PHONY: check-schema
check-schema: setup clients
	$(BIN)/howdah schema | diff -u schema.graphql -
	@if [ ! -e tests/schema/node_modules/.installed ]; then \
		echo "npm or its packages are missing: schema.graphql was not linted, nor compared with the last release"; \
	else node tests/schema/lint.mjs schema.graphql && node tests/schema/breaking.mjs .; fi

# `alembic check` against a database that the test harness makes and removes.
.PHONY: check-migrations
check-migrations: setup
	$(BIN)/python -m pytest -q tests/db/postgres/schema/test_migrations.py

# Runs the examples of the documentation against a real server.
.PHONY: check-docs
check-docs: setup
	$(BIN)/python -m pytest -q tests/docs

.PHONY: format
format: setup ## let ruff mend and format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: schema
schema: setup ## write schema.graphql and docs/reference from the code
	$(BIN)/howdah schema > .schema.graphql.new && mv .schema.graphql.new schema.graphql
	$(BIN)/python -m tests.fixtures.reference_pages

.PHONY: settings
settings: setup ## write docs/settings.md from .env.example and db/settings
	$(BIN)/python -m tests.fixtures.settings_page > .settings.md.new && mv .settings.md.new docs/settings.md

# --- measure ----------------------------------------------------------------

.PHONY: bench
bench: setup ## measure requests per second against other servers; writes the figures of the pages
	$(BIN)/python -m bench $(ARGS)

.PHONY: bench-ablation
bench-ablation: setup ## measure what each part that was built for speed brings; writes pages
	$(BIN)/python -m bench.ablation $(ARGS)

.PHONY: bench-growth
bench-growth: setup ## measure growth by clients, rows and fields; writes pages and plots
	$(BIN)/python -m bench.growth $(ARGS)

.PHONY: bench-start
bench-start: setup ## measure the time to the first answer, and idle memory
	$(BIN)/python -m bench.start $(ARGS)

.PHONY: bench-hostile
bench-hostile: setup ## measure how long hostile requests block the event loop
	$(BIN)/python -m bench.hostile $(ARGS)

.PHONY: bench-memory
bench-memory: setup ## measure what runs add to the memory of a server
	$(BIN)/python -m bench.memory $(ARGS)

.PHONY: bench-stream
bench-stream: setup ## measure rows per second of a run, against bare drivers
	$(BIN)/python -m bench.stream $(ARGS)

.PHONY: bench-runs
bench-runs: setup ## measure how soon cancels and changes reach subscribers
	$(BIN)/python -m bench.runs $(ARGS)

.PHONY: bench-short-runs
bench-short-runs: setup ## measure short runs, a million rows, the sidebar and a cell of 100 MB
	$(BIN)/python -m bench.short_runs $(ARGS)

.PHONY: bench-completion
bench-completion: setup ## measure completion and search in a catalogue of 5,000 tables
	$(BIN)/python -m bench.completion $(ARGS)

.PHONY: bench-catalogue
bench-catalogue: setup ## measure the sidebar and the whole catalogue of 5,000 tables
	$(BIN)/python -m bench.catalogue $(ARGS)

.PHONY: bench-load
bench-load: setup ## measure a list page's operations with 100 users at once
	$(BIN)/python -m bench.load $(ARGS)

.PHONY: bench-flood
bench-flood: setup ## measure response times of other users while one floods
	$(BIN)/python -m bench.flood $(ARGS)

.PHONY: bench-distance
bench-distance: setup ## compare one user with many, with the database up to 30 ms away
	$(BIN)/python -m bench.distance $(ARGS)

.PHONY: bench-standbys
bench-standbys: setup ## measure what reads on a standby cost, and take off the primary
	$(BIN)/python -m bench.standbys $(ARGS)

.PHONY: bench-twin
bench-twin: setup ## compare the in-memory twin of storage with PostgreSQL for speed
	$(BIN)/python -m bench.twin $(ARGS)

.PHONY: bench-walk
bench-walk: setup ## list the modules that one HTTP request passes
	$(BIN)/python -m bench.walk $(ARGS)

.PHONY: attack
attack: setup ## attack a server with floods, large rows and hostile servers; promise beside figure
	$(BIN)/python -m tests.security.attacks $(ARGS)

.PHONY: drills
drills: setup ## let replicas and databases fail; promise beside figure (ARGS="--quick --only history")
	$(BIN)/python -m tests.drills $(ARGS)

MINUTES ?= 10

.PHONY: soak
soak: setup ## mixed load while replicas are killed and restarted; promise beside figure (MINUTES=10)
	$(BIN)/python -m tests.survival.soak.main --minutes $(MINUTES) $(ARGS)

# --- ship -------------------------------------------------------------------

.PHONY: dist
dist: setup ## build the wheel, its bill of materials and checksums in dist, install it elsewhere and serve
	@bash .ci/dist

.PHONY: tools
tools: setup ## install the tools that check the files of docs/deploy; without them those tests skip
	@bash .ci/tools ship

.PHONY: image
image: setup ## build the container image, or run the steps of the Dockerfile where there is no builder (root)
	@bash .ci/image

.PHONY: compose-drill
compose-drill: tools ## start the services of compose.yaml without Docker, in a network of their own (root)
	@folder="$$(mktemp -d)" && trap 'rm -rf --one-file-system "$$folder"' EXIT && \
		unshare --mount --net $(BIN)/python -m tests.fixtures.composed "$$folder"

# --- keep -------------------------------------------------------------------

# The locks agree on every version, because the smaller ones are constrained by the largest.
COMPILE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make lock' $(ARGS)

.PHONY: lock
lock: ## renew requirements*.lock from pyproject.toml; needs uv (ARGS=--upgrade takes newer versions)
	@export PATH="$$PATH:$$PWD/$(BIN)"; \
	$(COMPILE) --all-extras --group build --group dev -o requirements-dev.lock pyproject.toml && \
	$(COMPILE) --all-extras --group build -c requirements-dev.lock -o requirements.lock pyproject.toml && \
	$(COMPILE) --group servers -c requirements-dev.lock -o requirements-servers.lock && \
	$(COMPILE) --group docs -o requirements-docs.lock && \
	$(COMPILE) --group ship -o requirements-ship.lock

.PHONY: clean
clean: ## remove .venv, caches and builds
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist graph/transport/graphiql/dist graph/transport/graphiql/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
