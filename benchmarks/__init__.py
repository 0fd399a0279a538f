"""Benchmarks: every figure of `docs/benchmarks.md`, with peers in the same run.

`python -m benchmarks [names]` measures, prints a table per benchmark, and writes `benchmarks/results.json` and the
page. `harness` defines claims and measures time and memory. Nothing here is part of the product.
"""
