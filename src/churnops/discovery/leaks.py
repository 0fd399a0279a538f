"""Find columns that contain the outcome in another form, on the sample of a surveyed table."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.data.cell_text import as_numbers
from churnops.discovery.kinds import DescribedColumn
from churnops.discovery.survey import Forms, Survey
from churnops.discovery.target import TargetColumn
from churnops.evaluation.delong import delong

SUSPECTED = 0.95
"""ROC-AUC of a single column from which it is suspected to contain the outcome."""
MIN_OUTCOMES = 20
"""Smallest number of sampled rows of each outcome that the test needs."""
MAX_COPY_LEVELS = 20
"""Largest number of values of a copy of the target."""
MAX_PARTS, ROWS_PER_PART = 100, 50
"""Largest number of quantile parts of a number whose churn rates are compared, and average rows of a part."""
PRIOR_ROWS = 10.0
"""Rows at the overall churn rate that are added to each part's own."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Leak:
    """Evidence that a column contains the outcome.

    Attributes
    ----------
    roc_auc
        ROC-AUC of the column alone, from parts' churn rates on other rows.
    certain
        Whether it is a copy of the target: each of a few values has one outcome only.
    """

    header: str
    roc_auc: float
    certain: bool
    evidence: str


def find_leaks(survey: Survey, decisions: Iterable[DescribedColumn], target: TargetColumn) -> list[Leak]:
    """Return the columns that by themselves separate the customers who churned from those who stayed."""
    texts = survey.sample.get_column(target.header).cast(pl.String)
    known = survey.sample.filter(texts.is_in(list(target.choices)))
    outcome = (known.get_column(target.header).cast(pl.String) == target.choices[1]).cast(pl.Float64).to_numpy()
    if min(outcome.sum(), outcome.size - outcome.sum()) < MIN_OUTCOMES:
        return []
    leaks = []
    for decision in decisions:
        cells = known.get_column(decision.header)
        if cells.dtype.is_nested():
            continue
        if leak := _leak(decision, cells, outcome, survey.forms):
            leaks.append(leak)
    return leaks


def encoded(survey: Survey, decisions: Iterable[DescribedColumn]) -> dict[str, Values]:
    """Return the inputs of the sample as numbers, by name: a choice as its index, a missing value as NaN."""
    columns = {}
    for decision in decisions:
        cells = survey.sample.get_column(decision.header) if decision.kind not in (None, "id") else None
        if cells is None:
            continue
        if decision.choices:
            codes = {choice: float(code) for code, choice in enumerate(decision.choices)}
            cells = cells.cast(pl.String).replace_strict(codes, default=None, return_dtype=pl.Float64)
            columns[decision.name] = cells.to_numpy()
        else:
            columns[decision.name] = _numbers(cells, survey.forms)
    return columns


def _leak(decision: DescribedColumn, cells: pl.Series, outcome: Values, forms: Forms) -> Leak | None:
    filled = _filled(cells)
    if evidence := _one_outcome_each(filled.cast(pl.String), outcome, "it is filled in", "it is empty"):
        return Leak(decision.header, 1.0, True, evidence)
    if decision.kind == "id":
        area = _area(_numbers(cells, forms), outcome)
        evidence = f"sorting the customers by it sorts them by outcome (ROC-AUC {area:.3f})"
        return Leak(decision.header, area, True, evidence) if area >= SUSPECTED else None
    if decision.kind is None:
        return None
    texts = cells.cast(pl.String)
    if evidence := _one_outcome_each(texts, outcome):
        return Leak(decision.header, 1.0, True, evidence)
    area = 0.5
    if decision.kind in ("number", "integer"):
        numbers = _numbers(cells, forms)
        area, codes = _area(numbers, outcome), _parts(numbers)
    else:
        codes = _codes(texts)
    area = max(area, _area(_rates_of_others(codes, outcome), outcome))
    if area < SUSPECTED:
        return None
    return Leak(decision.header, area, False, f"alone it predicts the outcome with a ROC-AUC of {area:.3f}")


def _filled(cells: pl.Series) -> pl.Series:
    text = cells.cast(pl.String) if cells.dtype != pl.String else cells
    return text.is_not_null() & (text.str.strip_chars() != "").fill_null(value=False)


def _one_outcome_each(values: pl.Series, outcome: Values, *names: str) -> str:
    """Return the evidence if each of a few values has one outcome only, and both outcomes occur; else an empty text."""
    counts = (
        pl.DataFrame({"value": values.fill_null(""), "churned": outcome})
        .group_by("value")
        .agg(pl.len().alias("rows"), pl.col("churned").sum())
        .sort("rows", descending=True)
    )
    rows, churned = counts.get_column("rows").to_numpy(), counts.get_column("churned").to_numpy()
    if not 2 <= rows.size <= MAX_COPY_LEVELS or not ((churned == 0) | (churned == rows)).all():
        return ""
    if not (churned == 0).any() or not (churned > 0).any():
        return ""
    if names:
        yes = bool(churned[counts.get_column("value").to_list().index("true")] > 0)
        return f"it is filled in only for customers who {'churned' if yes else 'stayed'}"
    return "each of its values has one outcome only: it is a copy of the target"


def _numbers(cells: pl.Series, forms: Forms) -> Values:
    if cells.dtype == pl.String:
        cells = as_numbers(cells, forms.decimal, forms.thousands)
    return cells.cast(pl.Float64, strict=False).to_numpy()


def _parts(numbers: Values) -> NDArray[np.intp]:
    """Return the quantile part of each number; missing values are a part of their own."""
    known = numbers[np.isfinite(numbers)]
    if known.size == 0:
        return np.zeros(numbers.size, dtype=np.intp)
    parts = min(MAX_PARTS, max(known.size // ROWS_PER_PART, 2))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, parts + 1)[1:-1]))
    codes = np.searchsorted(edges, numbers, side="right")
    codes[~np.isfinite(numbers)] = edges.size + 1
    return codes


def _codes(texts: pl.Series) -> NDArray[np.intp]:
    return texts.fill_null("").cast(pl.Categorical).to_physical().to_numpy().astype(np.intp)


def _rates_of_others(codes: NDArray[np.intp], outcome: Values) -> Values:
    """Return for each row the churn rate of its part among the rows of the other half."""
    half = np.arange(codes.size) % 2
    scores = np.empty(codes.size)
    size = int(codes.max(initial=0)) + 1
    for number in (0, 1):
        others = half != number
        count = np.bincount(codes[others], minlength=size)
        churned = np.bincount(codes[others], weights=outcome[others], minlength=size)
        rate = (churned + PRIOR_ROWS * outcome[others].mean()) / (count + PRIOR_ROWS)
        scores[half == number] = rate[codes[half == number]]
    return scores


def _area(scores: Values, outcome: Values) -> float:
    """Return the ROC-AUC of scores or of their opposite; 0.5 if too few rows have a score."""
    known = np.isfinite(scores)
    scores, outcome = scores[known], outcome[known]
    if min(outcome.sum(), outcome.size - outcome.sum()) < MIN_OUTCOMES:
        return 0.5
    area = delong(outcome, scores).value
    return max(area, 1 - area)
