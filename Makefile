# make demo: installs the core, counts a phantom smear.    make test: installs everything, runs all tests.
VENV ?= .venv
# The tests of the core run in an environment of their own, which has no PyTorch.
CORE_VENV ?= $(VENV)-core
PYTHON ?= python3
STATE := $(shell cat constraints.txt pyproject.toml | sha256sum | cut -c1-16)
CORE_TESTS := $(addprefix tests/,core auditing datasets figures images leaks phantom report smear stats)
EVERYTHING := [train,test,lint]

.PHONY: demo demo-train test lint bench install clean

demo: $(VENV)/.core-$(STATE)
	@$(VENV)/bin/pip install -q --no-deps --no-build-isolation -e .
	$(VENV)/bin/leukoscope demo -o demo

demo-train: install
	$(VENV)/bin/leukoscope demo --train -o demo-train

test: install $(CORE_VENV)/.test-$(STATE)
	@$(CORE_VENV)/bin/pip install -q --no-deps --no-build-isolation -e .
	$(CORE_VENV)/bin/python -m pytest -n 2 --dist worksteal $(CORE_TESTS)
	$(VENV)/bin/python -m pytest -n 2 --dist worksteal $(addprefix --ignore=,$(CORE_TESTS))

lint: install
	$(VENV)/bin/ruff check src tests benchmarks
	$(VENV)/bin/pyright --pythonpath $(VENV)/bin/python

bench: install
	$(VENV)/bin/pip install -q -c constraints.txt '.[bench]'
	$(VENV)/bin/python benchmarks/run.py

# The libraries once for each state of constraints.txt and pyproject.toml; this checkout itself every time, since
# several checkouts may share one environment.
install: $(VENV)/.everything-$(STATE)
	@$(VENV)/bin/pip install -q --no-deps --no-build-isolation -e .

$(VENV)/.core-$(STATE):
	$(call environment,$(VENV),)

$(VENV)/.everything-$(STATE):
	$(call environment,$(VENV),$(EVERYTHING))

$(CORE_VENV)/.test-$(STATE):
	$(call environment,$(CORE_VENV),[test])

define environment
	$(PYTHON) -m venv $(1)
	$(1)/bin/pip install -q --upgrade pip
	$(1)/bin/pip install -q -c constraints.txt hatchling editables
	$(1)/bin/pip install -q -c constraints.txt --no-build-isolation -e '.$(2)'
	@touch $@
endef

clean:
	rm -rf demo demo-train build dist .pytest_cache .ruff_cache .hypothesis
