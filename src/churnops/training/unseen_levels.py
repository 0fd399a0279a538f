"""Shares of levels that are new to a fit, as cross-validation shows them."""

from collections.abc import Iterable, Sequence

import numpy as np

from churnops.schema import Column, Columns
from churnops.training.search import Fold


def unseen_levels(columns: Columns, folds: Sequence[Fold], inputs: Iterable[Column]) -> dict[str, float]:
    """Return the share of validation rows whose level the training part of their fold lacks, by category.

    A level outside the choices counts as such a level.

    Returns
    -------
    dict
        Shares in [0, 1] of the rows with a value; 0 if no row has one.

    Examples
    --------
    >>> plan = Column(name="plan", kind="category", choices=("a", "b", "c"))
    >>> folds = [(np.array([0, 1]), np.array([2, 3])), (np.array([2, 3]), np.array([0, 1]))]
    >>> unseen_levels({"plan": np.array([0.0, 1.0, 0.0, 2.0])}, folds, [plan])
    {'plan': 0.5}
    """
    shares = {}
    for column in inputs:
        if column.kind == "category" and column.name in columns:
            values, rows, unseen = columns[column.name], 0, 0
            for training, validation in folds:
                known = values[validation][~np.isnan(values[validation])]
                seen = np.setdiff1d(values[training], [column.other])
                rows += known.size
                unseen += int((~np.isin(known, seen)).sum())
            shares[column.name] = unseen / max(rows, 1)
    return shares
