# All targets work in a fresh clone with Python 3.11 and a package registry, because each target first sets up what it needs.

PYTHON ?= python3.11
PIPELINES := ci release retrain drift
UV_VERSION := 0.13.9
BIN := .venv/bin
UV := .tools/bin/uv
ACTIONLINT_VERSION := v1.7.8

# Imports are three times slower without bytecode, so the bytecode is compiled even if the shell switches it off.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV
# uv does not read the settings of pip, so the index of pip is passed to it.
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
export UV_LINK_MODE ?= hardlink
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-cluster check lint format data locks compile images clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.ready .venv-serving/.ready  ## Create both environments from the committed locks

demo: setup  ## Play the whole story on this machine (release, canary, promotion, rollback) and write report.html
	$(BIN)/sluice demo

test: setup data  ## Run the tests of the tool and the four test layers of the example, within 6 minutes
	$(BIN)/pytest tests/sluice tests/churn tests/tools -m "not slow and not cluster" -n 3 --dist loadfile
	@shown=$$(mktemp); { $(BIN)/sluice test code && $(BIN)/sluice test data; } >$$shown 2>&1 & first=$$!; \
	$(BIN)/sluice test model && $(BIN)/sluice test integration; second=$$?; \
	wait $$first; first=$$?; cat $$shown; rm $$shown; exit $$((first ? first : second))

test-all: setup data  ## Run the slow tests: simulations, killed processes, drills and the demo
	$(BIN)/pytest tests/sluice tests/churn -m "slow and not cluster" -n 3 --dist load --durations 30

test-cluster: setup  ## Run the tests on a Kubernetes cluster ($KUBECONFIG)
	$(BIN)/pytest tests -m cluster

check: setup data  ## Check the changes since the last commit (or since BASE=revision): linters and the nearest tests, within 20 seconds
	@$(BIN)/python tools/check_changes.py $(if $(BASE),--base $(BASE))

lint: setup  ## Run ruff, mypy --strict, import-linter, the check of the code's structure, zizmor and actionlint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/structure.py
	$(BIN)/zizmor --offline --no-progress --quiet --min-severity medium .github
	@if [ -x .tools/bin/actionlint ] || (command -v go >/dev/null && GOBIN=$(CURDIR)/.tools/bin go install github.com/rhysd/actionlint/cmd/actionlint@$(ACTIONLINT_VERSION)); \
	then .tools/bin/actionlint && echo "actionlint: no problems"; else echo "actionlint was not run, because it needs Go"; fi

format: setup  ## Format the code and apply the fixes of ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

data: data/holdout.parquet  ## Simulate the snapshot and the holdout of the example, always with the same bytes

compile: setup  ## Write pipelines/compiled/ again
	@for name in $(PIPELINES); do \
	$(BIN)/sluice compile $$name --target kfp -o pipelines/compiled/kfp/$$name.yaml && \
	$(BIN)/sluice compile $$name --target argo --kind WorkflowTemplate -o pipelines/compiled/argo/$$name.yaml || exit 1; done

images:  ## Build the step image and the serving image (buildah or docker); with REGISTRY=…, push them and print their digests
	@python3 tools/build_images.py $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(TAG),--tag $(TAG)) $(if $(BASE),--base $(BASE)) $(if $(PLAIN_HTTP),--plain-http)

locks: $(UV)  ## Resolve the locks again, within the bounds of pyproject.toml and serving/
	$(LOCK) -c serving/model-libraries.txt pyproject.toml -o locks/tool.txt
	$(LOCK) -c locks/tool.txt pyproject.toml --group dev -o locks/dev.txt
	$(LOCK) -c serving/model-libraries.txt serving/requirements.in -o locks/serving.txt

LOCK = $(UV) pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make locks"

clean:  ## Remove the environments, the data and the local state
	rm -rf .venv .venv-serving .tools data .sluice .mypy_cache .ruff_cache .hypothesis report.html

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
	{ echo "Sluice needs Python 3.11, and $(PYTHON) is not Python 3.11. Install it, or run make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.ready: locks/dev.txt pyproject.toml | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	$(UV) pip sync --quiet --compile-bytecode --python .venv locks/dev.txt
	$(UV) pip install --quiet --no-deps --python .venv --editable .
	@touch $@

.venv-serving/.ready: locks/serving.txt | $(UV)
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-serving
	$(UV) pip sync --quiet --compile-bytecode --python .venv-serving locks/serving.txt
	@touch $@

data/holdout.parquet: churn/simulation.py churn/customers.py | .venv/.ready
	$(BIN)/python -m churn.simulation --all
	@touch $@
