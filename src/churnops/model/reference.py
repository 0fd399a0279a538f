"""The reference profile of a Bundle as plain arrays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.data.profile import ColumnProfile, Profile
from churnops.errors import BundleError
from churnops.model.arrays import read_arrays, write_arrays

SCORE = "churn_probability"
"""Name of the score in a reference profile."""
MAX_ROWS = 2.0**62
"""Limit of rows in a profile: sums of counts stay far below the end of int64."""
_ARRAYS: Mapping[str, Any] = {"points": np.float64, "counts": np.int64, "missing": np.int64}


def write_profile(reference: Profile) -> bytes:
    """Return the profile as an `.npz` file; the same profile gives the same bytes."""
    return write_arrays(
        {
            f"{name}.{part}": np.asarray(getattr(column, part), dtype).reshape(-1)
            for name, column in reference.items()
            for part, dtype in _ARRAYS.items()
        }
    )


def read_profile(data: bytes, names: Sequence[str], file: str) -> Profile:
    """Read and audit the profile of the named columns.

    Raises
    ------
    BundleError
        If the file holds other arrays, or arrays that no data can give.
    """
    expected = {f"{name}.{part}": dtype for name in names for part, dtype in _ARRAYS.items()}
    arrays = read_arrays(data, expected, file)
    return {name: _profile(arrays, name) for name in names}


def _profile(arrays: Mapping[str, NDArray[Any]], name: str) -> ColumnProfile:
    points, counts, missing = (arrays[f"{name}.{part}"] for part in _ARRAYS)
    if (
        counts.size != 2 * points.size + 1
        or missing.size != 1
        or np.isnan(points).any()
        or not (np.diff(points) > 0).all()
        or (counts < 0).any()
        or missing[0] < 0
        or counts.sum(dtype=np.float64) + missing[0] > MAX_ROWS
    ):
        raise BundleError(f"the reference profile of {name} is not valid")
    return ColumnProfile(points, counts, int(missing[0]))
