# Doorward. `make help` says what there is.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
BOARD  ?= RPI_PICO
KIND   ?= release
TAPS   ?= 50
DOORS  ?= 1000

.DEFAULT_GOAL := help
.PHONY: help demo door test vectors powercut image bench bench-trust bench-uplink bench-collector bench-fleet check format clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

# One line per stage and pip kept quiet: what a newcomer sees first is not pip's.
$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Doorward needs Python 3.10 or later; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "installing into $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "no virtual environment: install the venv module (Debian: apt install python3-venv)" >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(READY) ## Play a school day on a simulated door, each step checked
	@$(BIN)/doorctl sim demo

door: $(READY) ## Run the same door for your own hands (doorctl in a second terminal)
	@$(BIN)/doorctl sim run

test: $(READY) ## Run all tests
	@$(BIN)/python -m pytest

vectors: $(READY) ## Run all test vectors on MicroPython: signatures, MACs, TUF's cases
	@$(BIN)/python tests/run_vectors.py

image: $(READY) ## Build a board's image into build/image (BOARD=RPI_PICO KIND=release)
	@$(BIN)/python -m image.build $(BOARD) $(if $(filter development,$(KIND)),--development)

powercut: $(READY) ## Cut the power at every flash operation, pages torn at random bits
	@$(BIN)/python tests/run_powercut.py

bench: $(READY) ## Measure taps of that image on an emulated chip (TAPS=50 a case)
	@$(BIN)/python -m emulator.bench --taps $(TAPS)

bench-trust: $(READY) ## Measure signatures, look-ups and updates there (builds its own image)
	@$(BIN)/python -m image.build $(BOARD) --development
	@$(BIN)/python -m emulator.trust

bench-uplink: $(READY) ## Measure there what an uplink costs in heap and slices (builds its own image)
	@$(BIN)/python -m image.build $(BOARD) --development
	@$(BIN)/python -m emulator.uplink

bench-collector: $(READY) ## Measure events a second of one collector (Mosquitto, PostgreSQL)
	@$(BIN)/python tests/collector/bench.py

bench-fleet: $(READY) ## Measure doors that come back, and a lockdown at 100 (DOORS=1000; Mosquitto)
	@$(BIN)/python tests/load/fleet.py --doors $(DOORS)

# The ports' stubs cannot share a folder: each board's code is checked against its own port's.
build/typings/%/ready: boards/typings-%.txt | $(READY)
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --upgrade --target $(@D) --requirement $<
	@touch $@

check: $(READY) build/typings/rp2/ready build/typings/esp32/ready ## Look at style, spelling and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/codespell
	@$(BIN)/pyright --warnings --pythonpath $(BIN)/python
	@$(BIN)/pyright --warnings --project pyrightconfig.rp2.json
	@$(BIN)/pyright --warnings --project pyrightconfig.esp32.json

format: $(READY) ## Put the sources into the house's format
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format --quiet .

clean: ## Remove what was built and installed
	@rm -rf build $(VENV) *.egg-info
