"""Simulated production: customers of a table, changed by a known amount, to check the results of monitoring.

The three kinds of change are those of Moreno-Torres et al., "A unifying view on dataset shift in classification",
Pattern Recognition 45 (2012) 521-530: covariate shift (other customers with the same behaviour), prior shift (more or
fewer churners) and concept shift (the same customers with another behaviour).

Simulated customers are possible customers. Columns that constrain each other (`data.groups`) always take their values
from the same real customer, so no value, combination or gap is invented.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.data.dependence import linked_columns
from churnops.data.groups import column_groups
from churnops.data.tilting import Rows, near_rows, tilted_rows
from churnops.errors import DataError
from churnops.schema import Columns, Schema, nearest

Values = NDArray[np.float64]

RECIPE_COLUMNS = 3
"""Number of columns that the recipe adds noise to by default."""
RECIPE_NOISE = 0.1
"""Size of the recipe's noise in standard deviations of the column; the recipe's source gives no size."""
RECIPE_FLIPPED = (0.02, 0.05)
"""Limits of the share of outcomes that the recipe flips; the share is drawn between them."""
SHORT = 0.1
"""Largest shortfall, as a share of the shift, that the description leaves out."""


@dataclass(frozen=True)
class Drift:
    """Changes and their sizes; nothing by default.

    Attributes
    ----------
    covariate
        Shift of the mean of each of `columns`, in standard deviations of the column; negative: downwards. If the table
        has too few suitable customers, the shift is smaller, and the description contains the shift reached.
    columns
        Numeric columns to shift by `covariate`; if empty, all that no other column determines.
    prior
        Target churn rate, in [0, 1]; None: not changed.
    concept
        Share of the customers, in [0, 1], whose outcome no longer depends on their behaviour: their outcomes are
        permuted, so the churn rate does not change.
    recipe
        Whether to add the changes of `docs/coming-from-the-report.md`: normal noise (`RECIPE_NOISE` standard
        deviations) on the columns `noisy`, and 2 to 5 % of the outcomes flipped.
    noisy
        Columns to which the recipe adds noise. If the table has none of them, noise is added to the three numeric
        columns whose means differ most between the outcomes, in standard deviations. A column that another one
        determines gets no noise.
    """

    covariate: float = 0.0
    columns: tuple[str, ...] = ()
    prior: float | None = None
    concept: float = 0.0
    recipe: bool = False
    noisy: tuple[str, ...] = ()


@dataclass(frozen=True)
class Simulated:
    """Encoded customers, their outcomes (1 churned, 0 stayed, NaN unknown), and a description of the changes."""

    columns: dict[str, Values]
    outcome: Values
    description: str


def simulate(
    columns: Columns,
    outcome: Values,
    schema: Schema,
    drift: Drift,
    *,
    rows: int,
    seed: int,
    linked: Mapping[str, str] | None = None,
) -> Simulated:
    """Draw customers from a table and change them.

    Customers are drawn without replacement, or with replacement if the table has too few. To shift a column, some
    customers take the values of another customer with the same outcome, in that column and its whole group. So charges
    follow minutes, nobody without a plan sends messages, sums and inequalities hold, whole numbers stay whole, and gaps
    stay.

    Parameters
    ----------
    columns
        Encoded inputs of n customers, see `churnops.data.read.encode`.
    outcome
        Shape (n,): 1 churned, 0 stayed, NaN not known. With a `prior` only customers whose outcome is known are drawn.
    rows
        Number of customers to draw, at least 1.
    seed
        The same seed gives the same customers, bit for bit. Of the changes, only `prior` affects the draw.
    linked
        Determined columns, each with its determining column, which is shifted instead. By default they are detected in
        the table.

    Raises
    ------
    DataError
        If the drift is out of range, names a column that cannot be shifted, or needs customers or outcomes that the
        table lacks.

    Examples
    --------
    >>> from churnops.schema import Column
    >>> schema = Schema(columns=(
    ...     Column(name="minutes", kind="number"), Column(name="churn", kind="target", choices=("no", "yes"))))
    >>> table, outcome = {"minutes": np.arange(100.0)}, np.tile([0.0, 0.0, 0.0, 0.0, 1.0], 20)
    >>> made = simulate(table, outcome, schema, Drift(covariate=0.5, prior=0.4), rows=50, seed=1)
    >>> float(made.outcome.mean())
    0.4
    >>> made.description
    '50 customers drawn from 100; minutes shifted by 0.5 standard deviations; churn rate 0.4; seed 1'
    """
    linked = linked_columns(columns) if linked is None else linked
    linked = {name: root for name, root in linked.items() if name in columns and root in columns}
    _check(drift, rows, outcome)
    free = [c.name for c in schema.inputs if c.numeric and c.name in columns and c.name not in linked]
    shifted = _shifted(drift, free, linked)
    drawing, moving, noise, permuting, flipping = np.random.default_rng(seed).spawn(5)
    chosen = _draw(outcome, rows, drift.prior, drawing)
    made = _DrawnCustomers(columns, outcome, schema, chosen, bool(shifted) or drift.recipe)
    result = outcome[chosen]
    done = [f"{rows} customers drawn from {outcome.size}"]
    if shifted:
        made.shift(shifted, drift.covariate, moving)
        done.append(f"{', '.join(shifted)} shifted by {drift.covariate:g} standard deviations")
        done += made.shortfall(shifted, drift.covariate)
    if drift.prior is not None:
        done.append(f"churn rate {result.mean():g}")
    if drift.concept:
        permuted = _permute(result, drift.concept, permuting)
        done.append(f"{permuted} outcomes permuted ({drift.concept:.0%} of the known outcomes)")
    if drift.recipe:
        noisy, note = _noisy(drift, columns, outcome, free)
        for name in noisy:
            made.add_noise(name, noise)
        flipped = _flip(result, flipping)
        done.append(f"noise on {', '.join(noisy) or 'no column'}{note}; {flipped} outcomes flipped")
    return Simulated(made.columns(), result, "; ".join([*done, f"seed {seed}"]))


class _DrawnCustomers:
    """Drawn customers: for each group of columns, the row of the table that gives a customer its values."""

    def __init__(self, table: Columns, outcome: Values, schema: Schema, chosen: Rows, changed: bool) -> None:
        self._table = table
        self._outcome = outcome
        self._chosen = chosen
        numbers = [column.name for column in schema.inputs if column.numeric]
        # Groups take time to find, and an unchanged sample needs none.
        groups = column_groups(table, numbers) if changed else [tuple(table)]
        self._group = {name: group for group in groups for name in group}
        self._rows = dict.fromkeys(groups, chosen)

    def columns(self) -> dict[str, Values]:
        """Return the customers' encoded columns, with the changes so far."""
        return {name: values[self._rows[self._group[name]]] for name, values in self._table.items()}

    def shift(self, names: tuple[str, ...], size: float, generator: np.random.Generator) -> None:
        """Shift the means of columns by `size` standard deviations, as far as the table has suitable customers."""
        for group in self._rows:
            members = [name for name in names if self._group[name] == group]
            if members:
                values = np.column_stack([_standardized(self._table[name]) for name in members])
                shifts = np.full(len(members), size)
                self._rows[group] = tilted_rows(values, self._strata(group), self._rows[group], shifts, generator)

    def shortfall(self, names: tuple[str, ...], size: float) -> list[str]:
        """Return a list with one sentence on the columns that moved by less than `size`; empty if there are none."""
        reached = {}
        for name in names:
            values = _standardized(self._table[name])
            reached[name] = float((values[self._rows[self._group[name]]] - values[self._chosen]).mean())
        short = [f"{name} ({moved:.2g})" for name, moved in reached.items() if abs(moved - size) > SHORT * abs(size)]
        return (
            [f"the shift is smaller for {', '.join(short)}: the table has too few suitable customers"] if short else []
        )

    def add_noise(self, name: str, generator: np.random.Generator) -> None:
        """Add the recipe's noise to a column."""
        values, group = self._table[name], self._group[name]
        rows = self._rows[group]
        targets = values[rows] + generator.normal(0.0, RECIPE_NOISE * _deviation(values), rows.size)
        self._rows[group] = near_rows(values, self._strata(group), rows, targets, generator)

    def _strata(self, group: tuple[str, ...]) -> Rows:
        """Return the stratum of each row, by its outcome and by the gaps in a group of columns."""
        unknown = np.isnan(self._outcome)
        strata = np.where(unknown, 2, self._outcome).astype(np.intp)
        for name in group:
            missing = np.isnan(self._table[name])
            if missing.any():  # numbered from 0 again, because the numbers would overflow after many columns
                strata = np.unique(strata * 2 + missing, return_inverse=True)[1].astype(np.intp)
        return strata


