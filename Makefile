# make demo: installs, then goes the whole way on built-in data.   make test: installs, then runs the tests.
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-$(shell cat constraints.txt pyproject.toml | sha256sum | cut -c1-16)

.PHONY: demo test lint bench install clean

demo: install
	$(BIN)/leukoscope demo -o demo

test: install
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: install
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: install
	$(BIN)/pip install -q -c constraints.txt '.[bench]'
	$(BIN)/python benchmarks/run.py

# The libraries once for each state of constraints.txt and pyproject.toml; this checkout itself every time, since
# several checkouts may share one environment.
install: $(INSTALLED)
	@$(BIN)/pip install -q --no-deps --no-build-isolation -e .

$(INSTALLED):
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --upgrade pip
	$(BIN)/pip install -q -c constraints.txt hatchling editables
	$(BIN)/pip install -q -c constraints.txt --no-build-isolation -e '.[test,lint]'
	@touch $@

clean:
	rm -rf demo build dist .pytest_cache .ruff_cache .hypothesis
