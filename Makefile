# The commands of a newcomer. Needs python3 (3.11 or newer), make and git; everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo all test lint format dvc clean

help:
	@echo "make demo    set up, then the whole pipeline on embedded data (no download of data)"
	@echo "make test    set up, then all tests"
	@echo "make all     set up, then every experiment of params.yaml (downloads CIFAR-10, MNIST, VGG-16)"
	@echo "make setup   create $(VENV) and install the package with pinned dependencies"
	@echo "make lint    ruff, snakefmt and snakemake --lint;  make format: let the formatters rewrite"
	@echo "make dvc     rewrite dvc.yaml after a change of the workflow"
	@echo "make clean   delete what the pipeline made, but neither $(VENV) nor downloads"

setup: $(BIN)/.workflow

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is missing or older than Python 3.11; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(BIN)/.workflow: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[workflow]'
	@touch $@

$(BIN)/.test: $(BIN)/.workflow
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[workflow,test,lint,xcheck]'
	@touch $@

demo: $(BIN)/.workflow
	snakemake --cores all demo

all: $(BIN)/.workflow
	snakemake --cores all

test: $(BIN)/.test
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(BIN)/.test
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	snakemake --lint

format: $(BIN)/.test
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow

dvc: $(BIN)/.workflow
	python workflow/scripts/dvc_yaml.py

clean:
	rm -rf results reports logs .cache data/*.h5
