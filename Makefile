# Two commands matter: `make demo` and `make test`. Both may be repeated.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:

PYTHON ?= $(firstword $(foreach p,python3.12 python3.11 python3.13 python3,$(shell $(p) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && command -v $(p))))
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PINS := envs/requirements.txt envs/requirements-dev.txt envs/constraints.txt
CORES ?= all

.PHONY: help setup docs demo test nightly faults lint settings cohort forget report-zip container clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(STAMP) ## Make .venv with pinned dependencies, in the order that installs

$(STAMP): $(PINS) pyproject.toml setup.py
	@if [ -z "$(PYTHON)" ]; then echo "error: no Python 3.11 to 3.13 found; install one (Debian: apt-get install python3 python3-venv) or call make PYTHON=/path/to/python" >&2; exit 1; fi
	if ! command -v $${CC:-gcc} >/dev/null; then echo "error: no C compiler found, and pyradiomics compiles one file; install one (Debian: apt-get install gcc python3-dev)" >&2; exit 1; fi
	if ! $(PYTHON) -c 'import venv, ensurepip' 2>/dev/null; then echo "error: this Python has no venv module; install it (Debian: apt-get install python3-venv)" >&2; exit 1; fi
	if ! echo '#include <Python.h>' | $${CC:-gcc} -E -I"$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')" - >/dev/null 2>&1; then echo "error: Python's header files are missing, and pyradiomics needs them; install them (Debian: apt-get install python3-dev)" >&2; exit 1; fi
	echo "setting up $(VENV) with $$($(PYTHON) --version); the first time takes a minute or two"
	if [ ! -x $(BIN)/python ]; then $(PYTHON) -m venv $(VENV); fi
	pip="$(BIN)/python -m pip install --quiet --disable-pip-version-check"
	quiet() { "$$@" 2> >(grep -v -E "^(WARNING: Location|WARNING: Running pip as)" >&2); }
	quiet $$pip torch==2.13.0
	quiet $$pip wheel -c envs/constraints.txt -r envs/requirements.txt -r envs/requirements-dev.txt
	PYTHONPATH=$$PWD/envs/build quiet $$pip --no-build-isolation -c envs/constraints.txt pyradiomics==3.0.1
	# The command `suvival`, which runs this checkout.
	quiet $$pip --no-build-isolation --no-deps -e .
	$(BIN)/python -m pip check --disable-pip-version-check
	touch $(STAMP)

demo: $(STAMP) ## Run the whole chain on the embedded cohort; ends with where the report lies
	@$(BIN)/snakemake --cores $(CORES) --workflow-profile config/profiles/quiet
	echo "open $$PWD/results/phantom/report/index.html in a browser"

test: $(STAMP) ## Tests (12 minutes at most on 2 cores)
	@# One thread a worker: two workers of two threads each would wait for one another on two cores.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not nightly and not finished" -n 2 --dist loadgroup --durations 10

nightly: $(STAMP) ## Slow tests that rarely fail (about an hour; some read the results of `make demo`)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m nightly -n 2 --dist loadgroup --durations 20 -rs -o timeout=2400

faults: $(STAMP) ## Disturb a study in fifteen ways and compare its tables (half an hour; a table at the end)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/workflow/test_faults.py -m nightly -q -o timeout=2400

lint: $(STAMP) ## Style, types, workflow lint
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint

settings: $(STAMP) ## Regenerate config/config.yaml, config/schema.json, docs/configuration.md, docs/papers.md, the table in docs/networks.md, docs/images/*.svg
	@$(BIN)/python -m pipeline.settings.export
	$(BIN)/python -m pipeline.nets.catalogue
	$(BIN)/python -m pipeline.report.papers_index
	$(BIN)/python -m pipeline.pictures.pictures

cohort: $(STAMP) ## Draft a cohort table: make cohort DICOM=folder OUT=mine.csv; of a release: LAYOUT=hecktor2022 DATA=folder OUT=mine.csv
	@if [ -n "$(LAYOUT)" ]; then
		test -n "$(DATA)" -a -n "$(OUT)" || { echo "error: say where the release lies and where the table goes: make cohort LAYOUT=$(LAYOUT) DATA=folder OUT=config/cohorts/mine.csv" >&2; exit 1; }
		exec $(BIN)/python -m pipeline draft --layout "$(LAYOUT)" $(if $(TIME_UNIT),--time-unit $(TIME_UNIT)) "$(DATA)" "$(OUT)"
	fi
	test -n "$(DICOM)" -a -n "$(OUT)" || { echo "error: say where the DICOM lies and where the table goes: make cohort DICOM=folder OUT=config/cohorts/mine.csv" >&2; exit 1; }
	$(BIN)/python -m pipeline draft "$(DICOM)" "$(OUT)"

docs: ## Build the pages of docs/ as a site with search, results/site/index.html; a broken link fails
	@if [ -z "$(PYTHON)" ]; then echo "error: no Python 3.11 to 3.13 found; call make docs PYTHON=/path/to/python" >&2; exit 1; fi
	if [ ! -x .venv-docs/bin/mkdocs ]; then $(PYTHON) -m venv .venv-docs; fi
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check -c envs/constraints.txt -r envs/requirements-docs.txt
	# Without --quiet, by which MkDocs would pass over its warnings.
	.venv-docs/bin/mkdocs build
	echo "open $$PWD/results/site/index.html in a browser"

container: ## Build the container image suvival from envs/Containerfile, where podman or docker is there
	@engine=$$(command -v podman || command -v docker || true)
	test -n "$$engine" || { echo "error: neither podman nor docker found; install one (Debian: apt-get install podman)" >&2; exit 1; }
	"$$engine" build --file envs/Containerfile --tag suvival:$$(sed -n 's/^__version__ = "\(.*\)"/\1/p' pipeline/__init__.py) .

forget: $(STAMP) ## Remove what is left of a patient who withdrew: make forget PATIENT=P001 STUDY=config/studies/mine.yaml
	@test -n "$(PATIENT)" || { echo "error: say who withdrew, after taking the row out of the cohort table: make forget PATIENT=P001 STUDY=config/studies/mine.yaml (the embedded study without STUDY)" >&2; exit 1; }
	$(BIN)/python -m pipeline.workflow.forget "$(PATIENT)" --configfile "$(or $(STUDY),config/config.yaml)"

report-zip: $(STAMP) ## One file of a report to send: make report-zip STUDY=phantom OUT=report.zip; VOLUMES=1 adds the viewer's images
	@exec $(BIN)/python -m pipeline.report.report_zip "results/$(or $(STUDY),phantom)" "$(or $(OUT),report.zip)" $(if $(VOLUMES),volumes)

pictures: $(STAMP) ## Draw the pictures of docs/ that need the finished demo (make demo) and Chromium
	@$(BIN)/python -m pipeline.pictures.strip results/phantom docs/images/strip.png
	$(BIN)/python -m pipeline.pictures.report_pictures results/phantom/report docs/images

clean: ## Remove what the demo made (results/phantom), nothing of yours
	rm -rf results/phantom
