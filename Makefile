# Each target makes the environment it needs in .venv; a changed pyproject.toml or constraints.txt updates it.
# Settings: make test PYTHON=python3.12 WORKERS=8 ARGS="-k ranking"
#           make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu   (no GPU here: saves gigabytes)

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

PYTHON ?= python3
WORKERS ?= 2
TORCH_INDEX ?=
ARGS ?=
SECONDS ?= 600
SEED := $(or $(SEED),$(shell date +%s))
RUN ?= runs/demo/mclrec

VENV := .venv
BIN := $(VENV)/bin
ONNX_VENV := .venv-onnx
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install
SPECIFICATION := pyproject.toml constraints.txt

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.has-demo ## train MCLRec and SASRec on the bundled data, compare, recommend; writes runs/demo
	$(BIN)/mclrec demo $(ARGS)

.PHONY: serve-demo
serve-demo: $(VENV)/.has-serve ## serve the model of make demo at http://127.0.0.1:8000; trains it if it is missing
	[[ -e runs/demo/mclrec/config.json ]] || $(BIN)/mclrec demo
	$(BIN)/mclrec serve runs/demo/mclrec $(ARGS)

.PHONY: test
test: $(VENV)/.has-test ## run the quick tests
	$(BIN)/python -m pytest -n $(WORKERS) -m "not slow and not gpu and not onnx and not browser and not attack and not docs and not adapters" $(ARGS)

.PHONY: test-browser
test-browser: $(VENV)/.has-browser ## test the service's page and the leaderboard in Chromium (Debian: apt-get install chromium)
	$(BIN)/python -m pytest -m browser tests/serving/test_page.py tests/test_leaderboard_page.py $(ARGS)

.PHONY: page-pictures
page-pictures: $(VENV)/.has-browser ## photograph the service's page; make page-pictures RUN=runs/demo/mclrec
	$(BIN)/python scripts/page_pictures.py $(RUN)

.PHONY: test-all
test-all: $(VENV)/.has-all ## run all tests, slow ones too; those without their data or device are skipped
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

.PHONY: test-slow
test-slow: $(VENV)/.has-test ## run the slow tests that no other target runs: several processes, kills, every setting of every model
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations=15 -m "slow and not gpu and not onnx and not browser and not attack and not docs and not adapters and not spark" \
	    --ignore tests/serving/rest/test_abuse.py --ignore tests/serving/rest/test_loop_stays_free.py --ignore tests/serving/rest/test_deployment.py $(ARGS)

.PHONY: test-abuse
test-abuse: $(VENV)/.has-test ## hostile and broken clients of mclrec serve, a million items, and the documented deployment (6 minutes)
	$(BIN)/python -m pytest tests/serving/rest/test_abuse.py tests/serving/rest/test_loop_stays_free.py tests/serving/rest/test_deployment.py $(ARGS)

.PHONY: soak
soak: $(VENV)/.has-test ## an hour of load on mclrec serve with reloads, kills and a full disk (ARGS="--seconds 600")
	$(BIN)/python scripts/soak.py --folder runs/soak $(ARGS)

.PHONY: test-nightly
test-nightly: $(VENV)/.has-test ## a few nights of a shop: update, refuse, roll back, and not one failed request (2 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python examples/nightly/drill.py $(ARGS)

.PHONY: test-attack
test-attack: $(VENV)/.has-test ## random and damaged files, tables, directories, signals and requests (10 minutes; SECONDS=180 SEED=7)
	ATTACK_SECONDS=$(SECONDS) ATTACK_SEED=$(SEED) $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m attack tests/attack $(ARGS)

.PHONY: test-onnx
test-onnx: $(VENV)/.has-test $(ONNX_VENV)/.has-onnx ## answer by an export in an environment that has no torch
	rm -rf $(ONNX_VENV)/run
	$(BIN)/python -m tests.inference.onnx_export $(ONNX_VENV)/run
	MCLREC_ONNX_EXPORT=$(ONNX_VENV)/run/onnx $(ONNX_VENV)/bin/python -m pytest -m onnx tests/inference/test_without_torch.py

