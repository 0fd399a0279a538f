"""Importance of columns: their shares of the contributions to the scores."""

import numpy as np

from churnops.features.expressions import compile_expression
from churnops.model import Bundle
from churnops.schema import Column, Columns

EXPLAINED = 500
"""Largest number of customers who are explained for the importance."""


def sources(bundle: Bundle) -> dict[str, frozenset[str]]:
    """Return each selected feature's source columns, including those of the features that it is computed from."""
    known: dict[str, Column | None] = {column.name: column for column in bundle.schema.model_inputs}
    reads: dict[str, frozenset[str]] = {name: frozenset([name]) for name in known}
    for feature in bundle.features:
        if feature.expression in bundle.schema.by_name:  # a column itself, which may be a category
            reads.setdefault(feature.name, frozenset([feature.expression]))
            continue
        names = compile_expression(feature.expression, known).names
        columns = frozenset().union(*(reads[name] for name in names))
        known.setdefault(feature.name, None)
        reads.setdefault(feature.name, columns)
    return {name: reads[name] for name in bundle.selected}


def column_importance(bundle: Bundle, sample: Columns | None) -> dict[str, float]:
    """Return each column's share of the contributions (SHAP) to the scores of the reference customers.

    A feature's mean absolute contribution is split evenly between its source columns. Columns that the model does
    not read are left out.

    Parameters
    ----------
    sample
        Encoded reference customers, of whom up to 500 are explained; None for the bundle's probe rows.
    """
    rows = bundle.probes if sample is None else sample
    count = next(iter(rows.values())).size
    picked = np.unique(np.linspace(0, count - 1, min(count, EXPLAINED)).astype(np.intp))
    explained = bundle.explain({name: values[picked] for name, values in rows.items()})
    sizes = np.abs(explained.contributions).mean(axis=0)
    total, shares = float(sizes.sum()) or 1.0, dict.fromkeys((c.name for c in bundle.schema.model_inputs), 0.0)
    for columns, size in zip(sources(bundle).values(), sizes, strict=True):
        for column in columns:
            shares[column] += float(size) / total / len(columns)
    return {name: share for name, share in shares.items() if share}
