#!/usr/bin/env bash
# Try another Python in a new environment: the locked packages, the wheel, the demonstration and the tests that need no
# other program. Called by `make newer-python PYTHON=python3.13`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${1:?name an interpreter}" -m venv "$folder/venv"
bin=$folder/venv/bin
"$bin/python" -m pip install --quiet --require-hashes -r requirements.txt
"$bin/python" -m pip install --quiet --require-hashes -r requirements-dev.txt
"$bin/python" -m hatchling build --target wheel --directory "$folder"
"$bin/python" -m pip install --quiet --no-deps "$folder"/*.whl
"$bin/python" --version
(cd "$folder" && "$bin/churnops" demo)
"$bin/python" -m pytest tests/unit tests/property tests/contract
