# Everything a person does with this checkout. `make` alone prints what there is.
#
# Nothing has to be installed first but make and Python 3.11 or newer: each target sets up the virtual environment it
# needs. What is set up is noted by a stamp in .make/, so that a second run starts at once; a change of pyproject.toml
# sets it up again.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:

HOST ?= 127.0.0.1
PORT ?= 8000
TESTS ?= tests
SLOW ?= slow
PYTEST_OPTIONS ?=
# Half of the files to each of two workers, and what is left over to who is done first: a file's browser starts once.
PARALLEL ?= -n auto --dist worksteal
COVERAGE ?= $(if $(filter tests,$(TESTS)),95,0)

bin := .venv/bin
pip := $(bin)/python -m pip install --quiet --disable-pip-version-check

# pytest rewrites ten thousand assertions and the tests start hundreds of processes: with this variable of many
# containers each of them would compile everything anew, which doubles the time of `make test`.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help
help: ## Print this list
	@echo "Usage: make TARGET"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16
	@echo
	@echo "PORT=8080 make demo serves on another port; TESTS=tests/test_url.py make test runs one file."

.PHONY: demo
demo: .make/demo ## Serve the guest book on http://127.0.0.1:8000
	@cd docs/examples && exec ../../$(bin)/python -m microweb run --app guestbook --host $(HOST) --port $(PORT)

.PHONY: test
test: .make/test ## Run the tests in parallel; coverage of branches below 95% fails
	@$(bin)/coverage erase
	$(bin)/coverage run -m pytest $(PARALLEL) -m "not slow" $(PYTEST_OPTIONS) $(TESTS)
	@$(bin)/coverage combine --quiet
	@$(bin)/coverage report --fail-under=$(COVERAGE)

.PHONY: test-slow
test-slow: .make/test ## Run the tests that take minutes; SLOW="slow and not exhaustive" leaves out the longest
	$(bin)/python -m pytest $(PARALLEL) -m "$(SLOW)" $(PYTEST_OPTIONS) $(TESTS)

.PHONY: lint style mypy pyright imports
lint: style mypy pyright imports ## Check style, types and the direction of imports

style: .make/dev
	$(bin)/ruff check .
	$(bin)/ruff format --check .

mypy: .make/dev
	$(bin)/mypy

pyright: .make/dev
	$(bin)/pyright

imports: .make/dev
	$(bin)/lint-imports

.PHONY: check
check: lint test ## Run lint and test

.PHONY: format
format: .make/dev ## Bring the code into the house's format
	$(bin)/ruff check --fix .
	$(bin)/ruff format .

.PHONY: bench
bench: .make/bench ## Measure microweb beside its rivals
	$(bin)/python -m benchmarks

.PHONY: screenshots
screenshots: .make/test ## Make the screenshots of the guest book anew
	MICROWEB_SCREENSHOTS=1 $(bin)/python -m pytest $(PYTEST_OPTIONS) tests/examples/test_guestbook_browser.py -k looks_well

.PHONY: clean
clean: ## Remove the environment and everything else that was made here
	rm -rf .venv .make build dist htmlcov .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	rm -rf .import_linter_cache docs/examples/guestbook/data
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment ---------------------------------------------------------------------------------

.venv/pyvenv.cfg:
	@for name in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found="$$name"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "microweb needs Python 3.11 or newer, and none was found on the PATH." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$found cannot make a virtual environment; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; \
	fi; \
	echo "Setting up .venv with $$("$$found" --version) ..."; \
	"$$found" -m venv --clear .venv

.make/demo: .venv/pyvenv.cfg pyproject.toml
	$(pip) --editable '.[standard,redis]'
	@mkdir -p .make && touch $@

.make/test: .venv/pyvenv.cfg pyproject.toml
	$(pip) --editable '.[suite]'
	@mkdir -p .make && touch $@

.make/dev: .venv/pyvenv.cfg pyproject.toml
	$(pip) --editable '.[dev]'
	@mkdir -p .make && touch $@

.make/bench: .venv/pyvenv.cfg pyproject.toml benchmarks/requirements.txt
	$(pip) --editable '.[suite]' --requirement benchmarks/requirements.txt
	@mkdir -p .make && touch $@
