"""Versions that decide the bits of a result: those of all workers must be equal."""

import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import churnops

LIBRARIES = ("numpy", "numba", "polars", "pyarrow", "scikit-learn", "scipy", "xgboost", "xgboost-cpu")


@cache
def versions() -> dict[str, str]:
    """Return the versions of churnops, Python, processor and libraries; missing libraries are left out."""
    known = {"churnops": churnops.__version__, "python": platform.python_version(), "processor": platform.machine()}
    for name in LIBRARIES:
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            continue
    return known


def difference(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Return the first difference in words; empty without one.

    >>> difference({"churnops": "1.0", "numpy": "2.1"}, {"churnops": "1.0", "numpy": "2.2"})
    'has numpy 2.2, and this process 2.1'
    """
    for name in (*ours, *theirs):
        if ours.get(name) != theirs.get(name):
            return f"has {name} {theirs.get(name, 'not')}, and this process {ours.get(name, 'has it not')}"
    return ""
