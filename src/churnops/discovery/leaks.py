"""Find columns that contain the outcome in another form, on the sample of a surveyed table."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.cell_text import as_numbers
from churnops.discovery.described import DescribedColumn
from churnops.discovery.facts import is_unsupported
from churnops.evaluation.leaks import SUSPECTED, Codes, Values, churn_rates, codes_of, one_outcome_each
from churnops.schema import Columns

MIN_OUTCOMES = 20
"""Smallest number of sampled rows of each outcome that the test needs."""
MIN_FILLED = 50
"""Smallest number of filled cells from which a column that only customers who churned have is a leak."""
MAX_PARTS, ROWS_PER_PART = 100, 50
"""Largest number of quantile parts of a number whose churn rates are compared, and average rows of a part."""


@dataclass(frozen=True)
class Leak:
    """Evidence that a column contains the outcome.

    Attributes
    ----------
    roc_auc
        ROC-AUC of the column alone, from parts' churn rates on other rows.
    certain
        Whether it follows from the outcome: a copy of it, or a value that only one outcome has.
    """

    header: str
    roc_auc: float
    certain: bool
    evidence: str


def find_leaks(
    sample: pl.DataFrame, columns: Columns, outcome: Values, decisions: Iterable[DescribedColumn]
) -> list[Leak]:
    """Return the columns that by themselves separate the customers who churned from those who stayed.

    Parameters
    ----------
    sample
        Rows of the table as they are in the files, shape (n,).
    columns
        The inputs of these rows, encoded, by name.
    outcome
        Shape (n,): 1 churned, 0 stayed, NaN unknown.
    """
    known = ~np.isnan(outcome)
    churned = outcome[known]
    if min(churned.sum(), churned.size - churned.sum()) < MIN_OUTCOMES:
        return []
    rows = sample.filter(pl.Series(known))
    leaks = []
    for decision in decisions:
        if decision.header not in rows.columns:
            continue
        cells = rows.get_column(decision.header)
        values = columns[decision.name][known] if decision.name in columns else None
        if not is_unsupported(cells.dtype) and (leak := _leak(decision, cells, values, churned)):
            leaks.append(leak)
    return leaks


def _leak(decision: DescribedColumn, cells: pl.Series, values: Values | None, churned: Values) -> Leak | None:
    filled = _filled(cells)
    if one_outcome_each(filled.astype(np.intp), churned) or _filled_after_churn(filled, churned):
        who = "churned" if churned[filled].any() else "stayed"
        return Leak(decision.header, 1.0, True, f"it is filled in only for customers who {who}")
    if decision.kind == "id":
        area = _area(as_numbers(cells.cast(pl.String)).to_numpy(), churned)
        evidence = f"sorting the customers by it sorts them by outcome (ROC-AUC {area:.3f})"
        return Leak(decision.header, area, True, evidence) if area >= SUSPECTED else None
    if values is None:
        return None
    codes = codes_of(values)
    if one_outcome_each(codes, churned):
        evidence = "each of its values has one outcome only: it is a copy of the target"
        return Leak(decision.header, 1.0, True, evidence)
    if one_outcome_each((codes == np.bincount(codes).argmax()).astype(np.intp), churned):
        evidence = "its most frequent value has one outcome only, and the other values have the other outcome"
        return Leak(decision.header, 1.0, True, evidence)
    area = _rates_area(values if decision.choices else _parts(values), churned)
    if not decision.choices:
        known = np.isfinite(values)
        area = max(area, _codes_area(codes[known], churned[known]))
    if area < SUSPECTED:
        return None
    return Leak(decision.header, area, False, f"alone it predicts the outcome with a ROC-AUC of {area:.3f}")


def _filled_after_churn(filled: NDArray[np.bool_], churned: Values) -> bool:
    """Whether many cells have a value, and all of them belong to customers who churned."""
    return bool(MIN_FILLED <= filled.sum() < filled.size and churned[filled].all())


def _filled(cells: pl.Series) -> NDArray[np.bool_]:
    """Return whether each cell has a value."""
    texts = cells.cast(pl.String)
    return (texts.str.strip_chars() != "").fill_null(value=False).to_numpy()


def _parts(numbers: Values) -> Values:
    """Return the quantile part of each number; NaN if it is missing."""
    known = numbers[np.isfinite(numbers)]
    if known.size == 0:
        return numbers
    parts = min(MAX_PARTS, max(known.size // ROWS_PER_PART, 2))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, parts + 1)[1:-1]))
    return np.where(np.isfinite(numbers), np.searchsorted(edges, numbers, side="right"), np.nan)


def _rates_area(codes: Values, churned: Values) -> float:
    """Return the ROC-AUC of each row's churn rate, that of its code among the rows of the other half."""
    half = np.arange(codes.size) % 2 == 0
    rates = np.where(half, churn_rates(codes, churned, ~half), churn_rates(codes, churned, half))
    return _area(rates, churned)


def _area(scores: Values, churned: Values) -> float:
    """Return the ROC-AUC of scores or of their opposite; 0.5 if too few rows have a score."""
    known = np.isfinite(scores)
    return _codes_area(codes_of(scores[known]), churned[known])


def _codes_area(codes: Codes, churned: Values) -> float:
    """Return the ROC-AUC of scores or of their opposite, from the scores' places in ascending order."""
    if min(churned.sum(), churned.size - churned.sum()) < MIN_OUTCOMES:
        return 0.5
    left = np.bincount(codes, weights=churned)
    stayed = np.bincount(codes) - left
    area = float((left * (np.cumsum(stayed) - stayed / 2)).sum() / (left.sum() * stayed.sum()))
    return max(area, 1 - area)