def _check(drift: Drift, rows: int, outcome: Values) -> None:
    if rows < 1:
        raise DataError(f"{rows} customers cannot be simulated: give at least 1")
    if not outcome.size:
        raise DataError("there are no customers to draw from")
    if not np.isfinite(drift.covariate):
        raise DataError(f"covariate is {drift.covariate}: give a finite number of standard deviations")
    if drift.columns and not drift.covariate:
        raise DataError(f"the size of the shift of {', '.join(drift.columns)} is missing: give --covariate")
    if drift.prior is not None and not 0 <= drift.prior <= 1:
        raise DataError(f"prior {drift.prior} is not a churn rate: give a number between 0 and 1")
    if not 0 <= drift.concept <= 1:
        raise DataError(f"concept {drift.concept} is not a share of customers: give a number between 0 and 1")
    if drift.concept and np.isnan(outcome).all():
        raise DataError("concept drift needs known outcomes: draw from a table with outcomes")


def _shifted(drift: Drift, free: Sequence[str], linked: Mapping[str, str]) -> tuple[str, ...]:
    """Return the columns to be shifted."""
    for name in drift.columns:
        if name in linked:
            raise DataError(f"{linked[name]} determines column {name}: shift {linked[name]}, and {name} follows")
        if name not in free:
            raise DataError(f"there is no number or integer {name!r} to be shifted: {nearest(name, free)}")
    return tuple(dict.fromkeys(drift.columns or free)) if drift.covariate else ()


