# Every target makes its own virtual environment in $(VENV) and installs what it needs. Stamp files in there remember what
# was installed from what, so that a second call starts at once. `make help` lists the targets.

VENV ?= .venv
PYTHON ?=
ifeq ($(strip $(PYTHON)),)
PYTHON := $(shell python3.11 -c "import sys; print(sys.executable)" 2>/dev/null || command -v python3 || echo python3)
endif
# Test processes; e.g. `make test WORKERS=4`. ARGS goes to pytest: `make test ARGS="-k grid -x"`.
WORKERS = 2
ARGS =
# The environment of the library that `make bench` compares with, and a Python of 3.12 or newer to make it.
PEER = .venv-peer
PEER_PYTHON = python3.12
# A folder of your own files for `make demo`; without it the demo writes a look-alike archive.
DATA =

BIN := $(VENV)/bin
# Folders are listed too: they become newer when a file in them is added or removed.
SOURCES := $(shell find geodata -not -name '*.pyc' -not -name __pycache__)
# Setuptools takes over what an older build left in build/, so it goes first; afterwards the tree is as it was.
INSTALL = rm -rf build geodata.egg-info && $(BIN)/python -m pip install -qq --no-build-isolation \
	--constraint constraints.txt $(1) && rm -rf build geodata.egg-info
# Run in tests/ and without the current folder on the path, so that `import geodata` finds the installed package.
IN_TESTS = python="$$(cd $(BIN) && pwd)/python" && cd tests && PYTHONSAFEPATH=1 "$$python"
PYTEST = $(IN_TESTS) -m pytest

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test test-all lint format types imports docs check bench bench-archives bench-peer bench-splits bench-stores bench-transforms dataset-pages gallery model-page public-api constraints

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.extra-plot $(VENV)/.package ## Run the main job end to end into demo-out/ (DATA=folder for your files)
	$(BIN)/geodata demo --out demo-out $(if $(DATA),--data "$(DATA)")

test: $(VENV)/.extra-test $(VENV)/.package ## Run the tests, except slow ones, against the installed package
	$(PYTEST) -n $(WORKERS) -m "not slow" $(ARGS)

test-all: $(VENV)/.extra-test $(VENV)/.package ## Run all tests, slow ones too
	$(PYTEST) -n $(WORKERS) $(ARGS)

lint: $(VENV)/.extra-dev ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.extra-dev ## Mend style and format where that can be done by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.extra-dev ## Check the types (mypy --strict)
	$(BIN)/mypy

imports: $(VENV)/.extra-dev ## Check which module imports which (contracts in setup.cfg)
	$(BIN)/lint-imports --no-cache --no-logo

docs: $(VENV)/.extra-test $(VENV)/.package ## Run every example in README.md, docs/ and the docstrings
	$(PYTEST) test_docs.py $(ARGS)

check: lint types imports test ## All that CI runs

# Writes archives of 7 GB into bench-data/ the first time. `make bench ARGS="--quick --only C"` takes a look and writes nothing.
bench: $(VENV)/.extra-test $(VENV)/.package ## Measure this library and its peer side by side; writes docs/benchmarks.md
	@test -x $(PEER)/bin/python || { echo "the peer's environment is missing: make bench-peer (gigabytes)"; exit 1; }
	$(BIN)/python benchmarks/run.py --peer $(PEER)/bin/python $(ARGS)

bench-archives: $(VENV)/.extra-test $(VENV)/.package ## Measure published archives; writes docs/benchmarks-archives.md
	@test -x $(PEER)/bin/python || { echo "the peer's environment is missing: make bench-peer (gigabytes)"; exit 1; }
	$(BIN)/python benchmarks/archives.py --peer $(PEER)/bin/python --write

bench-splits: $(VENV)/.extra-test $(VENV)/.package ## Split and audit reBEN and SpectralEarth; writes docs/benchmarks-splits.md
	$(BIN)/python benchmarks/splits.py --write

# Writes archives and stores of 18 GB into bench-data/ the first time.
bench-stores: $(VENV)/.extra-test $(VENV)/.package ## Compare stores with LMDB and TorchGeo; writes docs/benchmarks-stores.md
	@test -x $(PEER)/bin/python || { echo "the peer's environment is missing: make bench-peer (gigabytes)"; exit 1; }
	$(BIN)/python benchmarks/stores.py --peer $(PEER)/bin/python --write $(ARGS)

bench-transforms: $(VENV)/.extra-test $(VENV)/.package ## Compare transforms with kornia and bare tensors; writes docs/benchmarks-transforms.md
	$(BIN)/python benchmarks/transforms.py --write $(ARGS)

gallery: $(VENV)/.extra-test $(VENV)/.package ## Run the examples of docs/gallery/ and write their figures anew
	$(BIN)/python docs/gallery/geographic_splits.py
	$(BIN)/python docs/gallery/model_inputs.py

# Downloads gigabytes: its torch is built for GPUs, and brings their libraries.
bench-peer: $(PEER)/.made ## Make the environment of the library that `make bench` compares with

$(PEER)/.made:
	$(PEER_PYTHON) -m venv $(PEER)
	$(PEER)/bin/python -m pip install -q torch==2.13.0 torchgeo==0.10.1 pyarrow
	@touch $@

public-api: $(VENV)/.extra-test $(VENV)/.package ## Write tests/public_api.txt anew after a deliberate change
	$(IN_TESTS) test_public_api.py --write

dataset-pages: $(VENV)/.extra-test $(VENV)/.package ## Write docs/datasets/ anew
	$(IN_TESTS) test_dataset_pages.py --write

model-page: $(VENV)/.extra-test $(VENV)/.package ## Write docs/models.md anew
	$(IN_TESTS) test_model_page.py --write

constraints: $(VENV)/.extra-test $(VENV)/.extra-dev ## Write constraints.txt anew from what is installed
	$(BIN)/python -m pip freeze --all --exclude pip --exclude geodata | sed 's/+[a-z0-9]*$$//' > constraints.new
	(sed '/^[^#]/,$$d' constraints.txt && cat constraints.new) > constraints.both && mv constraints.both constraints.txt
	rm constraints.new

$(VENV)/.python: constraints.txt
	@"$(PYTHON)" -c "import sys; sys.exit(sys.version_info < (3, 11) and 'geodata needs Python 3.11 or newer, this is ' + sys.version + '; give another by make PYTHON=...')"
	"$(PYTHON)" -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --constraint constraints.txt setuptools
	@touch $@

$(VENV)/.extra-%: $(VENV)/.python setup.cfg pyproject.toml constraints.txt
	@echo "installing geodata[$*] and what it needs into $(VENV); the first time this takes minutes"
	@$(call INSTALL,".[$*]")
	@touch $@

# Without --no-deps every changed line would ask pip to look at all requirements again.
$(VENV)/.package: $(SOURCES) setup.cfg pyproject.toml README.md LICENSE | $(VENV)/.python
	@$(call INSTALL,--no-deps --force-reinstall .)
	@touch $@
