# `make demo` runs the main comparison on generated data, `make test` runs the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

BUDGET ?= 480
# `make gpu` takes the environment at hand: the PYTHON that is given, else $(VENV), else python3.
GIVEN  := $(filter command environment,$(origin PYTHON))
AT_HAND := $(if $(GIVEN),$(PYTHON),$(if $(wildcard $(BIN)/python),$(BIN)/python,python3))

.PHONY: setup demo test check lint docs dist-test gpu clean

setup: $(STAMP)

# Uses uv if available, otherwise venv + pip, and compiles on all cores. Runs again only if pyproject.toml or
# constraints.txt changes.
$(STAMP): pyproject.toml constraints.txt
	@set -e; if command -v uv >/dev/null 2>&1; then \
	  test -x $(BIN)/python || uv venv -q --python $(PYTHON) $(VENV); \
	  uv pip install -q --python $(BIN)/python -c constraints.txt -e '.[dev]'; \
	else \
	  test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
	    { echo "no venv module: install your system's python3.11-venv package, or uv" >&2; rm -rf $(VENV); exit 1; }; \
	  $(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt -e '.[dev]'; \
	  $(BIN)/python -m compileall -qq -j 0 -x '/tests?/' $(VENV)/lib || true; \
	fi
	@touch $@

demo: setup
	@$(BIN)/bench run --suite tiny

test: setup
	@$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The suite `ci` against reports/baselines/ci.json; after an intended change: make check CHECK=--update
check: setup
	@$(BIN)/bench check --suite ci $(CHECK)

# GPU checks and measurements in BUDGET seconds, to reports/gpu/; installs nothing, needs no network. GPU=--dry tries it.
gpu:
	@$(AT_HAND) -m bench.gpu --budget $(BUDGET) $(GPU)

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# The site, from docs/, README and docstrings, in site/.
docs: setup
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# sdist and wheel in an empty environment; torch and the other dependencies are those of $(VENV).
dist-test: setup
	@.ci/dist-test $(BIN)/python "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"

# Results (runs/) stay; `bench clean` removes what is not needed of them.
clean:
	rm -rf $(VENV) build dist
