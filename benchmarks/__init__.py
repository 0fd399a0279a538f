"""Every figure of `docs/benchmarks.md`: one script a claim, peers in the same run, medians.

`python -m benchmarks [names]` measures, prints a table per benchmark, and writes `benchmarks/results.json` and the
page. `harness` says what a claim is and how time is taken; nothing here is part of the product or of its tests.
"""
