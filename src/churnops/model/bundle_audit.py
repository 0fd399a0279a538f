"""Audit of the parts of `bundle.json` beside the model: each function refuses content that no training gives.

Each raises BundleError with one line.
"""

import re
from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from churnops.data.preprocess import Imputer
from churnops.data.profile import Profile
from churnops.errors import BundleError
from churnops.model.bundle_folder import REFERENCE
from churnops.model.reference import SCORE, read_profile
from churnops.schema import Columns, Schema

MAX_PROBES = 32


def check_values(document: Mapping[str, Any]) -> None:
    """Refuse metrics, lineage, an algorithm or a threshold that no training gives."""
    if not isinstance(document["metrics"], dict) or not isinstance(document["lineage"], dict):
        raise BundleError("its metrics or lineage are not JSON objects")
    if not isinstance(document["algorithm"], str) or not re.fullmatch("[a-z_]{1,40}", document["algorithm"]):
        raise BundleError("the name of its algorithm is not valid")
    if not 0.0 < document["threshold"] < 1.0:
        raise BundleError("its threshold is not between 0 and 1")


def read_imputer(constants: Mapping[str, Any], schema: Schema) -> Imputer:
    """Return the imputer of the constants, one for each input of the model."""
    if set(constants) != {column.name for column in schema.model_inputs}:
        raise BundleError("its imputation does not cover the model's input columns")
    if not all(type(value) in (int, float) and np.isfinite(value) for value in constants.values()):
        raise BundleError("an imputation constant is not a finite number")
    return Imputer({column.name: float(constants[column.name]) for column in schema.model_inputs})


def read_probes(rows: Mapping[str, list[float | None]], schema: Schema) -> Columns:
    """Return the probe rows as encoded columns."""
    probes = {
        name: np.array([np.nan if value is None else value for value in values], dtype=np.float64)
        for name, values in rows.items()
    }
    inputs = {column.name for column in schema.model_inputs}
    if set(probes) != inputs or not {len(values) for values in probes.values()} <= set(range(1, MAX_PROBES + 1)):
        raise BundleError("its probe rows do not fit its schema")
    return probes


def read_reference(names: list[str], data: bytes, schema: Schema) -> Profile:
    """Return the reference profile of inputs, outcome and score."""
    required = {*(column.name for column in schema.model_inputs), schema.target.name, SCORE}
    if len(set(names)) != len(names) or not required <= set(names) <= required | {c.name for c in schema.inputs}:
        raise BundleError("its reference profile does not cover the inputs, the outcome and the score")
    return read_profile(data, names, REFERENCE)


def read_linked(linked: Any, watched: Set[str]) -> dict[str, str]:
    """Return the linked columns, which are watched, and none of which both determines another and is determined."""
    if not isinstance(linked, dict) or not {*linked, *linked.values()} <= watched:
        raise BundleError("a linked column is missing from its reference profile")
    if set(linked) & set(linked.values()):
        raise BundleError("its linked columns form a chain")
    return linked
