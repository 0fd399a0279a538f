# One short command for each task. Everything runs in .venv, which the first command creates.
PYTHON ?= python3
BIN := .venv/bin
export PIP_RETRIES ?= 10

.PHONY: run demo test engines check-deploy check-feast endurance newer-python lint bench pictures docs schema grafana dist sbom audit lock clean help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*##/\t/'

run: .venv/ready  ## the main job on the data in the repository
	$(BIN)/python run_all.py

demo: .venv/ready  ## the closed loop on simulated customers: drift, alert, retraining, gate, deployment, recovery (minutes)
	rm -rf churnops-demo
	$(BIN)/churnops demo

test: .venv/ready-dev  ## all tests; installs the programs that they need (see scripts/test_parts.sh)
	bash scripts/test_parts.sh
	bash scripts/run_tests.sh -n 3 --ignore=tests/engines --ignore=tests/deploy

engines: .venv/ready-dev  ## tests with other programs: Dask, object stores, replicas behind a proxy, Spark, Feast; and of the wheel
	bash scripts/test_parts.sh
	bash scripts/run_tests.sh -n 2 tests/engines

check-deploy: .venv/ready-dev  ## check the files in deploy/ and the pipelines; build the images, and run them as compose.yaml does
	bash scripts/test_parts.sh
	bash scripts/deploy_parts.sh
	bash scripts/run_tests.sh --log-cli-level=INFO tests/deploy
	@sed -n '/^## Never run/,$$p' deploy/README.md

check-feast: .venv/ready-dev  ## rows that Feast joins and serves, compared with ours on 200,000 rows (minutes; make engines: 2,000)
	FEAST_ROWS=200000 $(BIN)/python -m pytest --log-cli-level=INFO tests/engines/test_feast.py

endurance: .venv/ready-dev  ## full test of the service under load, while it is killed and models are deployed (minutes)
	bash scripts/test_parts.sh
	ENDURANCE=1 $(BIN)/python -m pytest --log-cli-level=INFO tests/loop/test_serving_under_load.py tests/engines/test_replicas.py

newer-python:  ## tests of the wheel in a new environment of another Python: make newer-python PYTHON=python3.13
	bash scripts/newer_python.sh $(PYTHON)

# The formatter decides the layout: no exceptions but one published formula, and only one assignment to `self` on each
# line.
LAYOUT := '\# fmt: (skip|off)|^ *self\.[a-z_]+, *self\.[a-z_]+.* = '

lint: .venv/ready-dev  ## formatting, strict types, import contracts, plain English, links of the site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@! grep -rnE $(LAYOUT) --include='*.py' --exclude=kolmogorov.py src tests benchmarks scripts
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m scripts.prose
	$(BIN)/python -m scripts.site --check

bench: .venv/ready-dev  ## measure every figure of docs/benchmarks.md again
	$(BIN)/python -m benchmarks

pictures: .venv/ready-dev  ## make the pictures and the outputs of the notebook again from a real run
	$(BIN)/python -m scripts.pictures
	$(BIN)/python -m scripts.site.notebook

docs: .venv/ready-dev  ## build the documentation as a site: site/index.html
	$(BIN)/python -m scripts.site

schema: .venv/ready-dev  ## make the JSON Schemas of reports and summaries (docs/schemas) again from their models
	$(BIN)/python -m scripts.schemas

grafana: .venv/ready-dev  ## make the dashboards of Grafana (deploy/grafana) again from their panels
	$(BIN)/python -m scripts.grafana

dist: .venv/ready  ## build the wheel and the sdist, with the example data, in dist/
	rm -rf dist
	$(BIN)/python -m hatchling build --directory dist

sbom: .venv/ready  ## write the bill of materials of the locked packages: dist/churnops.cdx.json
	mkdir -p dist
	$(BIN)/python -m scripts.sbom > dist/churnops.cdx.json

audit: .venv/ready-dev  ## look for known vulnerabilities of the locked packages (needs the internet)
	$(BIN)/pip-audit --disable-pip --require-hashes -r requirements.txt

lock:  ## make requirements*.txt again from pyproject.toml (needs uv; only after a change of dependencies)
	bash scripts/lock.sh

clean:  ## delete the environment and all output of runs, but no data
	rm -rf .venv mlflow.db mlartifacts journal.db* models models.keys monitoring models-copy models-copy.keys tables-copy churnops-demo dist site

# pip checks wheels against the hashes in the lock. The package itself is installed in place, without downloads.
.venv/ready: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not sys.version_info >= (3, 11) and "churnops needs Python 3.11 or newer, this is %d.%d: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" % sys.version_info[:2])'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
