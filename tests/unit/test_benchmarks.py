"""Benchmarks, which no other test runs."""

import importlib

from benchmarks.__main__ import NAMES


def test_every_benchmark_finds_the_code_that_it_measures():
    for name in NAMES:
        assert callable(importlib.import_module(f"benchmarks.{name.partition(' ')[0]}").measure)
