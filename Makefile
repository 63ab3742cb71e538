# A handful of targets; `make` alone prints them.

# The interpreter that builds .venv: Python 3.11, 3.12 or 3.13.
PYTHON ?= python3
# Extra options for `demo`, `test`, `quick`, `docs` and `bench`: make test ARGS="tests/ranking -x"
ARGS ?=
# Torch's build: cpu, cuda12 or cuda13; empty: that of .venv, or whichever pip finds first for a new
# one (docs/install.md).
BUILD ?=
# Extra pip options for torch alone, such as a mirror; unless given, PyTorch's own index of a build
# that PyPI does not have.
TORCH_ARGS ?= $(if $(INDEX),--extra-index-url https://download.pytorch.org/whl/$(INDEX))
# Extra pip options for everything.
PIP_ARGS ?= $(if $(CI),--quiet)

VENV := .venv
BIN := $(VENV)/bin
# Where the SBOM is written from (.ci/sbom.txt says why it is a place of its own).
SBOM := $(VENV)/sbom
STAMP := $(VENV)/.installed
# The stamp holds the build that .venv has, so that another one is noticed and this one stays.
BUILT := $(strip $(shell cat $(STAMP) 2>/dev/null))
WANTED := $(or $(BUILD),$(BUILT))
INDEX := $(patsubst cuda12,cu126,$(filter cpu cuda12,$(WANTED)))
CONSTRAINTS := $(if $(WANTED),constraints/$(WANTED).txt,constraints.txt)
PIP_INSTALL := $(BIN)/python -m pip install $(PIP_ARGS) -c $(CONSTRAINTS)

.DEFAULT_GOAL := help
.PHONY: other-build help install demo examples scripts pages quick test consumers lint types docs bench dist clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## build .venv with everything pinned (BUILD=cpu, cuda12 or cuda13: torch's build)

demo: $(STAMP) ## rerank a small collection end to end on this machine
	$(BIN)/rerank demo $(ARGS)

examples: scripts pages ## run the jobs of examples/ and the commands of docs/

scripts: $(STAMP)
	for name in rerank compare distill refresh; do \
		PATH="$(CURDIR)/$(BIN):$$PATH" examples/$$name.sh || exit 1; done

pages: $(STAMP)
	$(BIN)/pytest -q -m pages tests/docs

quick: $(STAMP) ## run the tests that need no Ray and no server, in two minutes
	$(BIN)/pytest -q --quick -n 2 --dist loadfile --no-loadscope-reorder --durations 5 \
		--durations-min 3 $(ARGS)

test: $(STAMP) ## run the tests (ARGS="..." goes to pytest)
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

consumers: $(STAMP) ## load our training formats with the trainers that they are for
	tests/consumers/run.sh $(BIN)/python

lint: $(STAMP) ## check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## check types
	$(BIN)/mypy

docs: $(STAMP) ## prove that the documentation matches the code
	$(BIN)/pytest -q tests/docs $(ARGS)

bench: $(STAMP) ## measure speed beside peers on this machine
	$(BIN)/python -m benchmarks.compare $(ARGS)

# Times in the wheel and in the SBOM are that of the commit.
dist: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null)
dist: $(STAMP) ## build wheel and sdist in dist/, with the constraints and an SBOM (CycloneDX)
	rm -rf dist build
	$(BIN)/python -m build --no-isolation --outdir dist .
	cp -r constraints.txt $(wildcard constraints) dist/
	$(SBOM)/bin/cyclonedx-py requirements constraints.txt --pyproject pyproject.toml \
		--output-reproducible --output-file dist/sbom.cdx.json

clean: ## remove caches and build leftovers (.venv and out/ stay)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt .ci/sbom.txt $(CONSTRAINTS) $(if $(filter-out $(BUILT),$(WANTED)),other-build)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
		echo "Python 3.11, 3.12 or 3.13 is needed; '$(PYTHON)' is missing or another version." \
			"Name one: make install PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV) || { \
		echo "Could not create $(VENV) with '$(PYTHON) -m venv'." \
			"On Debian and Ubuntu: apt install python3-venv, then make install again." >&2; exit 1; }
	$(PIP_INSTALL) $(TORCH_ARGS) torch
	$(PIP_INSTALL) -e '.[demo,dev,report]'
	$(BIN)/python -m venv $(SBOM)
	$(SBOM)/bin/python -m pip install $(PIP_ARGS) -r .ci/sbom.txt
	@echo '$(WANTED)' >$@

other-build:

constraints/%.txt:
	@echo "BUILD=$*: no such build of torch; give cpu, cuda12 or cuda13." >&2; exit 1
