# Needs git, make and Python >= 3.11 with venv; everything else comes as wheels.
PYTHON ?= python3
VENV   ?= .venv
MEDIA  ?=
PORT   ?= 8080
TESTS  ?= tests

.PHONY: run test e2e bench lint install clean
.DEFAULT_GOAL := run

run: $(VENV)/.run                     ## put the demo head end on air
	$(VENV)/bin/headend demo --port $(PORT) $(if $(MEDIA),--media "$(MEDIA)")

test: $(VENV)/.test                   ## every test; those that need a browser or GStreamer say so when they are skipped
	$(VENV)/bin/python -m pytest $(TESTS)

bench: $(VENV)/.test                  ## every benchmark with its gate
	$(VENV)/bin/python -m pytest benchmarks --benchmark-disable-gc -p no:cacheprovider

lint: $(VENV)/.test                   ## ruff, mypy and the status page's types
	$(VENV)/bin/python build_console.py --check
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

install: $(VENV)/.run

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python %d.%d is too old; the head end needs 3.11 or newer: make PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

CONSOLE := $(wildcard headend/console/*.json headend/console/*.js headend/console/*.html headend/console/src/* headend/console/public/*)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml build_console.py $(CONSOLE)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.test: $(VENV)/.run
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build dist headend/console/dist headend/console/node_modules