.PHONY: test-spark
test-spark: .venv-spark/.has-spark ## run the tests of preparation on Spark, in an environment of its own; needs Java 17
	.venv-spark/bin/python -m pytest -m spark tests/data/test_backends.py $(ARGS)

.PHONY: dist
dist: $(VENV)/.has-dist ## build wheel and sdist into dist/, and check them as an index would
	$(BIN)/python -m scripts.distributions

.PHONY: test-walk
test-walk: dist ## a newcomer's first minutes with the built wheel: install, inspect, train, recommend, serve; demo and tests (6 minutes)
	TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python -m scripts.newcomer $(ARGS)

.PHONY: test-lowest
test-lowest: $(VENV)/.has-dist ## a part of the tests with the lowest versions that pyproject.toml allows, in .venv-lowest (10 minutes)
	TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python -m scripts.lowest $(ARGS)

.PHONY: docs
docs: $(VENV)/.has-docs ## build the site from README, docs/ and the docstrings into site/, strictly; needs no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	$(BIN)/python -m scripts.site_check site

.PHONY: test-docs
test-docs: $(VENV)/.has-test ## run every command and block of Python of README and docs/, but for those of tests/documentation/exceptions.toml
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m docs tests/documentation $(ARGS)

.PHONY: test-notebooks
test-notebooks: $(VENV)/.has-notebooks ## run the notebooks of docs/notebooks, and compare them with what is committed (5 minutes)
	$(BIN)/python -m pytest -q tests/test_notebook_bars.py
	$(BIN)/python -m scripts.notebooks $(ARGS)

.PHONY: notebooks
notebooks: $(VENV)/.has-notebooks ## run the notebooks and write them with their outputs (ARGS=2: the second)
	$(BIN)/python -m scripts.notebooks --write $(ARGS)

.PHONY: test-adapters
test-adapters: $(VENV)/.has-adapters ## what runs tell MLflow, Weights & Biases and the Hugging Face Hub, each offline
	$(BIN)/python -m pytest -m adapters tests/runs/test_trackers.py tests/inference/test_hub.py $(ARGS)

.PHONY: test-judge
test-judge: $(VENV)/.has-bench ## judge RecTools' SASRec beside ours, compare metrics, test our model in RecTools, run the migration pages (6 minutes)
	TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python -m scripts.judge_peers $(ARGS)
	TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python -m scripts.rectools_tests
	TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python -m scripts.check_migration

.PHONY: check
check: $(VENV)/.has-check ## check format, lint, types, the import rules and the pages of results
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m scripts.publish --check

.PHONY: format
format: $(VENV)/.has-check ## format the code and repair what ruff can repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench
bench: $(VENV)/.has-bench ## measure speed and memory beside the peers (an hour); writes docs/performance.md and README.md
	TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python -m benchmarks run $(ARGS)
	$(BIN)/python -m benchmarks report

.PHONY: bench-quick
bench-quick: $(VENV)/.has-bench ## the same, less of everything (5 minutes); only prints
	TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python -m benchmarks run --quick $(ARGS)

.PHONY: bench-accuracy
bench-accuracy: $(VENV)/.has-bench ## train MCLRec on Beauty to the end, and within 3.5 minutes, three seeds; writes docs/performance.md
	$(BIN)/python -m benchmarks run --part accuracy $(ARGS)
	$(BIN)/python -m benchmarks report

.PHONY: bench-cuda
bench-cuda: $(VENV)/.has-bench ## the table of a CUDA device, in under 8 minutes; fails where there is none
	$(BIN)/python -m benchmarks run --part cuda --minutes 7 $(ARGS)
	$(BIN)/python -m benchmarks report

.PHONY: bench-serve
bench-serve: $(VENV)/.has-serve ## load on mclrec serve, open loop (10 minutes; Debian: apt-get install wrk); writes the pages
	$(BIN)/python -m benchmarks run serving $(ARGS)
	$(BIN)/python -m benchmarks report

