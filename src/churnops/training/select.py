"""Step 4: compute the features and leave out those that say nothing, on training rows only."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.errors import DataError
from churnops.features.build import Feature, FeatureMatrix, all_features
from churnops.schema import Schema
from churnops.settings import FeatureSettings
from churnops.step import StepResult


@dataclass(frozen=True, kw_only=True)
class SelectedFeatures(StepResult):
    """Definitions, the names selected, and the matrix of all rows of shape (n, number selected)."""

    features: tuple[Feature, ...]
    selected: tuple[str, ...]
    matrix: NDArray[np.float64]


def select_features(prepared: PreparedTable, schema: Schema, settings: FeatureSettings) -> SelectedFeatures:
    """Compute every feature and select.

    Left out are features excluded by name, constant ones, and those whose absolute correlation with an earlier
    one is above `max_correlation`. Nothing looks at the outcome or at held-out rows.
    """
    features = all_features(schema, settings.derived)
    names = [feature.name for feature in features]
    unknown = set(settings.exclude) - set(names) - {f.name.partition("=")[0] for f in features}
    if unknown:
        raise DataError(f"features.exclude: there is no feature '{sorted(unknown)[0]}'")
    matrix = FeatureMatrix(schema.model_inputs, features, names)(prepared.imputer(prepared.columns))
    finite = np.isfinite(matrix).all(axis=0)
    if not finite.all():
        raise DataError(
            f"feature '{names[int(np.argmin(finite))]}' overflows for some customers: change its expression"
        )
    left_out = _left_out(matrix[~prepared.held_out], names, settings)
    keep = [i for i, name in enumerate(names) if name not in left_out]
    if not keep:
        raise DataError("no feature is left after selection: every column is constant or excluded")
    selected = tuple(names[i] for i in keep)
    record = {"selected": selected, "left_out": left_out, "features": [asdict(feature) for feature in features]}
    return SelectedFeatures(
        features=features,
        selected=selected,
        matrix=np.ascontiguousarray(matrix[:, keep]),
        params={"max_correlation": settings.max_correlation, "exclude": list(settings.exclude)}
        | {f"feature.{item.name}": item.expression for item in settings.derived},
        metrics={"features": len(features), "selected_features": len(selected)},
        artifacts={"selected_features.json": json.dumps(record, indent=2)},
    )


def _left_out(matrix: NDArray[np.float64], names: Sequence[str], settings: FeatureSettings) -> dict[str, str]:
    """Return the names left out, each with its reason."""
    reasons: dict[str, str] = {}
    scaled = matrix - matrix.mean(axis=0)
    length = np.sqrt((scaled**2).sum(axis=0))
    constant = np.ptp(matrix, axis=0) == 0.0
    scaled /= np.where(constant, 1.0, length)
    correlation = np.abs(scaled.T @ scaled)
    for i, name in enumerate(names):
        earlier = [j for j in range(i) if names[j] not in reasons and correlation[i, j] > settings.max_correlation]
        if {name, name.partition("=")[0]} & set(settings.exclude):
            reasons[name] = "excluded in config.yaml"
        elif constant[i]:
            reasons[name] = "constant in the training rows"
        elif earlier:
            reasons[name] = f"repeats {names[earlier[0]]} (|r| = {correlation[i, earlier[0]]:.6f})"
    return reasons
