# make demo: installs the core, counts a phantom smear.    make test: installs everything, runs all tests.
VENV ?= .venv
# The tests of the core run in an environment of their own, which has no PyTorch.
CORE_VENV ?= $(VENV)-core
PYTHON ?= python3
STATE := $(shell cat constraints.txt pyproject.toml | sha256sum | cut -c1-16)
CORE_TESTS := $(addprefix tests/,core auditing datasets figures images leaks phantom report smear stats)
EVERYTHING := [train,slides,ray,test,lint]

.PHONY: demo demo-train test lint bench fuzz soak install clean

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

# New damaged inputs for an hour: formats, tables, bundles, recipes, runs, names. A failure keeps its input in build/fuzz.
# A sixth of the time is guided by coverage, where atheris has a wheel for this Python.
MINUTES ?= 60
fuzz: install
	LEUKOSCOPE_FUZZ_MINUTES=$(MINUTES) $(VENV)/bin/python -m pytest -s tests/fuzz
	-@$(VENV)/bin/pip install -q --only-binary :all: atheris==3.0.0
	$(VENV)/bin/python tests/fuzz/guided.py $(MINUTES)

# Kills at random moments; each result must equal that of an undisturbed run. Then eight people at once at the workbench.
KILLS ?= 200
soak: install
	$(VENV)/bin/python tests/soak/soak.py --kills $(KILLS)
	.ci/with-postgres $(VENV)/bin/python tests/soak/review.py

# The libraries once for each state of constraints.txt and pyproject.toml; this checkout itself every time, since
# several checkouts may share one environment.
install: $(VENV)/.everything-$(STATE)
	@$(VENV)/bin/pip install -q --no-deps --no-build-isolation -e .

# The core without bytecode, which Python writes itself for what it runs: 860 MB instead of 980.
$(VENV)/.core-$(STATE):
	$(call environment,$(VENV),,--no-compile)

$(VENV)/.everything-$(STATE):
	$(call environment,$(VENV),$(EVERYTHING))

$(CORE_VENV)/.test-$(STATE):
	$(call environment,$(CORE_VENV),[test])

# pyvips comes as source: its build needs a newer setuptools than a fresh environment has; torch needs one below 82.
define environment
	$(PYTHON) -m venv $(1)
	$(1)/bin/pip install -q --upgrade pip
	$(1)/bin/pip install -q -c constraints.txt hatchling editables 'setuptools>=70.1,<82'
	$(1)/bin/pip install -q $(3) -c constraints.txt --no-build-isolation -e '.$(2)'
	@touch $@
endef

clean:
	rm -rf demo demo-train build dist .pytest_cache .ruff_cache .hypothesis
