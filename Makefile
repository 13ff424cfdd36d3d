# Two commands set up everything on a machine with Python 3.11+, make and a network:
#   make demo    the main job on the sample workspace
#   make test    all checks and tests
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export DO_NOT_TRACK = 1
# Images of containers set it. Every process of the demo and of the tests would then compile pandas anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install demo environments test check format docs bench soak lock clean

install: $(VENV)/.installed

# pip refuses an editable project beside hashes, so the lock comes first and the project after it.
$(VENV)/.installed: requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Quarterdeck needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-uv.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --no-deps -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

demo: install
	@$(BIN)/quarterdeck demo

check: install
	$(BIN)/ruff format --check core app tests bench sample_data docs
	$(BIN)/ruff check core app tests bench sample_data docs
	$(BIN)/mypy core app tests bench sample_data docs
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format core app tests bench sample_data docs
	$(BIN)/ruff check --fix core app tests bench sample_data docs

# The reference pages that follow from the code; a test fails when they are stale.
docs: install
	$(BIN)/python docs/generate.py

# Python environments in which tests make and serve models of other libraries and versions.
environments: install
	$(BIN)/python -m tests.environments

test: check environments
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

# The chaos test for as long as one likes: make soak MINUTES=60
soak: install
	QUARTERDECK_SOAK_MINUTES=$(or $(MINUTES),60) $(BIN)/pytest -s tests/acceptance/test_chaos.py

bench: install
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY))

lock: install
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header --python-version 3.11 --extra dev pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .environments build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
