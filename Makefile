# The GAIN broker. `make` alone lists the targets; each needs only Python 3.11 or newer, make and a shell.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
STYLES := app/web/static/vendor/govuk.css
CODE := app workers tests migrations benchmarks
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input install
UV := uv==0.13.9
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(ARGS)

.PHONY: help setup demo up test faults fuzz canary check scan audit sbom bench bench-quick lock secrets clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

setup: .venv/.runtime $(STYLES) ## install the broker into .venv, and the styles of its pages, from the hashed locks

demo: .venv/.runtime $(STYLES) ## play Operation Lava on a system of its own, print the product and the times
	@$(BIN)/gain demo $(ARGS)

up: .venv/.runtime $(STYLES) ## run the broker until Ctrl-C; ARGS="--simulate --port 8000"
	@$(BIN)/gain up $(ARGS)

test: .venv/.dev $(STYLES) ## run the whole test suite; ARGS="-k words" for a part of it
	@sh tests/chromium.sh
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --ignore=tests/faults $(ARGS)
	$(if $(ARGS),,@$(MAKE) --no-print-directory faults ARGS=--short)

# One after another, on one system: what is measured here is not to be disturbed by other tests.
faults: .venv/.dev $(STYLES) ## kill, cut off and starve real processes, and count what is lost or doubled; ARGS=--short for a part
	$(BIN)/python -m pytest tests/faults --long $(ARGS)

fuzz: .venv/.dev ## ask everything of the API as every role by schemathesis, 20,000 cases, and hold it to its own document
	$(BIN)/python -m pytest tests/app/test_contract.py --long -s $(ARGS)

canary: .venv/.dev $(STYLES) ## play the demonstration, then look for what it held in every byte that it left; 0 hits
	@rm -rf build/canary && mkdir -p build/canary && chmod 711 build/canary
	$(BIN)/gain demo --data-dir build/canary/data
	$(BIN)/python -m tests.canary build/canary/data
	@rm -rf build/canary

check: .venv/.dev ## lint, format, types, import storeys, weaknesses in the code, compose file, Dockerfile
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict $(CODE)
	$(BIN)/lint-imports --no-logo
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml app workers migrations
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	$(BIN)/hadolint Dockerfile

scan: .venv/.dev ## look for secrets in every committed file; what was found and is none stands in .secrets.baseline
	git ls-files -z | xargs -0 $(BIN)/detect-secrets-hook --baseline .secrets.baseline

audit: .venv/.dev ## look up known weaknesses of every locked package; needs the Internet, and fails without
	$(BIN)/pip-audit --strict --disable-pip --requirement requirements.txt $(ARGS)
	$(BIN)/pip-audit --strict --disable-pip --requirement requirements-dev.txt $(ARGS)

sbom: .venv/.dev ## write sbom.json, the bill of materials of what is installed to run the broker (CycloneDX)
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --spec-version 1.6 \
		--output-reproducible --output-format JSON --output-file sbom.json requirements.txt
	@echo 'Made sbom.json.'

bench: .venv/.dev ## measure the broker beside its baselines on this machine; ARGS="ingest fan_out" for some of it
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: .venv/.dev ## the same in under two minutes, roughly
	@$(BIN)/python -m benchmarks --quick $(ARGS)

lock: $(BIN)/pip ## resolve the lock files from pyproject.toml; ARGS=--upgrade for newer versions
	@$(PIP) $(UV)
	$(COMPILE) pyproject.toml --group dev --group build --output-file requirements-dev.txt
	$(COMPILE) pyproject.toml --constraints requirements-dev.txt --output-file requirements.txt
	$(COMPILE) --group build --constraints requirements-dev.txt --output-file requirements-build.txt
	$(COMPILE) --group node --output-file requirements-node.txt

secrets: $(addprefix secrets/,master database database_gateway database_worker database_auditor keyring) ## make the secret files that docker compose needs

clean: ## remove .venv, the styles and all caches; data in .gain stays
	rm -rf .venv node_modules app/web/static/vendor .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find app workers tests migrations benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# bin/pip is the last thing venv makes: a folder without it was interrupted, and is made anew.
$(BIN)/pip:
	@for python in python3 python3.14 python3.13 python3.12 python3.11; do \
		if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
			rm -rf .venv; exec $$python -m venv .venv; \
		fi; \
	done; \
	echo 'Python 3.11 or newer with its venv module is needed (Debian: apt install python3 python3-venv).' >&2; exit 1

.venv/.runtime: requirements.txt requirements-build.txt pyproject.toml | $(BIN)/pip
	@echo 'Installing the broker into .venv (first time about a minute) …'
	@$(PIP) --require-hashes --only-binary :all: -r requirements-build.txt -r requirements.txt
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch $@

.venv/.dev: requirements-dev.txt pyproject.toml | $(BIN)/pip
	@echo 'Installing the broker and its development tools into .venv (first time about two minutes) …'
	@$(PIP) --no-compile --require-hashes --only-binary :all: -r requirements-dev.txt
	@$(PIP) --no-build-isolation --no-deps --editable .
	@touch .venv/.runtime $@

$(STYLES): package.json package-lock.json requirements-node.txt $(wildcard app/web/styles/*) | $(BIN)/pip
	@sh app/web/styles/vendor.sh

# The folder is closed to others; the files are not, for containers read them under users of their own.
secrets/keyring:
	@mkdir -p -m 700 secrets
	@{ printf 'first:'; head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; echo; } >$@ && chmod 644 $@
	@echo 'Made $@: keep it, data cannot be read without it.'

secrets/%:
	@mkdir -p -m 700 secrets
	@head -c 36 /dev/urandom | base64 >$@ && chmod 644 $@
	@echo 'Made $@: keep it, data cannot be read without it.'
