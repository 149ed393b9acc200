# The commands of this project. Everything is installed into .venv below this folder.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOWEST := .venv-lowest
NEWEST := .venv-newest
LOCK := .venv-lock
DOCS := .venv-docs
CONFIG ?= data/persona.yaml
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# LightFM is compiled when it is installed; a machine that cannot gets everything else.
COMPILES = { command -v $${CC:-cc} || command -v gcc; } >/dev/null && $(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h")))'
WITHOUT_LIGHTFM := import tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; print(*(entry for entry in project["dependencies"] + project["optional-dependencies"]["dev"] + project["optional-dependencies"]["ui"] if not entry.startswith("lightfm")))
# A file of tests a process; each with one thread for sums, so that as many processes as cores do not wait for each other.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations=10

# Rooms of rules have to be covered, lines and branches, by this share; what only prints or hands on is told without one.
RULES := logs events features segments profiles recommendations audiences privacy warehouse settings home publication serving
OTHERS := cli gallery orchestration simulation tracking
COVERED := 90

.PHONY: run test test-quick test-lowest test-newest test-streaming coverage mutants faults home-of-release wheel lock lint ui setup dictionary docs sample benchmark clean

run: setup  ## run the main job on the committed sample (or CONFIG=FILE), PROGRESS=plain|bar|none as the progress is to be shown
	$(BIN)/persona run --config $(CONFIG) $(if $(PROGRESS),--progress $(PROGRESS))

ui: setup  ## Dagster and MLflow web UIs, on 127.0.0.1
	$(BIN)/persona ui --config $(CONFIG)

test: setup  ## the tests
	$(PYTEST)

test-lowest:  ## the tests with the lowest versions that pyproject.toml allows, in an environment of their own
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	sed -n 's/^    "\([a-z0-9-]*\)\(\[[a-z]*\]\)\{0,1\}>=\([0-9.]*\)",$$/\1==\3/p' pyproject.toml > $(LOWEST)/floors.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LOWEST)/floors.txt --editable '.[dev,ui]'
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-newest:  ## the tests that take a minute with the newest versions of all dependencies, in an environment of their own
	test -x $(NEWEST)/bin/python || $(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --upgrade-strategy eager --editable '.[dev,ui]'
	$(NEWEST)/bin/python -m pip list --disable-pip-version-check --format freeze --exclude-editable | diff --suppress-common-lines constraints.txt - || true
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(NEWEST)/bin/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m "not slow"

wheel: setup  ## the wheel, built, and tried apart from this folder
	rm -rf build dist
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target build/tried dist/*.whl
	cp -r data build/elsewhere
	cd build/elsewhere && tried="from persona_pipelines.cli import main; main()" && export PYTHONPATH=$(CURDIR)/build/tried PERSONA_HOME=$(CURDIR)/build/home && \
		$(CURDIR)/$(BIN)/python -P -c 'import persona_pipelines as tried; assert "build/tried" in tried.__file__, tried.__file__' && \
		$(CURDIR)/$(BIN)/python -P -c 'from persona_pipelines.serving.pages import routes; routes()' && \
		$(CURDIR)/$(BIN)/python -P -c "$$tried" sources check persona.yaml >/dev/null && \
		$(CURDIR)/$(BIN)/python -P -c "$$tried" init raw/web/2025-09-01.log.gz --output first.yaml >/dev/null && \
		$(CURDIR)/$(BIN)/python -P -c "$$tried" dictionary dictionary.md >/dev/null
	cmp build/elsewhere/dictionary.md docs/data-dictionary.md

lock:  ## requirements.lock: every version with the hashes of its files, for pip install --require-hashes -r requirements.lock
	test -x $(LOCK)/bin/uv || { $(PYTHON) -m venv $(LOCK) && $(LOCK)/bin/python -m pip install --quiet --disable-pip-version-check uv; }
	$(LOCK)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-annotate --no-emit-index-url --no-header --constraint constraints.txt --extra ui --extra dev --output-file requirements.lock pyproject.toml

home-of-release: setup  ## keep a small home as this version writes it, for the tests of the next ones
	$(BIN)/python -m persona_pipelines_tests.home.releases

faults: setup  ## kills, full and failing disks, signals, damage, a soak: hours; KINDS="kills full", KILLS=100
	$(BIN)/python -m persona_pipelines_tests.faults $(KINDS) $(if $(KILLS),--kills $(KILLS))

test-streaming: setup  ## the tests of streams, against brokers that are installed for it
	$(PIP) --editable '.[streaming,streaming-tests]'
	$(BIN)/python -m pytest persona_pipelines_tests/streaming

coverage: setup  ## the tests once more, with the share of lines and branches that they reach by room; fails below the floor
	$(PYTEST) --cov --cov-report=
	@failed=0; for room in $(RULES) $(OTHERS); do \
		share=$$($(BIN)/python -m coverage report --include="persona_pipelines/$$room/*" --precision=1 --format=total); \
		case " $(RULES) " in *" $$room "*) floor=$(COVERED);; *) floor=0;; esac; \
		printf '%-16s %5s %%\n' $$room $$share; \
		awk -v share=$$share -v floor=$$floor 'BEGIN { exit share < floor }' || { echo "  below $$floor %: $(BIN)/python -m coverage report --show-missing --include='persona_pipelines/$$room/*'"; failed=1; }; \
	done; exit $$failed

mutants: setup  ## how many small faults in the rooms of rules their tests notice, very long; SAMPLE=60 of each, ROOMS="events privacy"
	$(PIP) --editable '.[dev,ui,mutants]'
	$(BIN)/python benchmarks/mutants.py $(if $(SAMPLE),--sample $(SAMPLE)) $(addprefix --room ,$(ROOMS))

test-quick: setup  ## the tests that take a minute
	$(PYTEST) -m "not slow"

lint: setup  ## style, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed: Python 3.11 or newer is needed (make PYTHON=/path/to/python)."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old: Python 3.11 or newer is needed (make PYTHON=/path/to/python)."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv: install it first (on Debian and Ubuntu the package python3-venv)."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@if $(COMPILES); then \
		$(PIP) --editable '.[dev,ui]'; \
	else \
		echo "No C compiler, or no headers of $(PYTHON): everything is installed but LightFM, which the comparison leaves out. With them (on Debian and Ubuntu: build-essential, python3-dev; on macOS: xcode-select --install) make setup installs it."; \
		$(PIP) $$($(BIN)/python -c '$(WITHOUT_LIGHTFM)') 'setuptools>=77' && $(PIP) --no-deps --no-build-isolation --editable .; \
	fi
	@if $(COMPILES); then touch $(INSTALLED); fi

dictionary: setup  ## write docs/data-dictionary.md and docs/images/tables.svg from the contracts, docs/settings.md from the settings
	$(BIN)/persona dictionary docs/data-dictionary.md --settings docs/settings.md --picture docs/images/tables.svg

docs:  ## the documentation as a site in build/site, with search and the public functions, in an environment of its own; a dead link is an error
	test -x $(DOCS)/bin/mkdocs || { $(PYTHON) -m venv $(DOCS) && $(DOCS)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
		$$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"])'); }
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict --quiet
	@echo "the site is build/site/index.html"

sample: setup  ## make the committed sample of raw logs again
	$(BIN)/persona simulate data/raw --truth data/truth --users 900 --days 42 --seed 20 --force

benchmark: setup  ## ten million events against hand-written SQL
	$(BIN)/python benchmarks/ingest.py

clean:  ## remove what make made, not the state under .persona
	rm -rf $(VENV) $(LOWEST) $(NEWEST) $(LOCK) $(DOCS) build dist *.egg-info
