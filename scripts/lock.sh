#!/usr/bin/env bash
# Writes the lock files: every package pinned with its hashes, for every platform, without an index address.
set -euo pipefail
cd "$(dirname "$0")/.."
lock() {
  uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-annotate --custom-compile-command "make lock" "$@"
}
lock pyproject.toml --all-extras --group build -o requirements.txt
lock pyproject.toml --all-extras --group build --group dev -c requirements.txt -o requirements-dev.txt
lock --group build --group serve-image -c requirements.txt -o requirements-serve.txt
