"""Step 3: hold rows out, and learn constants for missing values from the others.

Needs no table library. A served model uses the same `Imputer`, with the constants in its bundle.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from churnops.data.time_split import TimeSplit
from churnops.schema import Column, Columns
from churnops.step import StepResult


@dataclass(frozen=True)
class Imputer:
    """Replaces missing values with constants: the median of a number, the most frequent choice otherwise."""

    constants: Mapping[str, float]

    @classmethod
    def fit(cls, columns: Columns, inputs: Iterable[Column]) -> "Imputer":
        """Learn one constant for each of `inputs` from the rows given, which must be training rows only.

        A column without any value gets 0.

        Examples
        --------
        >>> minutes = Column(name="minutes", kind="number", nullable=True)
        >>> Imputer.fit({"minutes": np.array([1.0, np.nan, 3.0, 8.0])}, [minutes]).constants
        {'minutes': 3.0}
        """
        return cls({column.name: _constant(columns[column.name], column) for column in inputs})

    def __call__(self, columns: Columns) -> dict[str, NDArray[np.float64]]:
        """Return the imputed columns for which there are constants; columns without gaps are not copied."""
        return {name: _fill(columns[name], constant) for name, constant in self.constants.items()}

    def one(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return one customer's imputed numbers; NaN is a missing value."""
        return {name: constant if (v := values[name]) != v else v for name, constant in self.constants.items()}


def _constant(values: NDArray[np.float64], column: Column) -> float:
    known = values[~np.isnan(values)]
    if known.size == 0:
        return 0.0
    if column.numeric:
        return float(np.median(known))
    choices, counts = np.unique(known, return_counts=True)
    return float(choices[np.argmax(counts)])


def _fill(values: NDArray[np.float64], constant: float) -> NDArray[np.float64]:
    missing = np.isnan(values)
    return np.where(missing, constant, values) if missing.any() else values


def stratified_holdout(outcome: NDArray[np.bool_], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Choose rows to hold out: `fraction` of each outcome, at random.

    Returns
    -------
    NDArray[np.bool_], shape (n,)
        True where the row is held out.

    Examples
    --------
    >>> held_out = stratified_holdout(np.array([True] * 10 + [False] * 90), 0.2, seed=42)
    >>> int(held_out[:10].sum()), int(held_out.sum())
    (2, 20)
    """
    generator = np.random.default_rng(seed)
    held_out = np.zeros(outcome.shape, dtype=np.bool_)
    for value in (False, True):
        rows = np.flatnonzero(outcome == value)
        held_out[generator.permutation(rows)[: round(fraction * rows.size)]] = True
    return held_out


@dataclass(frozen=True, kw_only=True)
class PreparedTable(StepResult):
    """Encoded columns and outcomes of all rows, use of each row, and the constants learned from the training rows.

    Attributes
    ----------
    held_out, training
        Masks of shape (n,). A row is in one of them, or in neither.
    in_time
        The split in time; None if rows are held out in another way.
    """

    columns: Columns
    outcome: NDArray[np.bool_]
    held_out: NDArray[np.bool_]
    training: NDArray[np.bool_]
    imputer: Imputer
    sha256: str
    in_time: TimeSplit | None = None

    @cached_property
    def customers(self) -> NDArray[np.intp] | None:
        """Number of each row's customer, shape (n,); None unless rows are split in time and a customer has several."""
        return self.in_time.moments.numbers if self.in_time else None

    def rows(self, chosen: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
        """Return the encoded columns of the chosen rows."""
        return {name: values[chosen] for name, values in self.columns.items()}


def preprocess(
    columns: Columns,
    outcome: NDArray[np.bool_],
    inputs: Iterable[Column],
    *,
    sha256: str,
    held_out: float | NDArray[np.bool_] | TimeSplit,
    seed: int,
) -> PreparedTable:
    """Hold out rows, and fit imputation on the others.

    Parameters
    ----------
    held_out
        Share of each outcome to hold out, drawn at random by `seed`; the mask of the rows to hold out, shape (n,); or a
        split in time.
    """
    fraction = held_out if isinstance(held_out, float) else None
    in_time = held_out if isinstance(held_out, TimeSplit) else None
    held_out, training = _masks(held_out, outcome, seed)
    imputer = Imputer.fit({name: values[training] for name, values in columns.items()}, inputs)
    missing = {name: int(np.isnan(columns[name]).sum()) for name in imputer.constants}
    rows, later, gaps = int(training.sum()), int(held_out.sum()), sum(missing.values())
    return PreparedTable(
        columns=columns,
        outcome=outcome,
        held_out=held_out,
        training=training,
        imputer=imputer,
        sha256=sha256,
        in_time=in_time,
        params={"holdout_fraction": fraction or later / outcome.size, "random_state": seed},
        metrics={
            "training_rows": rows,
            "held_out_rows": later,
            "missing_values": gaps,
        },
        artifacts={"imputation.json": json.dumps({"constants": dict(imputer.constants), "missing": missing}, indent=2)},
        datasets={"training": ("rows of merged.parquet", sha256)},
        summary=f"{rows:,} training rows and {later:,} held-out rows; {gaps:,} missing values"
        + (f"; {in_time}" if in_time else ""),
    )


def _masks(
    held_out: float | NDArray[np.bool_] | TimeSplit, outcome: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the masks of the held-out rows and of the training rows."""
    if isinstance(held_out, TimeSplit):
        return held_out.held_out, held_out.training
    if isinstance(held_out, float):
        held_out = stratified_holdout(outcome, held_out, seed)
    return held_out, ~held_out
