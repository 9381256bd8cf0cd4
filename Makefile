# All targets work in a fresh clone with Python 3.11, 3.12 or 3.13 and a package registry, because each target first sets up what
# it needs.

# Both environments have one version of Python. Once they exist, they keep it, unless `make PYTHON=…` names another one.
PYTHON ?= $(firstword $(wildcard $(CURDIR)/.venv/bin/python) python3.11)
PYTHONS := 3.11 3.12 3.13
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
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
.PHONY: help setup earlier-serving demo test test-all test-cluster test-pythons check lint format data locks compile images clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.ready-$(VERSION) .venv-serving/.ready-$(VERSION)  ## Create both environments from the committed locks

earlier-serving: $(UV)  ## Create the serving environment of an earlier COMMIT, so that releases that were fitted with its libraries can be served
	@[ -n "$(COMMIT)" ] || { echo "Name the commit: make earlier-serving COMMIT=… (a release's manifest names it)"; exit 2; }
	git show $(COMMIT):locks/serving.txt > .tools/earlier-serving.txt
	$(UV) venv --quiet --clear --python $(PYTHON) .venv-serving-$(COMMIT)
	$(UV) pip sync --quiet --compile-bytecode --python .venv-serving-$(COMMIT) .tools/earlier-serving.txt

demo: setup  ## Play the whole story on this machine (release, canary, promotion, rollback) and write report.html
	$(BIN)/sluice demo

test: setup data  ## Run the tests of the tool and the four test layers of the example, within 6 minutes
	$(BIN)/pytest tests/sluice tests/churn tests/tools -m "not slow and not cluster" -n 3 --dist loadfile
	@shown=$$(mktemp); { $(BIN)/sluice test code && $(BIN)/sluice test data; } >$$shown 2>&1 & first=$$!; \
	$(BIN)/sluice test model && $(BIN)/sluice test integration; second=$$?; \
	wait $$first; first=$$?; cat $$shown; rm $$shown; exit $$((first ? first : second))

test-all: setup data  ## Run the slow tests: simulations, killed processes, drills and the demo
	$(BIN)/pytest tests/sluice tests/churn -m "slow and not cluster" -n 3 --dist load --durations 30

test-pythons:  ## Run a selection of the quick tests on the other versions of Python, each in a copy of this folder (OTHERS="python3.12 …")
	@tools/test_pythons.sh $(OTHERS)

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

locks: $(UV)  ## Resolve the locks again after a change of pyproject.toml or serving/; UPGRADE="a b" moves these libraries, UPGRADE=all every one
	$(LOCK) -c serving/model-libraries.txt pyproject.toml -o locks/tool.txt
	$(LOCK) -c locks/tool.txt pyproject.toml --group dev -o locks/dev.txt
	$(LOCK) -c serving/model-libraries.txt --override serving/overrides.txt serving/requirements.in -o locks/serving.txt

# uv keeps each version that the lock has, unless a bound or one of these options moves it.
UPGRADES = $(if $(filter all,$(UPGRADE)),--upgrade,$(addprefix --upgrade-package ,$(UPGRADE)))
LOCK = $(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command "make locks" $(UPGRADES)

clean:  ## Remove the environments, the data and the local state
	rm -rf .venv .venv-serving .venv-serving-* .tools data .sluice .mypy_cache .ruff_cache .hypothesis report.html

$(UV):
	@$(CHECK_PYTHON)
	$(PYTHON) -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

CHECK_PYTHON = [ -n "$(filter $(PYTHONS),$(VERSION))" ] || \
	{ echo "Sluice needs Python $(PYTHONS), and $(PYTHON) is none of them. Install one, or run make PYTHON=/path/to/python3.11"; exit 2; }

# An environment with another version of Python is made anew. One with the same version only gets other libraries.
.venv/.ready-$(VERSION): locks/dev.txt pyproject.toml | $(UV)
	@$(CHECK_PYTHON)
	$(UV) venv --quiet $(if $(wildcard .venv/lib/python$(VERSION)),--allow-existing,--clear) --python $(PYTHON) .venv
	$(UV) pip sync --quiet --compile-bytecode --python .venv locks/dev.txt
	$(UV) pip install --quiet --no-deps --python .venv --editable .
	@touch $@

# A release is only served with the libraries that it was fitted with. So an environment that would change is kept beside the new one,
# where Sluice finds it (sluice/scoring/environments).
.venv-serving/.ready-$(VERSION): locks/serving.txt | $(UV)
	@$(CHECK_PYTHON)
	@if [ -e .venv-serving/bin/python ] && ! { [ -e .venv-serving/lib/python$(VERSION) ] && \
	$(UV) pip sync --dry-run --python .venv-serving locks/serving.txt 2>&1 | grep -q "Would make no changes"; }; then \
	kept=.venv-serving-$$(date -u +%Y%m%dT%H%M%S) && mv .venv-serving $$kept && \
	echo "The earlier serving environment is kept in $$kept for the releases that need it. Delete it when none does."; fi
	$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv-serving
	$(UV) pip sync --quiet --compile-bytecode --python .venv-serving locks/serving.txt
	@touch $@

data/holdout.parquet: churn/simulation.py churn/customers.py | .venv/.ready-$(VERSION)
	$(BIN)/python -m churn.simulation --all
	@touch $@