def _draw(outcome: Values, rows: int, prior: float | None, generator: np.random.Generator) -> NDArray[np.intp]:
    if prior is None:
        return generator.choice(outcome.size, rows, replace=rows > outcome.size)
    churners = round(prior * rows)
    parts = []
    for value, wanted in ((1.0, churners), (0.0, rows - churners)):
        there = np.flatnonzero(outcome == value)
        if wanted and not there.size:
            raise DataError(
                f"a churn rate of {prior:g} needs customers who {'churned' if value else 'stayed'}: the table has none"
            )
        parts.append(generator.choice(there, wanted, replace=wanted > there.size) if wanted else there[:0])
    return generator.permutation(np.concatenate(parts))


def _deviation(values: Values) -> float:
    """Return the standard deviation of the known values; very large values do not overflow."""
    known = values[~np.isnan(values)]
    largest = float(np.abs(known).max(initial=0.0))
    return float((known / largest).std() * largest) if largest else 0.0


def _standardized(values: Values) -> Values:
    """Return values minus their mean, in standard deviations; 0 for missing or constant values."""
    deviation = _deviation(values)
    known = ~np.isnan(values)
    if not deviation or not known.any():
        return np.zeros(values.size)
    scale = float(np.abs(values[known]).max())  # the mean of very large values would overflow
    shares = np.where(known, values / scale, 0.0)
    return np.where(known, (shares - shares[known].mean()) / (deviation / scale), 0.0)


def _permute(outcome: Values, share: float, generator: np.random.Generator) -> int:
    """Permute in place the outcomes of a share of the customers with known outcomes.

    Return the size of this share in customers.
    """
    known = np.flatnonzero(~np.isnan(outcome))
    rows = generator.choice(known, round(share * known.size), replace=False)
    outcome[rows] = outcome[generator.permutation(rows)]
    return rows.size


def _flip(outcome: Values, generator: np.random.Generator) -> int:
    """Flip the recipe's share of the known outcomes in place; return the number of flipped outcomes."""
    known = np.flatnonzero(~np.isnan(outcome))
    rows = generator.choice(known, round(generator.uniform(*RECIPE_FLIPPED) * known.size), replace=False)
    outcome[rows] = 1 - outcome[rows]
    return rows.size


def _noisy(drift: Drift, columns: Columns, outcome: Values, free: Sequence[str]) -> tuple[list[str], str]:
    """Return the columns that the recipe adds noise to, and a note on columns that the table lacks."""
    there = [name for name in drift.noisy if name in free]
    if there:
        absent = [name for name in drift.noisy if name not in free]
        return there, f" (the table has no number {', '.join(absent)})" if absent else ""

    def difference(name: str) -> float:
        values = _standardized(columns[name])
        means = [values[outcome == value].mean() if (outcome == value).any() else 0.0 for value in (0.0, 1.0)]
        return -abs(float(means[1] - means[0]))

    return sorted(free, key=difference)[:RECIPE_COLUMNS], ""
