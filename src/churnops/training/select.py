"""Step 4: compute the features and select those that carry information, by the training rows only."""

import json
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.errors import DataError
from churnops.features.build import FeatureMatrix, all_features
from churnops.schema import Schema
from churnops.settings import FeatureSettings
from churnops.step import StepResult


@dataclass(frozen=True, kw_only=True)
class SelectedFeatures(StepResult):
    """Result of the selection.

    `build` computes the matrix of the selected features from imputed columns; `left_out` has the reason for each other
    feature.
    """

    build: FeatureMatrix
    left_out: Mapping[str, str]


def select_features(
    prepared: PreparedTable, schema: Schema, settings: FeatureSettings, *, one_hot: bool = True
) -> SelectedFeatures:
    """Compute every feature, and leave out those that are excluded, constant or a repetition.

    A feature is a repetition if its absolute correlation with an earlier one is above `max_correlation`. The selection
    uses neither outcomes nor held-out rows.

    Raises
    ------
    DataError
        If a feature overflows, or no feature is left.
    """
    features = all_features(schema, settings, one_hot=one_hot)
    names = [feature.name for feature in features]
    matrix = FeatureMatrix(schema.model_inputs, features, names)(prepared.imputer(prepared.columns))
    with np.errstate(over="ignore"):  # the tree libraries round to float32
        finite = np.isfinite(matrix.astype(np.float32)).all(axis=0)
    if not finite.all():
        raise DataError(_overflow(names[int(np.argmin(finite))], schema))
    codes = {column.name for column in schema.model_inputs if column.kind == "category"}
    left_out = _left_out(matrix[prepared.training], names, codes, settings)
    selected = tuple(name for name in names if name not in left_out)
    if not selected:
        raise DataError("no feature is left after selection: every column is constant or excluded")
    record = {"selected": selected, "left_out": left_out, "features": [feature.to_json() for feature in features]}
    return SelectedFeatures(
        build=FeatureMatrix(schema.model_inputs, features, selected),
        left_out=left_out,
        params={"max_correlation": settings.max_correlation, "exclude": list(settings.exclude)}
        | {f"feature.{item.name}": item.expression for item in settings.derived},
        metrics={"features": len(features), "selected_features": len(selected)},
        artifacts={"selected_features.json": json.dumps(record, indent=2)},
        summary="\n".join(
            [
                f"{len(selected)} of {len(features)} features are selected",
                *(f"  left out: {name}, {reason}" for name, reason in left_out.items()),
            ]
        ),
    )


def _overflow(name: str, schema: Schema) -> str:
    if (column := schema.by_name.get(name)) is None:
        return f"feature '{name}' overflows for some customers: change its expression"
    limit = f"{np.finfo(np.float32).max:.2g}"
    return (
        f"column {column.full_name} has a value outside ±{limit}, the range of the models: correct the value. To "
        "find its row, set the column's minimum and maximum"
    )


def _left_out(
    matrix: NDArray[np.float64], names: Sequence[str], codes: Set[str], settings: FeatureSettings
) -> dict[str, str]:
    """Return the names of left-out features, each with its reason; `codes` of categories repeat nothing."""
    reasons: dict[str, str] = {}
    scaled = matrix - matrix.mean(axis=0)
    length = np.sqrt((scaled**2).sum(axis=0))
    constant = np.ptp(matrix, axis=0) == 0.0
    scaled /= np.where(constant, 1.0, length)
    correlation = np.abs(scaled.T @ scaled)
    is_code = [name in codes for name in names]
    correlation[:, is_code] = 0.0
    correlation[is_code] = 0.0
    for i, name in enumerate(names):
        earlier = [j for j in range(i) if names[j] not in reasons and correlation[i, j] > settings.max_correlation]
        if {name, name.partition("=")[0]} & set(settings.exclude):
            reasons[name] = "excluded in config.yaml"
        elif constant[i]:
            reasons[name] = "constant in the training rows"
        elif earlier:
            reasons[name] = f"repeats {names[earlier[0]]} (|r| = {correlation[i, earlier[0]]:.6f})"
    return reasons
