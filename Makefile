# The commands of a newcomer. Needs python3 (3.11 to 3.13), make and git; everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
PYTEST = $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: bench help setup demo all test test-long peers lint format dvc reference docs clean

help:
	@echo "make demo       set up, then the whole pipeline on embedded data (no download of data)"
	@echo "make test       set up, then the tests that tell whether the installation works (a few minutes)"
	@echo "make test-long  set up, then all other tests (20 minutes on two cores)"
	@echo "make peers      get the packages that LRP is compared with besides (2 MB), each into a folder of .peers"
	@echo "make all        set up, then every experiment of params.yaml (downloads CIFAR-10, MNIST, VGG-16)"
	@echo "make setup      create $(VENV) and install the package with pinned dependencies (2 to 10 minutes, 6 GB)"
	@echo "make lint       ruff, snakefmt and snakemake --lint;  make format: let the formatters rewrite"
	@echo "make dvc        rewrite dvc.yaml after a change of the workflow; EXPERIMENTS=blog: add what is not made yet"
	@echo "make bench      time and count everything, beside other packages; results in benchmarks/results"
	@echo "make reference  rewrite the lists of parameters and the picture of the rules after a change of either"
	@echo "make docs       build the site of the documentation, docs/_build/html/index.html, without a network"
	@echo "make clean      delete what the pipeline made, but neither $(VENV) nor downloads"

setup: $(BIN)/.workflow

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || \
		{ echo "make: there is no $(PYTHON); install Python 3.11, 3.12 or 3.13, or say which: make PYTHON=python3.12 setup" >&2; exit 1; }
	@"$(PYTHON)" workflow/scripts/check_machine.py $(VENV)
	@echo "Setting up $(VENV): 6 GB, 2 to 10 minutes, depending on the network."
	"$(PYTHON)" -m venv $(VENV)

$(BIN)/.workflow: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[workflow]'
	@touch $@

$(BIN)/.test: $(BIN)/.workflow
	$(PIP) -e '.[workflow,test,lint,xcheck]'
	@touch $@

$(BIN)/.docs: $(BIN)/.workflow
	$(PIP) -e '.[workflow,docs]'
	@touch $@

demo: $(BIN)/.workflow
	$(BIN)/snakemake --cores all demo

all: $(BIN)/.workflow
	$(BIN)/snakemake --cores all

test: $(BIN)/.test
	$(PYTEST) -n 2

# More processes than cores, since some of these tests wait.
test-long: $(BIN)/.test
	$(PYTEST) -n 3 -m long

# What the tables of the documentation were made by; hours, and alone on the machine.
bench: peers
	$(BIN)/python benchmarks/lrp.py --threads 1 --output benchmarks/results/lrp.json
	$(BIN)/python benchmarks/recording.py --output benchmarks/results/recording.json
	$(BIN)/python benchmarks/stage.py --output benchmarks/results/stage.json
	$(BIN)/python benchmarks/scale.py --output benchmarks/results/scale.json --figure benchmarks/results/scale.png
	$(BIN)/python benchmarks/coverage.py --output benchmarks/results/coverage.json
	$(BIN)/python benchmarks/comparison.py --output benchmarks/results/comparison.json

# Without their dependencies, which are installed or not needed; zennit asks for a later Python than it needs.
peers: $(BIN)/.test
	rm -rf .peers
	for peer in zennit-1.0.0 autolrp-0.2.0 lxt-2.1; do $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --ignore-requires-python --target .peers/$$peer "$${peer%-*}==$${peer##*-}" || exit 1; done

lint: $(BIN)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff check --preview --select PLW1514 src tests workflow  # text files say their encoding
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

format: $(BIN)/.test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow

dvc: $(BIN)/.workflow
	$(BIN)/python workflow/scripts/dvc_yaml.py $(EXPERIMENTS)

reference: $(BIN)/.workflow
	$(BIN)/python workflow/scripts/reference.py
	$(BIN)/python workflow/scripts/rulegraph.py

docs: $(BIN)/.docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --jobs auto -d docs/_build/doctrees docs docs/_build/html

clean:
	rm -rf results reports logs .cache docs/_build data/*.h5