.PHONY: bench-train
bench-train: $(VENV)/.has-bench ## where the time of mclrec train on 100 million rows goes (20 GB of disk; ARGS=--quick for a million)
	$(BIN)/python -m benchmarks run train-100m $(ARGS)
	$(BIN)/python -m benchmarks report

.PHONY: bench-logs
bench-logs: $(VENV)/.has-bench ## every system at its defaults on four logs (hours; goes on if interrupted; ARGS=--quick); writes the pages
	TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python -m benchmarks logs $(ARGS)
	$(BIN)/python -m benchmarks report

.PHONY: clean
clean: ## remove the environments, caches and builds; runs/ stays
	rm -rf $(VENV) $(ONNX_VENV) .venv-spark .venv-peers .venv-lowest build dist site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests -type d -name __pycache__ -prune -exec rm -rf {} +

# Environments. A stamp says what is installed, and is written only when that has succeeded.

EXTRAS_demo := report
EXTRAS_test := report,serve,otel,index,track,tune,test
EXTRAS_all := report,serve,otel,index,track,tune,test,browser,bundled,mlflow,wandb,hub
EXTRAS_browser := report,serve,otel,index,track,tune,test,browser
EXTRAS_check := report,serve,otel,index,track,tune,test,browser,check
EXTRAS_bench := report,recbole
EXTRAS_docs := docs
EXTRAS_dist := dist
EXTRAS_serve := report,serve,index
EXTRAS_notebooks := report,serve,tune,notebooks
EXTRAS_adapters := mlflow,wandb,hub,test

$(VENV)/.has-python:
	@command -v "$(PYTHON)" >/dev/null || { echo "$(PYTHON): not found; say which: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "mclrec needs Python 3.11 or newer, this is $$("$(PYTHON)" --version 2>&1); say which: make PYTHON=python3.11" >&2; exit 1; }
	@echo "== new environment in $(VENV), $$("$(PYTHON)" --version)"
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

# Spark's own environment has no torch: preparation needs none, and so neither do these tests.
SPARK_PACKAGES := duckdb filelock hypothesis narwhals numpy packaging pandas polars pyarrow pydantic pyspark pytest rich typer

.venv-spark/.has-spark: $(VENV)/.has-python $(SPECIFICATION)
	@echo "== new environment in .venv-spark"
	$(BIN)/python -m venv .venv-spark
	.venv-spark/bin/python -m pip --disable-pip-version-check install --constraint constraints.txt $(SPARK_PACKAGES)
	.venv-spark/bin/python -m pip --disable-pip-version-check install --no-deps --editable .
	@touch $@

# Torch comes first, alone and by its exact version: nothing later looks for a newer one (on Linux each brings
# gigabytes of CUDA packages), and another index may supply it. What it needs comes with the rest, pinned.
$(VENV)/.has-torch: $(VENV)/.has-python $(SPECIFICATION)
	@echo "== installing torch"
	$(PIP_INSTALL) --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$$(grep '^torch==' constraints.txt)"
	@touch $@

$(VENV)/.has-%: $(VENV)/.has-torch $(SPECIFICATION)
	@echo "== installing mclrec[$(EXTRAS_$*)]"
	$(PIP_INSTALL) --constraint constraints.txt --editable '.[$(EXTRAS_$*)]'
	@touch $@

# What answers by an export, and no torch: our own needs are therefore named here, not taken from pyproject.toml.
ONNX_PACKAGES := numpy pyarrow pydantic onnxruntime faiss-cpu filelock hypothesis pytest
$(ONNX_VENV)/.has-onnx: $(SPECIFICATION)
	"$(PYTHON)" -m venv $(ONNX_VENV)
	$(ONNX_VENV)/bin/python -m pip --disable-pip-version-check install --constraint constraints.txt $(ONNX_PACKAGES)
	$(ONNX_VENV)/bin/python -m pip --disable-pip-version-check install --no-deps --editable .
	@touch $@
