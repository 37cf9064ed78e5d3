# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint bench gpu browser clean

demo: $(VENV)/.installed
	$(BIN)/se-probe excite --demo --classes goldfish,pug,plane,cliff

test: $(VENV)/.installed-dev browser
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# With the peers in an environment of their own, about half an hour on two cores.
bench: $(VENV)-bench/.installed
	$(VENV)-bench/bin/python -m benchmarks.speed --compile
	$(VENV)-bench/bin/python -m benchmarks.memory

# On a machine with a CUDA device, at most eight minutes and no network; on a CPU what makes sense there.
# PYTHON is one with torch and the package's dependencies, such as .venv/bin/python.
gpu:
	PYTHONPATH=. $(PYTHON) -m benchmarks.gpu --out gpu.json

$(VENV)-bench/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet --editable ".[bench]"
	touch $@

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable ".[dev,data,notebook]"
	touch $@

# Debian's Chromium, for the tests of the report; without it they are skipped and say so.
browser:
	@{ command -v chromium && command -v chromedriver; } >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq chromium chromium-driver >/dev/null; } \
		|| echo "no Chromium here: the browser tests will be skipped"

clean:
	rm -rf $(VENV) $(VENV)-bench .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
