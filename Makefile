# make demo: environment, installation and a first trained model.
# make test: the whole suite; `make test ONLY=engine` a room's tests, as tests/ has them.
# make soak: minutes of kills, of memory and of proofs of every recipe, of which the suite has seconds.
# make lint: ruff and mypy.  make format: what ruff can put right by itself.
# make clean: remove what tests and builds leave behind.
# PYTHON picks the interpreter (3.11 or newer), VENV the folder of the environment.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/digits
JOBS ?= 2
ONLY ?=
# Pinned, tested versions for this Python where there are any; `make CONSTRAINTS=` takes the newest allowed.
CONSTRAINTS ?= $(wildcard constraints/py$(shell $(PYTHON) -c 'import sys; print("%d%d" % sys.version_info[:2])').txt)
PIP = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS))

.PHONY: demo test soak lint format clean help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo: $(VENV)/bin/jaxgen
	$(VENV)/bin/jaxgen train digits --run $(RUN)

test: $(VENV)/bin/pytest
	JAX_COMPILATION_CACHE_DIR=$${JAX_COMPILATION_CACHE_DIR:-$(CURDIR)/.cache/jax} $(VENV)/bin/pytest -n $(JOBS) --dist worksteal $(ONLY:%=tests/%)

soak: $(VENV)/bin/pytest
	JAX_COMPILATION_CACHE_DIR=$${JAX_COMPILATION_CACHE_DIR:-$(CURDIR)/.cache/jax} $(VENV)/bin/pytest -m soak

lint: $(VENV)/bin/pytest
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(VENV)/bin/pytest
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jaxgen needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

# Touched, because pip leaves a script alone whose package is already there.
$(VENV)/bin/jaxgen: pyproject.toml | $(VENV)/bin/python
	$(PIP) -e .
	@touch $@

$(VENV)/bin/pytest: pyproject.toml | $(VENV)/bin/python
	$(PIP) -e ".[dev]"
	@touch $@

clean:
	rm -rf .cache .pytest_cache .mypy_cache .ruff_cache build dist
