# make demo   install, make one real edit, serve the page        make test   install what tests need, run them all
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# this exact version installs as a small CPU build where one is offered, and as the CUDA build elsewhere
TORCH  ?= torch==2.13.0
# the model that `make demo` opens on
DEMO   ?= smollm2

.PHONY: demo test check-slow lint screenshots latency space

$(VENV)/.installed: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check $(TORCH) -r requirements.txt
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# the atlas lies in the repository: it is what opens where the other cannot be fetched
demo: $(VENV)/.installed
	@model=$(DEMO); $(BIN)/python -m model_zoo fetch $$model >/dev/null || { model=atlas; \
	echo "$(DEMO) cannot be had now; here is the atlas, a small world that lies in the repository."; }; \
	$(BIN)/python -m model_zoo edit --model $$model --prompt "The capital of France is" --target "Rome" && \
	$(BIN)/python app.py --model $$model

test: $(VENV)/.installed-dev
	sh tests/browser/install.sh
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	@echo "Now the tests, two files at a time, one thread each; the slowest are listed at the end."
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder --durations=10

check-slow: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check . --fix
	$(BIN)/ruff format .
	$(BIN)/mypy
	$(BIN)/pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --progress-spinner off

space: $(VENV)/.installed
	rm -rf build/space
	$(BIN)/python -m demo.space build/space

screenshots: $(VENV)/.installed-dev
	sh tests/browser/install.sh
	$(BIN)/python -m tests.browser.screenshots

latency: $(VENV)/.installed-dev
	sh tests/browser/install.sh
	$(BIN)/python -m tests.browser.latency $(MODEL)
