# Everything that a checkout needs, on a fresh Debian 12 with make, git and python3.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Images for containers like to set this; but the tests start hundreds of proxies, and most of that time would go into
# compiling the same modules again.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without compat mode an editable install hides the twistd plugin.
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check --quiet install --use-pep517 \
	--config-settings editable_mode=compat --editable

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	@.ci/packages "Python" python3=$(PYTHON)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "rdsproxy: Python 3.11 or newer is needed, not $$($(PYTHON) --version): make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		.ci/packages "a virtual environment" python3-venv=.no-such-file
	@# For the compiled helpers. Without a compiler rdsproxy works as well, more slowly.
	@headers=$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))'); \
		.ci/packages "the compiled helpers" gcc=cc libc6-dev=/usr/include/stdio.h python3-dev="$$headers/Python.h" \
		|| echo "rdsproxy: going on without the compiled helpers" >&2
	@echo "rdsproxy: making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

# Two stamps: one who only wants to run it does not wait for the tools of the tests.
$(VENV)/.for-run: setup.cfg setup.py $(wildcard rdsproxy/*.c rdsproxy/*/*.[ch]) | $(BIN)/python
	@$(PIP_INSTALL) .
	@touch $@

$(VENV)/.for-test: setup.cfg setup.py $(wildcard rdsproxy/*.c rdsproxy/*/*.[ch]) | $(BIN)/python
	@$(PIP_INSTALL) '.[test]'
	@touch $(VENV)/.for-run $@

# Drivers for Python that only tests/drivers runs. mysqlclient is compiled; what is missing is skipped, but for CI.
$(VENV)/.for-drivers: setup.cfg | $(VENV)/.for-test
	@{ .ci/packages "Python's drivers" gcc=cc pkg-config=pkg-config libmariadb-dev=mariadb_config && \
		$(PIP_INSTALL) '.[drivers]' && touch $@; } || [ -z "$${CI:-}" ]

.PHONY: venv
venv: $(VENV)/.for-test ## make .venv, with what run, test and lint need

.PHONY: run
run: $(VENV)/.for-run ## a private MariaDB and the proxy before it, until Ctrl-C (both under ./var)
	@.ci/packages "make run" mariadb-server-core=mariadbd mariadb-client-core=mariadb
	@$(BIN)/python -m rdsproxy.demo $(RUN_ARGS)

.PHONY: test
test: $(VENV)/.for-test $(VENV)/.for-drivers ## all tests, on MariaDB and MySQL; TEST_ARGS="-k name" for some
	@# What cannot be had here is skipped, with its reason; with CI set that fails.
	@.ci/packages "the tests" mariadb-server=/usr/lib/mysql/plugin/auth_ed25519.so mariadb-client=mariadb \
		nodejs=node npm=npm iproute2=tc $$($(BIN)/python -m tests.drivers) || [ -z "$${CI:-}" ]
	@$(BIN)/python -m tests.servers || [ -z "$${CI:-}" ]
	@# Two processes: most of the time a test waits for a program to start or to end. A file's tests share what they start.
	@# In order: the files with few tests have the longest ones, and last they would leave one process without work.
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

.PHONY: soak
soak: $(VENV)/.for-test ## fuzz the door, then random scripts through the proxy and beside it; SOAK_ARGS, FUZZ_ARGS=--help
	@.ci/packages "the servers" mariadb-server=/usr/lib/mysql/plugin/auth_ed25519.so mariadb-client=mariadb || true
	@$(BIN)/python -m tests.servers || true
	@$(BIN)/python -m tests.fuzz $(FUZZ_ARGS)
	@$(BIN)/python -m tests.differential $(SOAK_ARGS)

.PHONY: lint
lint: $(VENV)/.for-test ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/mypy rdsproxy tests twisted/plugins

.PHONY: bench
bench: $(VENV)/.for-test ## measure beside no proxy, HAProxy and MySQL Router; BENCH_ARGS=--help says what can be chosen
	@.ci/packages "the benchmarks" mariadb-server=/usr/lib/mysql/plugin/auth_ed25519.so \
		haproxy=haproxy sysbench=sysbench || true
	@$(BIN)/python -m tests.servers || true
	@$(BIN)/python -m tests.bench $(BENCH_ARGS)

.PHONY: bench-failover
bench-failover: $(VENV)/.for-test ## measure failovers beside no proxy and HAProxy; BENCH_ARGS=--help says what can be chosen
	@.ci/packages "the benchmarks" mariadb-server=/usr/lib/mysql/plugin/auth_ed25519.so mariadb-client=mariadb \
		haproxy=haproxy iproute2=tc || true
	@$(BIN)/python -m tests.servers || true
	@$(BIN)/python -m tests.bench.failover $(BENCH_ARGS)

.PHONY: flood
flood: $(VENV)/.for-test ## measure ordinary clients beside 2,000 that flood the proxy; FLOOD_ARGS=--help says what can be chosen
	@.ci/packages "the flood" mariadb-server=/usr/lib/mysql/plugin/auth_ed25519.so sysbench=sysbench || true
	@$(BIN)/python -m tests.flood $(FLOOD_ARGS)

.PHONY: timing
timing: $(VENV)/.for-test ## measure if the time of a refusal tells who exists; TIMING_ARGS=--help
	@.ci/packages "the server" mariadb-server=/usr/lib/mysql/plugin/auth_ed25519.so || true
	@$(BIN)/python -m tests.timing $(TIMING_ARGS)

.PHONY: clean
clean: ## delete what the other targets made, but for packages and the cache in ~/.cache/rdsproxy
	@if [ -e var/lock ] && ! flock --nonblock var/lock true; then \
		echo "rdsproxy: stop 'make run' first" >&2; exit 1; fi
	@rm -rf $(VENV) var build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find rdsproxy tests twisted \( -name __pycache__ -o -name '*.so' -o -name dropin.cache \) -prune -exec rm -rf {} +
