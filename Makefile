# All that is needed: Python 3.11 to 3.13 and make.

PYTHON ?= python3
PORT ?= 8080
CONTAINER ?= docker
IMAGE ?= vaultbell
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help venv demo run test bench check-infra check-image fuzz soak mutate audit package image pictures docs lint format lock clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(READY) ## The virtual environment with all tools, from the lock

$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14) and "Python 3.11 to 3.13 is needed: make PYTHON=python3.13 …")'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements-dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY) ## The function against a stand-in cloud: see it ring
	@$(BIN)/python tests/demo.py

run: $(READY) ## The function on PORT (8080), with the settings of the environment
	$(BIN)/functions-framework --source function/main.py --target handle --port $(PORT)

test: $(READY) ## Every test
	$(BIN)/pytest --numprocesses 4 --dist loadfile  # they wait more than they work

# BENCH=--quick for a minute's look, which writes nothing; BENCH='--only warm cold' for parts of it.
bench: package build/bench/product/.ready build/bench/peers/.ready ## What it costs beside its peers: tests/bench/RESULTS.md
	PYTHONPATH=tests:function build/bench/peers/bin/python -m bench $(BENCH)

# SOAK='--events 5000 queue' for a part of it, SOAK='--seed 7' for the same again.
soak: $(READY) ## Events under faults, by queue, door and three brokers, and a month of sweeps: nothing lost or made up
	PYTHONPATH=tests:function $(BIN)/python -m soak $(SOAK)

# FUZZ='--seconds 600' for longer; FUZZ='event log' for parts of it.
fuzz: build/fuzz/venv/.ready ## What strangers may send, tried by what code it reaches: atheris
	PYTHONPATH=tests:function build/fuzz/venv/bin/python -m fuzz $(FUZZ)

# MUTATE='outcome sweep' for some of the modules.
mutate: build/mutate/venv/.ready ## The code that decides, changed in every way: does a test mind? mutmut
	PYTHONPATH=tests build/mutate/venv/bin/python -m mutation $(MUTATE)

audit: $(READY) ## What is known against the packages of the locks: pip-audit; without the network it says so
	$(BIN)/python infra/audit.py

build/bench/product/.ready: requirements.txt
build/bench/peers/.ready: tests/bench/requirements.txt
build/fuzz/venv/.ready: tests/fuzz/requirements.txt
build/mutate/venv/.ready: tests/mutation/requirements.txt
build/%/.ready:
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/pip install --quiet --require-hashes -r $<
	touch $@

build/check-infra/.ready: tests/infra/requirements.txt
	rm -rf $(@D)
	$(BIN)/pip install --quiet --no-deps --require-hashes --target $(@D) -r $<
	touch $@

check-infra: export PATH := $(CURDIR)/build/check-infra/bin:$(PATH)
check-infra: $(READY) build/check-infra/.ready ## What is deployed: the checks of others' tools, and the zip on a bare Python 3.12
	PYTHONPATH=build/check-infra $(BIN)/pytest tests/infra/test_*.py tests/infra/check_*.py

check-image: $(READY) ## The container image, built and run: as root, with buildah and debootstrap
	$(BIN)/pytest -s tests/infra/build_image.py

package: $(READY) ## The zip for FunctionGraph, in dist/
	$(BIN)/python infra/package.py

image: ## The container image, as IMAGE (vaultbell), by CONTAINER (docker)
	$(CONTAINER) build --file infra/container/Dockerfile --tag $(IMAGE) .

pictures: $(READY) ## The README's pictures of a mail, by Chromium
	$(BIN)/python tests/pictures.py

docs: $(READY) ## The documentation, in build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: $(READY) ## Rules, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Put the code into form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# Without the user's or the machine's configuration: the lock must say the same everywhere.
# `make lock` keeps what does; `make lock UPGRADE=--upgrade` takes the newest.
LOCK = $(BIN)/uv pip compile --no-config --quiet --universal --python-version 3.11 \
	--generate-hashes --no-annotate --no-emit-index-url $(UPGRADE) --custom-compile-command "make lock"
COMPILE = $(LOCK) pyproject.toml

lock: $(READY) ## Compile requirements*.txt from pyproject.toml
	$(COMPILE) --output-file requirements.txt
	$(COMPILE) --all-extras --group dev --constraint requirements.txt --output-file requirements-dev.txt
	$(COMPILE) --extra metrics --extra otel --extra queue --extra redis --constraint requirements-dev.txt --output-file requirements-container.txt
	$(LOCK) tests/infra/requirements.in --constraint requirements-dev.txt --output-file tests/infra/requirements.txt
	$(COMPILE) tests/bench/requirements.in --extra queue --constraint requirements.txt --output-file tests/bench/requirements.txt
	$(COMPILE) tests/fuzz/requirements.in --constraint requirements.txt --output-file tests/fuzz/requirements.txt
	$(COMPILE) tests/mutation/requirements.in --constraint requirements.txt --output-file tests/mutation/requirements.txt

clean: ## Remove what the other targets made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist function/vaultbell.egg-info
	find function tests -name __pycache__ -type d -prune -exec rm -rf {} +
