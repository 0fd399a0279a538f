"""Columns that contain the outcome in another form, such as a score that was computed from it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.evaluation.delong import delong
from churnops.schema import Column

Values = NDArray[np.float64]
Codes = NDArray[np.intp]

PERFECT = 0.999
"""ROC-AUC that, without a leak, neither a single column nor a model reaches."""
SUSPECTED = 0.95
"""ROC-AUC of a single column from which it is suspected to contain the outcome."""
MIN_OUTCOMES = 10
"""Smallest number of rows of each outcome that the test of a column needs."""
MAX_COPY_LEVELS = 20
"""Largest number of values of a copy of the target."""
LEAKS, ACCEPTED_LEAKS = "leaks", "accepted_leaks"
"""Keys of a model's lineage: evidence of each leak by the column's name; names of leaks that a person accepted."""


@dataclass(frozen=True)
class Suspect:
    """An input that may contain the outcome.

    Attributes
    ----------
    name
        Name of the column in the Schema.
    header
        Header of the column in the files.
    roc_auc
        ROC-AUC of the column alone on the evaluated rows, in [0.95, 1]; 1 for a copy.
    copy
        Whether all customers with the same value have the same outcome.
    """

    name: str
    header: str
    roc_auc: float
    copy: bool

    @property
    def leaks(self) -> bool:
        """Whether the column is a leak, so that a model that uses it is not deployed."""
        return self.copy or self.roc_auc >= PERFECT

    @property
    def evidence(self) -> str:
        """The evidence, as the predicate of a sentence."""
        if self.copy:
            return "has one outcome only for each of its values"
        return f"alone predicts the outcome with a ROC-AUC of {self.roc_auc:.4f}"

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**vars(self), "leaks": self.leaks, "evidence": self.evidence}


def suspected_columns(
    prepared: PreparedTable, inputs: Iterable[Column], folds: Sequence[tuple[NDArray[Any], NDArray[Any]]] = ()
) -> list[Suspect]:
    """Return each input that by itself separates the customers who churned from those who stayed.

    A number is tested by its values, a choice by its churn rate in the training rows, and both by their missing values.

    Parameters
    ----------
    folds
        Indices of training rows and of tested rows, if no rows are held out.
    """
    folds = folds or [(prepared.training, prepared.held_out)]
    outcome = prepared.outcome.astype(np.float64)
    tested = np.concatenate([np.arange(outcome.size)[rows] for _, rows in folds])
    if not _enough(outcome):
        return []
    suspects = []
    for column in inputs:
        values = prepared.columns[column.name]
        copy = one_outcome_each(codes_of(values), outcome)
        scores = [np.isnan(values).astype(np.float64)[tested]]
        if column.numeric:
            scores.append(values[tested])
        else:
            scores.append(np.concatenate([churn_rates(values, outcome, fitted)[rows] for fitted, rows in folds]))
        area = 1.0 if copy else max(_area(score, outcome[tested]) for score in scores)
        if area >= SUSPECTED:
            suspects.append(Suspect(column.name, column.alias or column.name, area, copy))
    return suspects


def unaccepted_leaks(lineage: Mapping[str, Any], accepted: Collection[str]) -> dict[str, str]:
    """Return the evidence of each leak of a model's lineage that nobody accepted, by the column's name."""
    return {name: evidence for name, evidence in lineage.get(LEAKS, {}).items() if name not in accepted}


def churn_rates(codes: Values, outcome: Values, rows: NDArray[Any]) -> Values:
    """Return, for each customer, the churn rate of those `rows` (mask or indices) that have the same choice."""
    places = np.where(np.isnan(codes), 0, codes + 1).astype(np.intp)
    count = np.bincount(places[rows], minlength=places.max(initial=0) + 1)
    churned = np.bincount(places[rows], weights=outcome[rows], minlength=count.size)
    rates: Values = np.where(count > 0, churned / np.maximum(count, 1), outcome[rows].mean())[places]
    return rates


def codes_of(values: Values) -> Codes:
    """Return the place of each value among the distinct values in ascending order; NaN equals NaN, and is the last."""
    codes: Codes = np.unique(values, return_inverse=True)[1]
    return codes


def one_outcome_each(codes: Codes, churned: Values) -> bool:
    """Whether each of a few values has one outcome only, and both outcomes occur."""
    count = np.bincount(codes)
    if not 2 <= count.size <= MAX_COPY_LEVELS:
        return False
    rates = np.bincount(codes, weights=churned) / np.maximum(count, 1)
    return bool(np.isin(rates, (0.0, 1.0)).all() and rates.min() < rates.max())


def _enough(outcome: Values) -> bool:
    return bool(min(outcome.sum(), outcome.size - outcome.sum()) >= MIN_OUTCOMES)


def _area(score: Values, outcome: Values) -> float:
    """Return the ROC-AUC of a score or its opposite; 0.5 if too few rows have a score."""
    known = np.isfinite(score)
    score, outcome = score[known], outcome[known]
    if not _enough(outcome):
        return 0.5
    area = delong(outcome, score).value
    return max(area, 1 - area)


def leak_warning(suspects: Sequence[Suspect], roc_auc: float) -> str:
    """Return a warning if columns seem to contain the outcome; empty if there is no sign of a leak.

    >>> leak_warning([], 0.93), leak_warning([Suspect("score", "Score", 1.0, copy=False)], 1.0)[:58]
    ('', "'score' alone separates the customers who churned from tho")
    """
    remedy = "remove from the schema every column that is not known when a customer is scored"
    doubts = [f"'{suspect.name}' {suspect.evidence}" for suspect in suspects if not suspect.leaks]
    sentences = [f"{', '.join(doubts)}: {remedy}"] if doubts else []
    if leaks := [f"'{suspect.name}'" for suspect in suspects if suspect.leaks]:
        verb, it = ("separates", "it") if len(leaks) == 1 else ("each separate", "they")
        reason = f"the customers who churned from those who stayed, so {it} may contain the outcome"
        sentences.insert(0, f"{', '.join(leaks)} alone {verb} {reason}: {remedy}")
    elif roc_auc >= PERFECT:
        sentences.append(f"ROC-AUC {roc_auc:.4f} is too good, so a column may contain the outcome: {remedy}")
    return "; ".join(sentences)
