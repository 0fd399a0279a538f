"""Peers of `quality`: scikit-learn's models in five lines."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

from benchmarks.product import Customers
from churnops.features import FeatureMatrix, all_features
from churnops.settings import Settings

Matrix = NDArray[np.float64]
Peer = Callable[[Customers, Customers, Settings], Matrix]
"""Fits on the first customers and returns the churn probability of the second."""


def raw_matrix(customers: Customers, settings: Settings) -> Matrix:
    """Return the table's 19 columns without derived ones; a category becomes one 0/1 column for each choice."""
    parts = []
    for column in settings.table.inputs:
        values = customers.columns[column.name][:, None]
        parts.append((values == np.arange(len(column.choices))) if column.kind == "category" else values)
    return np.hstack(parts).astype(np.float64)


def derived_matrix(customers: Customers, settings: Settings) -> Matrix:
    """Return the product's own features, before selection."""
    schema = settings.table
    features = all_features(schema, settings.features)
    return FeatureMatrix(schema.model_inputs, features, [feature.name for feature in features])(customers.columns)


def _peer(make: Callable[..., object], matrix: Callable[[Customers, Settings], Matrix]) -> Peer:
    def fit_and_score(known: Customers, new: Customers, settings: Settings) -> Matrix:
        model = make(random_state=settings.random_state)
        model.fit(matrix(known, settings), known.outcome)  # type: ignore[attr-defined]
        return model.predict_proba(matrix(new, settings))[:, 1]  # type: ignore[attr-defined,no-any-return]

    return fit_and_score


BOOSTING, FOREST = "HistGradientBoosting, 19 raw columns", "RandomForest, 19 raw columns"
FIVE_LEAVES = "DecisionTree of 5 leaves, our features"
PEERS: Mapping[str, Peer] = {
    BOOSTING: _peer(HistGradientBoostingClassifier, raw_matrix),
    FOREST: _peer(RandomForestClassifier, raw_matrix),
    "HistGradientBoosting, our features": _peer(HistGradientBoostingClassifier, derived_matrix),
    "RandomForest, our features": _peer(RandomForestClassifier, derived_matrix),
    FIVE_LEAVES: _peer(partial(DecisionTreeClassifier, max_leaf_nodes=5), derived_matrix),
}
