# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

SOURCES := $(shell find se_probe -type f -not -path '*/__pycache__/*')
NOTEBOOKS := $(wildcard notebooks/*.ipynb)

.PHONY: demo test lint docs lowest bench gpu browser clean

demo: $(VENV)/.installed
	$(BIN)/se-probe excite --demo --classes goldfish,pug,plane,cliff

test: $(VENV)/.installed-dev browser
	EXECUTED_NOTEBOOKS=build/notebooks $(BIN)/python -m pytest -n auto --dist loadfile --cov --cov-report=term

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The site, in build/site: guides, notebooks, API reference, and the report of a demo run to click through.
docs: $(VENV)/.installed-dev build/example/report.html $(NOTEBOOKS:notebooks/%=build/notebooks/%)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # --quiet would hide warnings from --strict

build/example/report.html: $(SOURCES)
	$(BIN)/se-probe ablate --demo --with mean --out build/example --overwrite > /dev/null

# The tests execute the notebooks, too, and keep them here.
build/notebooks/%.ipynb: notebooks/%.ipynb
	mkdir -p build/notebooks
	cp $< $@ && { $(BIN)/jupyter-execute --inplace $@ || { rm $@; false; }; }

# With the lowest versions that pyproject.toml declares.
lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet uv
	$(VENV)-lowest/bin/uv pip compile --quiet --resolution lowest-direct --extra data --extra notebook --extra onnx pyproject.toml \
		--output-file $(VENV)-lowest/versions.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --requirement $(VENV)-lowest/versions.txt
	$(VENV)-lowest/bin/python -m pip install --quiet --no-deps --editable .
	$(VENV)-lowest/bin/python -m pip install --quiet aiohttp hypothesis pytest pytest-xdist selenium webdataset
	PYTHONWARNINGS=ignore $(VENV)-lowest/bin/python -m pytest -n auto --dist loadfile -o filterwarnings=default  # old versions warn of newer ones

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
	$(BIN)/python -m pip install --quiet --editable ".[dev,data,docs,notebook]"
	touch $@

# Debian's Chromium, for the tests of the report; without it they are skipped and say so.
browser:
	@{ command -v chromium && command -v chromedriver; } >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq chromium chromium-driver >/dev/null; } \
		|| echo "no Chromium here: the browser tests will be skipped"

clean:
	rm -rf $(VENV) $(VENV)-bench $(VENV)-lowest build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
