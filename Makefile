# `make demo` and `make test` do all of their own set-up; see README.md.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint docs compile system-packages chart soak fuzz bench bench-docs bench-backlog bench-vectordb bench-dashboards bench-vllm bench-vllm-causes bench-injection dashboards config-docs database-docs names policy generated pictures proto clean

SOURCES := instrumentation dashboards collector examples scripts tests
BIN := .venv/bin
# How many processes share the tests; tests/support/suite says how.
TEST_PROCESSES ?= auto
PYTEST := $(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile
# In the user's cache, as a new clone has none: mypy goes by what files hold, wherever they are.
MYPY_CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sidelight/mypy

help:
	@echo "make demo            a RAG app, vLLM and Phoenix on this machine, seen through Sidelight"
	@echo "make test            everything: lint, types, layers, all tests with the real servers"
	@echo "make check           the quick part of test: without the slow tests"
	@echo "make lint            ruff, mypy and the import contracts"
	@echo "make docs            the site of docs/ in build/site; any warning fails"
	@echo "make soak            100 kills of the collector under load, a flood, a backlog of 10 GB"
	@echo "make fuzz            100,000 inputs for what reads from the network"
	@echo "make compile         the modules that each span passes, compiled by mypyc, in the user's cache"
	@echo "make bench           what a span costs the collector, beside rotel, and how it grows"
	@echo "make bench-docs      the tables and pictures of docs/benchmarks.md from it"
	@echo "make bench-backlog   what a backlog of 10 GB costs the receiving while it is drained"
	@echo "make bench-vectordb  what a search costs the app, beside OpenLLMetry and OpenLIT"
	@echo "make bench-vllm      what observing costs the processes of a real vLLM"
	@echo "make bench-vllm-causes  whether the delay causes of a real vLLM are true, in planted runs"
	@echo "make bench-injection  how long an API server waits for the webhook that injects pods"
	@echo "make bench-dashboards  what the Overview's queries cost a Prometheus of 200 replicas"
	@echo "make dashboards      dashboards/generated, docs/dashboards, and the tables of slo.md and runbooks"
	@echo "make config-docs     the schema of sidelight.yaml and docs/configuration.md anew"
	@echo "make database-docs   docs/databases/ and the tables that list all databases"
	@echo "make names           what docs/names.md and docs/vllm.md say of attributes and metrics"
	@echo "make policy          the chart's admission policy, from the rules of injection"
	@echo "make chart           the schema, dashboards and alerts of charts/sidelight, and the page of its values"
	@echo "make generated       all of these, and every other generated table and list"
	@echo "make pictures        every dashboard drawn by Grafana's components, and the docs' pictures of them"
	@echo "make proto           generate the protobuf code anew"
	@echo "make clean           remove what these commands made in this folder"

.venv/demo: pyproject.toml constraints.txt scripts/virtualenv.sh
	@scripts/virtualenv.sh demo
	@touch $@

.venv/test: pyproject.toml constraints.txt scripts/virtualenv.sh
	@scripts/virtualenv.sh test
	@touch $@ .venv/demo

.venv/bench: pyproject.toml constraints.txt scripts/virtualenv.sh
	@scripts/virtualenv.sh bench
	@touch $@ .venv/test .venv/demo

demo: .venv/demo
	@scripts/system-packages.sh
	@$(BIN)/sidelight demo $(DEMO_OPTIONS)

# Side by side, each with its output in one piece; only then the tests.
test: .venv/test
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint docs system-packages
	$(PYTEST) --durations=15

check: .venv/test
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint docs
	$(PYTEST) -m "not real and not slow"

system-packages:
	@scripts/system-packages.sh tests

lint: .venv/test
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy --cache-dir $(MYPY_CACHE) $(SOURCES)
	$(BIN)/lint-imports --no-logo

# The variable silences an advertisement of the theme's; warnings about our pages still fail.
docs: .venv/test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# About half an hour with two cores; each test ends after an hour at most.
soak: .venv/test
	SIDELIGHT_SOAK_KILLS=100 SIDELIGHT_SOAK_FLOOD_SECONDS=60 SIDELIGHT_SOAK_BACKLOG_MB=10000 \
	  $(BIN)/pytest --timeout 3600 tests/collector/service

fuzz: .venv/test
	SIDELIGHT_FUZZ_INPUTS=100000 $(BIN)/pytest --timeout 7200 \
	  tests/base/http_server tests/collector/receivers/test_fuzz.py tests/otlp tests/injection/webhook

# Beside the sources, never among them: what is edited is what runs.
compile: .venv/test
	@$(BIN)/python scripts/compile.py

# Calls are counted without compiled modules, whose calls Python does not see. The collector that is
# measured has them, as its wheels do; without a compiler it is measured as it is.
bench: .venv/test
	PYTHONPATH=tests $(BIN)/python -m bench.collector.calls
	PYTHONPATH="$$($(BIN)/python scripts/compile.py):tests" $(BIN)/python -m bench.collector $(BENCH_OPTIONS)

bench-backlog: .venv/test
	PYTHONPATH=tests $(BIN)/python -m bench.collector.backlog $(BENCH_OPTIONS)

bench-vectordb: .venv/test
	PYTHONPATH=tests $(BIN)/python -m bench.vectordb.run $(BENCH_OPTIONS)

# With BENCH_OPTIONS="--observer thread": a thread of the API server instead of the observer process.
bench-vllm: .venv/test
	PYTHONPATH=tests $(BIN)/python -m bench.vllm.run $(BENCH_OPTIONS)

bench-vllm-causes: .venv/test
	PYTHONPATH=tests $(BIN)/python -m bench.vllm.causes $(BENCH_OPTIONS)

bench-injection: .venv/test
	PYTHONPATH=tests $(BIN)/python -m bench.injection.run $(BENCH_OPTIONS)

# Writes 10 million samples first, which takes some minutes.
bench-dashboards: .venv/test
	PYTHONPATH=tests $(BIN)/python -m bench.dashboards.run $(BENCH_OPTIONS)

bench-docs: .venv/bench
	PYTHONPATH=tests $(BIN)/python -m bench.collector.page $(BENCH_OPTIONS)

dashboards: .venv/test
	$(BIN)/sidelight dashboards write dashboards/generated
	$(BIN)/python -m sidelight.dashboards.publish.pages docs

config-docs: .venv/test
	$(BIN)/sidelight config schema > collector/sidelight/collector/app/configuration/sidelight.schema.json
	$(BIN)/sidelight config reference > docs/configuration.md
	$(BIN)/sidelight config pages docs
	$(BIN)/python scripts/processors_page.py docs

database-docs: .venv/test
	$(BIN)/python scripts/database_pages.py docs

names: .venv/test
	$(BIN)/python scripts/names_pages.py docs

policy: .venv/test
	$(BIN)/python scripts/admission_policy.py charts/sidelight/files

# After the two that it takes files of.
chart: dashboards config-docs
	$(BIN)/python scripts/chart_files.py charts/sidelight docs/kubernetes/values.md

generated: dashboards config-docs database-docs names policy chart
	PYTHONPATH=tests $(BIN)/python -m support.import_layers
	PYTHONPATH=tests $(BIN)/python -m support.public_api > tests/public_api.txt
	PYTHONPATH=tests $(BIN)/python -m support.guide_pages

# Needs npm (Node 20 or newer), chromium and prometheus; Grafana's packages take two minutes once.
pictures: .venv/test
	PYTHONPATH=tests $(BIN)/python -m pictures --docs

proto: .venv/test
	cd collector && ../$(BIN)/python -m grpc_tools.protoc -I. \
	  --python_out=. --plugin=protoc-gen-mypy=../$(BIN)/protoc-gen-mypy --mypy_out=. \
	  sidelight/otlp/otlp.proto \
	  sidelight/collector/destinations/prometheus_remote_write/remote_write.proto

clean:
	rm -rf .venv build dist sidelight-data sidelight-dashboards sidelight-demo
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
