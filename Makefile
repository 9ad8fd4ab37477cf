# make run · make test · make check — each sets up what it needs.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: run test test-fast test-added-policy inferno validate forms dtr-clients check audit sbom format requirements documents dictionary pictures bench bench-compare matrix fresh-debian cluster clean

# With the example records of members, unless COVERCARD_PAYER_DATA says otherwise; what was
# imported before stays.
run: export COVERCARD_PAYER_DATA ?= sqlite:///var/payer-data.sqlite3
run: $(VENV)/.run
	@[ "$$COVERCARD_PAYER_DATA" != sqlite:///var/payer-data.sqlite3 ] || \
		$(BIN)/covercard payer-data import examples/payer-data --if-empty
	$(BIN)/covercard serve

# make test TESTS=tests/unit · JOBS=1 in one process (the default is one for each core)
TESTS ?=
JOBS  ?= auto
PYTEST = $(BIN)/pytest -n $(JOBS) --maxprocesses 8 --durations 10

test: $(VENV)/.dev
	$(PYTEST) $(TESTS)

# Without what starts servers, browsers or databases.
test-fast: $(VENV)/.dev
	$(PYTEST) -m "not e2e" $(TESTS)

# The fast tests on a library to which policy staff have added: adding breaks none.
test-added-policy: $(VENV)/.dev
	$(BIN)/python -m tests.libraries $(PYTEST) -m "not e2e" $(TESTS)

# Inferno's suites and the official validator; each sets itself up where its parts are at hand
# (docs/inferno.md). make inferno INFERNO="own-2.2-open kit-2.2" runs some of the configurations.
INFERNO ?=
inferno: $(VENV)/.dev
	$(BIN)/python -m tests.inferno $(INFERNO)

VALIDATE ?=
validate: $(VENV)/.dev
	$(BIN)/python -m tests.validator $(VALIDATE)

# Compiles the CQL of the forms and writes their Libraries; needs Node and Maven (docs/forms.md).
forms: $(VENV)/.dev
	$(BIN)/python -m tests.cql

# Published renderers fill in every form in Chromium; needs Node (docs/testing-with-clients.md).
DTR_CLIENTS ?=
dtr-clients: $(VENV)/.dev
	$(BIN)/python -m tests.dtr_clients $(DTR_CLIENTS)

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/covercard policy lint
	$(BIN)/covercard policy test

# Known vulnerabilities in the locked packages; says SKIPPED where advisories cannot be reached.
audit: $(VENV)/.dev
	$(BIN)/python .ci/audit.py

# A software bill of materials of what is shipped: CycloneDX, from the lock files.
sbom: $(VENV)/.dev
	$(BIN)/python .ci/sbom.py build/sbom.cdx.json

# The fast tests with each Python from 3.11 to 3.14 at hand; names the absent ones.
matrix:
	.ci/matrix

# The README's two commands and .ci/run on a Debian 12 and 13 as they are after their installation;
# root's. make fresh-debian FRESH="trixie readme" runs a part (.ci/fresh_debian.py).
FRESH ?=
fresh-debian:
	.ci/fresh_debian.py $(FRESH)

# Kubernetes' own programs, for the runbook on a cluster; needs Go.
cluster: $(VENV)/.dev
	$(BIN)/python -m tests.cluster

# Fails unless every statement was looked at: docs/conformance.md.
requirements: $(VENV)/.dev
	$(PYTEST) -q --requirements

# The lists of tests in docs/threat-model.md and docs/forms.md, from the tests' markers.
documents: $(VENV)/.dev
	$(BIN)/python -m tests.evidence

# A dictionary for what the log keeps, trained on the fixtures; former ones stay.
dictionary: $(VENV)/.dev
	$(BIN)/python -m tests.dictionary

# The documents' pictures; needs Chromium.
pictures: $(VENV)/.dev
	$(BIN)/python -m tests.e2e.pictures

# Side by side with the floor of the same stack and with HealthChain; needs wrk (apt).
#   make bench ROUNDS=1 SECONDS=3            a short run
#   make bench BENCH="--growth --soak 100000 --rows 10000000"
ROUNDS  ?= 5
SECONDS ?= 5
bench: $(VENV)/.dev
	$(BIN)/python -m tests.bench --rounds $(ROUNDS) --seconds $(SECONDS) --out build/bench $(BENCH)

# In turns with an earlier commit and the floor:  make bench-compare BASE=7e4469e
bench-compare: $(VENV)/.dev
	$(BIN)/python -m tests.bench --rounds $(ROUNDS) --seconds $(SECONDS) \
		--only floor complete --base $(BASE) --connections 16 64 $(BENCH)

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Hashes are checked for every package; the project itself is installed as it lies here. One make at a
# time: a second one waits, and finds what the first has made. Without flock (util-linux) none waits.
PIP     = $(BIN)/pip install --quiet --disable-pip-version-check
INSTALL = [ $@ -nt $< ] && [ $@ -nt pyproject.toml ] || { \
	echo "Installing the locked packages into $(VENV): about a minute, this time only." && \
	$(PIP) --require-hashes -r $< && $(PIP) --no-deps --no-build-isolation -e . && touch $@; }
ALONE   = mkdir -p $(VENV) && { command -v flock >/dev/null || flock() { :; }; } && \
	exec 9>$(VENV)/.lock && { flock --nonblock 9 || \
	{ echo "Another make is installing into $(VENV): waiting for it."; flock 9; }; } &&

# An upgrade of the machine's Python, or its removal, leaves an environment without its packages.
ANEW := $(shell [ ! -e $(VENV)/.made ] || $(BIN)/python -c 'import pip' >/dev/null 2>&1 || \
	{ rm -f $(VENV)/.made $(VENV)/.run $(VENV)/.dev; echo yes; })
$(if $(ANEW),$(info The Python of $(VENV) is gone, or is another one now: it is made anew.))

$(VENV)/.run: requirements.lock pyproject.toml | $(VENV)/.made
	@$(ALONE) $(INSTALL)

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(VENV)/.made
	@$(ALONE) $(INSTALL)

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Covercard needs Python 3.11 or newer (set PYTHON=...)."; exit 1; }
	@$(ALONE) { [ -e $@ ] || { rm -rf $(VENV)/bin $(VENV)/lib $(VENV)/lib64 && \
		$(PYTHON) -m venv $(VENV); }; } && touch $@ || \
		{ echo "Python cannot make a virtual environment: apt-get install python3-venv"; exit 1; }

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
