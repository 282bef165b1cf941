# Thin front of the build. `make help` lists the targets.
SEEDS ?= 300
TICKS ?= 4000
SECONDS ?= 60
FUZZ_SECONDS ?= 30
JOBS ?= $(shell nproc)

.PHONY: models help setup build debug run demo test test-unit test-sim test-sdk test-conformance test-cli test-clients torture test-sdk-python test-sdk-python-v5 test-sdk-go test-sdk-rust test-vectors sim bench bench-compare cluster test-cluster test-cluster-full failover fuzz format check-format check-layering clean

help: ## this list
	@grep -hE '^[a-z0-9 -]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

setup: ## install what is missing (Debian packages, npm test dependencies)
	@tools/setup

build: setup ## optimised build; programs in build/release/bin/
	@cmake --preset release >build-release.log 2>&1 || { cat build-release.log; exit 1; }
	@rm -f build-release.log
	@cmake --build build/release -j $(JOBS) --target restate-server restatectl restate

debug: setup
	@cmake --preset debug >/dev/null && cmake --build build/debug -j $(JOBS)

run: build ## start a server in ./restate-data
	build/release/bin/restate-server

demo: build ## the main job end to end: register, invoke, SIGKILL, resume
	@tools/demo

test: build ## everything CI runs
	@tools/test-all

test-unit: setup ## unit tests under ASan and UBSan
	@tools/test-unit

test-sdk: build ## flows of official SDK services against a real server
	@tools/test-sdk

test-sdk-python test-sdk-python-v5 test-sdk-go test-sdk-rust: build ## services on other official SDKs (not in `make test`)
	@tools/$@

test-conformance: build ## the lifecycle of invocations by name (docs/conformance.md); TARGET=official for the official server
	@tools/conformance

torture: build ## random programs on real services, the server killed every few seconds: make torture SECONDS=n [SEED=n]
	@tools/torture $(SECONDS) $(SEED)

cluster: build ## a demo: three nodes on loopback, status, one killed under load, fail-over
	@tools/cluster

test-cluster: build ## clusters of real processes, quick cases; CASE=S-1 or CASE=text picks from all; TARGET=official
	@tools/test-cluster $(if $(CASE),'$(CASE)')

test-cluster-full: build ## all cases of test/cluster (an hour)
	@tools/test-cluster --full

failover: build ## longest gaps that clients see when a node is killed, stopped or cut off; TARGET=official
	@tools/failover --rounds $(or $(ROUNDS),1)

models: setup ## small models of the cluster's protocols, all bounds (minutes); the quick ones are in `make test`
	@tools/sim models --full

test-cli: build ## our restate tool against a recorded admin API and a real server
	@tools/test-cli

test-kafka: build ## Kafka subscriptions on real processes (mock brokers; KAFKA=host:port: real ones, see tools/kafka)
	@tools/test-kafka

test-clients: build ## psql, a PostgreSQL driver and the official restate CLI against a real server
	@tools/test-clients

.PHONY: test-kafka fuzz-api check-docs bench-sql
check-docs: ## docs/errors.md, docs/metrics.md and the dashboard against the source
	@tools/check-docs

bench-sql: ## what a scan of a million invocations costs the invocations beside it (wants a quiet machine)
	@bench/run sql-beside

fuzz-api: build ## OpenAPI documents validated and fuzzed with schemathesis: make fuzz-api [EXAMPLES=n] [SEED=n]
	@tools/fuzz-api $(or $(EXAMPLES),50) $(SEED)

test-vectors: build ## captured request/response pairs against a real server
	@tools/test-vectors

sim: setup ## simulator: make sim SEEDS=n [TICKS=n]; whole clusters: make sim SEEDS=n NODES=3|5
	@$(if $(NODES),tools/sim cluster --seeds $(SEEDS) --nodes $(NODES),tools/sim $(SEEDS) $(TICKS))

bench: build ## benchmark of this server (minutes)
	@bench/run

bench-compare: build ## the same against the official server from npm, alternating, with ratios
	@bench/compare

fuzz: setup ## every fuzz target for FUZZ_SECONDS each
	@tools/fuzz $(FUZZ_SECONDS)

format: ## clang-format all sources
	@git ls-files '*.c' '*.h' '*.cc' | xargs clang-format -i

check-format:
	@tools/check-format

check-layering:
	@tools/check-layering

clean:
	rm -rf build
