# Everything runs in .venv; `make run` and `make test` set it up themselves. `make help` lists the targets.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= sample
WORKERS ?= auto
export DO_NOT_TRACK = 1

.DEFAULT_GOAL := help
.PHONY: help run test pipeline serve app compile lint clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

run: $(VENV)/run ## train on the sample (or DATA=folder), then serve the endpoint and the app until Ctrl-C
	@exec $(BIN)/hakka up --data "$(DATA)"

pipeline: $(VENV)/run ## only the training pipeline, on the sample (or DATA=folder)
	@exec $(BIN)/hakka run --data "$(DATA)"

serve: $(VENV)/run ## only the endpoint, with the champion of the registry
	@exec $(BIN)/hakka serve

app: $(VENV)/run ## only the web app
	@exec $(BIN)/hakka app

compile: $(VENV)/run ## write pipelines/hakka-training.yaml for the Kubeflow Pipelines dashboard
	@exec $(BIN)/hakka compile

test: $(VENV)/dev ## run the tests, a worker a core (or WORKERS=number)
	@exec $(BIN)/python -m pytest --timeout=600 --numprocesses=$(WORKERS) --dist=loadfile --no-loadscope-reorder

lint: $(VENV)/dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove .venv and everything that runs wrote
	rm -rf $(VENV) .hakka build

# A stamp is written last, so an install that was broken off starts again.
$(VENV)/run: requirements/torch.txt requirements/run.txt pyproject.toml
	@$(call install,run)

$(VENV)/dev: requirements/torch.txt requirements/dev.txt pyproject.toml
	@$(call install,dev)

# torch comes first and by itself (its right build depends on the machine); --no-deps keeps the rest from replacing it.
define install
echo "setting up $(VENV) ($(1)): about 3 GB, some minutes the first time" && \
$(PYTHON) -c 'import sys; sys.exit("Hakka needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)' && \
$(PYTHON) -m venv $(VENV) && \
echo "  1/3 torch" && $(call pip,-r requirements/torch.txt) && \
echo "  2/3 requirements/$(1).txt" && $(call pip,--no-deps --require-hashes -r requirements/$(1).txt) && \
echo "  3/3 hakka" && $(call pip,--no-deps --no-build-isolation -e .) && \
touch $(VENV)/$(1)
endef

# pip, with a line every 25 packages instead of several for each; its errors are shown and end the install.
define pip
{ $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off $(1) 2>&1 || echo "ERROR: pip failed"; } | \
awk '/^Collecting/ { if (++n % 25 == 0) print "      " n " packages"; fflush() } \
/^Installing collected/ { print "      unpacking"; fflush() } \
/^ *ERROR/ { print; failed = 1 } END { exit failed }'
endef
