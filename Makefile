# `make demo` runs the main comparison on generated data, `make test` runs the tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

BUDGET ?= 480
# `make gpu` takes the environment at hand: the PYTHON that is given, else $(VENV), else python3.
GIVEN  := $(filter command environment,$(origin PYTHON))
AT_HAND := $(if $(GIVEN),$(PYTHON),$(if $(wildcard $(BIN)/python),$(BIN)/python,python3))

# Bytecode is kept even where the shell forbids it: hundreds of processes would each compile the sources again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test check lint docs dist-test gpu clean

setup: $(STAMP)

# Runs again only if pyproject.toml or constraints.txt changes.
$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || uv venv -q --seed --python $(PYTHON) $(VENV) || \
	  { echo "no venv module: install your system's python3.11-venv package, or uv" >&2; rm -rf $(VENV); exit 1; }
	@$(BIN)/python .ci/install
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
