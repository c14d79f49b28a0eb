# mailproxy: set up, try, check and test from a fresh checkout.
#
#   make run      a working proxy with two demo backends on high ports
#   make check    format, lint, types, unit tests: under a minute
#   make test     check, then everything against real servers: some ten minutes
#   make stress   the long runs
#   make bench    what a login, a round trip, a GiB and a session cost here: a few minutes
#   make clean    remove what the other targets made

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Tests start the proxy a thousand times: its modules are compiled once, whatever the environment says.
export PYTHONDONTWRITEBYTECODE :=

# What tests need from Debian; `make run` needs only a Python that can make a venv.
PACKAGES := dovecot-imapd dovecot-pop3d dovecot-sqlite mariadb-server postgresql mandoc \
	isync fetchmail curl mutt strace procps openssl gnutls-bin haproxy systemd

# Servers that Debian does not let stand beside Dovecot: fetched, but not installed.
CYRUS := cyrus-imapd cyrus-pop3d sasl2-bin libsasl2-modules libsasl2-modules-db
COURIER := courier-imap courier-pop courier-authdaemon courier-authlib-userdb

# Folders whose tests are quick, but for a few files of them that start processes or move much data.
QUICK := tests/unit tests/house tests/transcripts
SLOW := tests/unit/auth/test_auth_process.py tests/unit/net/test_relay.py \
	tests/transcripts/test_transcripts_sockets.py
OTHERS := $(filter-out $(QUICK:%=%/) tests/harness/ tests/stress/ tests/__pycache__/,$(wildcard tests/*/))
PYTEST := $(BIN)/python -m pytest -q -m "not stress"
# Quick tests compute, others mostly wait. Either way a file's tests are run by one after the other; the files
# in the order of tests/conftest.py.
PAIRS := -n 2 --dist loadfile
FOURS := -n 4 --dist loadfile --no-loadscope-reorder

.PHONY: run check test stress bench clean packages

run: $(VENV)/ready-demo
	$(BIN)/python -m demo

check: $(VENV)/ready-test $(VENV)/ready-demo
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(PYTEST) $(PAIRS) $(SLOW:%=--ignore=%) $(QUICK)

# What looks at processes that come and go on a busy machine may look at the wrong moment: a failure counts
# when it comes twice in a row, and every second try is printed, with its reason.
test: packages check
	$(PYTEST) $(FOURS) --reruns 1 --rerun-show-tracebacks -rR --durations=10 $(SLOW) $(OTHERS)
	$(PYTEST) tests/stress

# `make stress ONLY=reload` runs what has that in its name; `MINUTES=5` shortens the mixed traffic.
stress: packages $(VENV)/ready-test $(VENV)/ready-demo
	STRESS_TABLE=build/stress.md $(BIN)/python -m pytest -m stress --timeout=3600 $(if $(ONLY),-k '$(ONLY)') tests

# PEER=HOST:PORT compares another proxy, whose users bench0, bench1 … are at port BACKEND; PEER_PID is its process.
bench: $(VENV)/ready-bench
	$(BIN)/python -m bench $(if $(PEER),--peer $(PEER)) $(if $(PEER_PID),--peer-pid $(PEER_PID)) \
		$(if $(BACKEND),--backend-imap $(BACKEND)) $(BENCH)

packages:
	@sh tests/debian-packages $(PACKAGES)
	@sh tests/debian-archives build/archives/cyrus $(CYRUS)
	@sh tests/debian-archives build/archives/courier $(COURIER)

clean:
	rm -rf $(VENV) build run .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || sh tests/debian-packages python3-venv
	$(PYTHON) -m venv $(VENV)

# One stamp for each extra of pyproject.toml; a change there installs anew.
$(VENV)/ready-%: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
