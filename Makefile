# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

# What tests of nodes run for real. Installed where CI is set, or by SYSTEM_PACKAGES=1: on Debian, as root.
DEBIAN_PACKAGES := openssh-client openssh-server iproute2 iptables slurm-wlm munge podman runc

.PHONY: demo test check format golden performance system-packages clean

demo: $(VENV)/.ready
	$(BIN)/milabench run --all --config quickstart --base workdir/results

# Fast unit tests first, then real processes; a file's tests one after the other, four files at a time:
# most of them wait for processes most of the time.
test: check $(if $(CI)$(SYSTEM_PACKAGES),system-packages)
	$(PYTEST) tests/unit
	$(PYTEST) tests/contract tests/end_to_end

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Pinned plans as they are now; what changed in them is for `git diff` to show.
golden: $(VENV)/.ready
	UPDATE_GOLDEN=1 $(BIN)/python -m pytest -q tests/contract/test_suite_plans.py tests/end_to_end/test_plan_command.py

performance: $(VENV)/.ready
	for script in tests/performance/measure_*.py; do $(BIN)/python $$script || exit 1; done

$(VENV)/.ready: pyproject.toml benchmate/pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable . --group dev
	touch $@

system-packages:
	@.ci/system-packages $(DEBIAN_PACKAGES)

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
