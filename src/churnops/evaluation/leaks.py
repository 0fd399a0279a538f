"""Columns that contain the outcome in another form, such as a score that was computed from it."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.evaluation.delong import delong
from churnops.schema import Column

Values = NDArray[np.float64]

PERFECT = 0.999
"""ROC-AUC that, without a leak, neither a single column nor a model reaches."""
MIN_OUTCOMES = 10
"""Smallest number of held-out rows of each outcome that the test of a column needs."""


def leaking_columns(prepared: PreparedTable, inputs: Iterable[Column]) -> list[str]:
    """Return each input that by itself separates the held-out customers who churned from those who stayed.

    A number is tested by its values, a choice by its churn rate in the training rows, and both by their missing values.
    """
    held_out, outcome = prepared.held_out, prepared.outcome.astype(np.float64)
    leaks = []
    for column in inputs:
        values = prepared.columns[column.name]
        scores = [np.isnan(values).astype(np.float64)]
        scores.append(values if column.numeric else churn_rates(values, outcome, ~held_out))
        if any(_separates(score[held_out], outcome[held_out]) for score in scores):
            leaks.append(column.name)
    return leaks


def churn_rates(codes: Values, outcome: Values, rows: NDArray[np.bool_]) -> Values:
    """Return, for each customer, the churn rate of those `rows` that have the same choice."""
    places = np.where(np.isnan(codes), 0, codes + 1).astype(np.intp)
    count = np.bincount(places[rows], minlength=places.max(initial=0) + 1)
    churned = np.bincount(places[rows], weights=outcome[rows], minlength=count.size)
    rates: Values = np.where(count > 0, churned / np.maximum(count, 1), outcome[rows].mean())[places]
    return rates


def _separates(score: Values, outcome: Values) -> bool:
    known = np.isfinite(score)
    score, outcome = score[known], outcome[known]
    if min(outcome.sum(), outcome.size - outcome.sum()) < MIN_OUTCOMES:
        return False
    area = delong(outcome, score).value
    return max(area, 1 - area) >= PERFECT


def leak_warning(leaks: list[str], roc_auc: float) -> str:
    """Return a warning if columns seem to contain the outcome; empty if there is no sign of a leak.

    >>> leak_warning([], 0.93), leak_warning(["score"], 1.0)[:58]
    ('', "'score' alone separates the customers who churned from tho")
    """
    remedy = "remove from the schema every column that is not known when a customer is scored"
    if leaks:
        names = ", ".join(f"'{name}'" for name in leaks)
        verb, it = ("separates", "it") if len(leaks) == 1 else ("each separate", "they")
        reason = f"the customers who churned from those who stayed, so {it} may contain the outcome"
        return f"{names} alone {verb} {reason}: {remedy}"
    if roc_auc >= PERFECT:
        return f"ROC-AUC {roc_auc:.4f} is too good, so a column may contain the outcome: {remedy}"
    return ""
