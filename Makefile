# make run: a fresh clone to a working page.   make test: proof that it works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVE ?= 1
ADM ?= mini-audioldm
DEVICE ?= cpu
export GRADIO_ANALYTICS_ENABLED := False

.PHONY: run test check assets screenshots clean

$(VENV)/run.stamp: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; name another: make run PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

run: $(VENV)/run.stamp  ## the default study (reused when present), its table, then the page
	$(BIN)/python -m ptq study $(ADM) --preset ptq4adm --prompts 8 --out runs --link runs/default
ifeq ($(SERVE),1)
	PTQ4ADM_FEATURED_RUN=runs/default $(BIN)/python app.py
endif

test: $(VENV)/dev.stamp  ## everything: style, types, contracts, library, page in a real browser
	$(MAKE) check
	$(BIN)/python -m pytest -q

check: $(VENV)/dev.stamp  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy app ptq assets benchmarks tests
	$(BIN)/mypy app.py

assets: $(VENV)/dev.stamp  ## train everything in assets/ again, on DEVICE; resumable; then `python -m benchmarks.presets --ship`
	$(BIN)/python -m assets.recipe all --from-scratch --device $(DEVICE)

screenshots: $(VENV)/dev.stamp  ## the page in both themes, wide and narrow, into screenshots/
	$(BIN)/python -m pytest -q tests/page -k fits_in_both_themes

clean:  ## remove what make made; runs and trainings stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache screenshots
