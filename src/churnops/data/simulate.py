"""Simulated production: customers of a table, changed by a known amount, so that what monitoring finds can be checked.

The three kinds of change are those of Moreno-Torres et al., "A unifying view on dataset shift in classification",
Pattern Recognition 45 (2012) 521-530: covariate shift (other customers, who behave as before), prior shift (more or
fewer churners) and concept shift (the same customers, who behave otherwise).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.data.dependence import linked_columns
from churnops.errors import DataError
from churnops.schema import Column, Columns, Schema, nearest

Values = NDArray[np.float64]

RECIPE = ("total_day_minutes", "customer_service_calls", "total_intl_minutes")
"""Columns that the recipe adds noise to."""
RECIPE_NOISE = 0.1
"""Its size in standard deviations of the column. The report gives none."""
RECIPE_FLIPPED = (0.02, 0.05)
"""Share of outcomes that the recipe flips: at random between these."""
MAX_DECIMALS = 6
MAX_INTEGER = 2.0**53


@dataclass(frozen=True)
class Drift:
    """What is to change, and by how much; nothing by default.

    Attributes
    ----------
    covariate
        Shift of each of `columns` in standard deviations that it has in the table; negative: downwards. What leaves
        the Schema's range stops at its end, so a column near it moves less.
    columns
        Numbers and integers to be shifted by `covariate`; empty: all that no other column determines.
    prior
        Churn rate wanted, in [0, 1].
    concept
        Share of the customers, in [0, 1], whose outcome no longer follows from what they do: their outcomes are
        permuted, so the churn rate stays exactly what it was.
    recipe
        The one of the report: normal noise (`RECIPE_NOISE` standard deviations) on those columns of `RECIPE` that the
        table has, and 2 to 5 % of the outcomes flipped.
    """

    covariate: float = 0.0
    columns: tuple[str, ...] = ()
    prior: float | None = None
    concept: float = 0.0
    recipe: bool = False


@dataclass(frozen=True)
class Simulated:
    """Encoded customers, their outcomes (1 churned, 0 stayed, NaN not known), and what was done, in words."""

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

    Customers are drawn without replacement while there are enough. Shifted values have as many decimals as the table's
    and are rounded up or down at random, so that also whole numbers move by what was asked on average. Columns that
    another one determines follow it by the relation that the table shows: its value where it is known, between known
    ones a line for numbers and the nearest for choices. A missing value stays missing.

    Parameters
    ----------
    columns
        Encoded inputs of n customers, see `churnops.data.read.encode`.
    outcome
        Shape (n,): 1 churned, 0 stayed, NaN not known. With a `prior` only customers whose outcome is known are drawn.
    rows
        Customers wanted, at least 1.
    seed
        The same one gives the same bits; the customers drawn depend on nothing else, but on `prior`.
    linked
        Column to the column that determines it; found in the table by default.

    Raises
    ------
    DataError
        If the drift is out of range, names a column that cannot be shifted, or wants customers or outcomes that the
        table lacks.

    Examples
    --------
    >>> schema = Schema(columns=(
    ...     Column(name="minutes", kind="number"), Column(name="churn", kind="target", choices=("no", "yes"))))
    >>> table, outcome = {"minutes": np.arange(100.0)}, np.repeat([0.0, 1.0], [80, 20])
    >>> made = simulate(table, outcome, schema, Drift(covariate=0.5, prior=0.4), rows=50, seed=1)
    >>> float(made.outcome.mean())
    0.4
    >>> made.description
    '50 customers drawn from 100; minutes shifted by 0.5 standard deviations; churn rate 0.4; seed 1'
    """
    linked = linked_columns(columns) if linked is None else linked
    linked = {name: root for name, root in linked.items() if name in columns and root in columns}
    _check(drift, rows, outcome)
    shifted = _shifted(drift, columns, schema, linked)
    drawing, moving, noise, permuting, flipping = np.random.default_rng(seed).spawn(5)
    chosen = _draw(outcome, rows, drift.prior, drawing)
    made = {name: values[chosen] for name, values in columns.items()}
    result = outcome[chosen]
    done = [f"{rows} customers drawn from {outcome.size}"]
    if shifted:
        for name in shifted:
            step = drift.covariate * _deviation(columns[name])
            made[name] = _moved(made[name], np.full(rows, step), columns[name], schema.by_name[name], moving)
        done.append(f"{', '.join(shifted)} shifted by {drift.covariate:g} standard deviations")
    if drift.prior is not None:
        done.append(f"churn rate {result.mean():g}")
    if drift.concept:
        permuted = _permute(result, drift.concept, permuting)
        done.append(f"{permuted} outcomes permuted, {drift.concept:.0%} of those known")
    if drift.recipe:
        done.append(_recipe(made, result, columns, schema, noise, flipping))
    for name, root in linked.items():
        pairs = columns[root], columns[name]
        made[name] = _follow(made[name], made[root], columns[root][chosen], pairs, schema.by_name[name])
    return Simulated(made, result, "; ".join([*done, f"seed {seed}"]))


def _check(drift: Drift, rows: int, outcome: Values) -> None:
    if rows < 1:
        raise DataError(f"{rows} customers cannot be simulated: at least 1")
    if not outcome.size:
        raise DataError("there are no customers to draw from")
    if not np.isfinite(drift.covariate):
        raise DataError(f"covariate {drift.covariate} is not a number of standard deviations")
    if drift.columns and not drift.covariate:
        raise DataError(
            f"{', '.join(drift.columns)} cannot be shifted by nothing: give covariate, the size of the shift"
        )
    if drift.prior is not None and not 0 <= drift.prior <= 1:
        raise DataError(f"prior {drift.prior} is not a churn rate: between 0 and 1")
    if not 0 <= drift.concept <= 1:
        raise DataError(f"concept {drift.concept} is not a share of customers: between 0 and 1")
    if drift.concept and np.isnan(outcome).all():
        raise DataError("concept drift permutes outcomes, and none is known: draw from a table with outcomes")


def _shifted(drift: Drift, columns: Columns, schema: Schema, linked: Mapping[str, str]) -> tuple[str, ...]:
    """Return the columns to be shifted."""
    free = [c.name for c in schema.inputs if c.numeric and c.name in columns and c.name not in linked]
    for name in drift.columns:
        if name in linked:
            raise DataError(f"column {name} is determined by {linked[name]}: shift that one, and it follows")
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
                f"a churn rate of {prior:g} needs customers who {'churned' if value else 'stayed'}: none has"
            )
        parts.append(generator.choice(there, wanted, replace=wanted > there.size) if wanted else there[:0])
    return generator.permutation(np.concatenate(parts))


def _deviation(values: Values) -> float:
    """Return the standard deviation of the known values, also of very large ones."""
    known = values[~np.isnan(values)]
    largest = float(np.abs(known).max(initial=0.0))
    return float((known / largest).std() * largest) if largest else 0.0


def _decimals(values: Values) -> int | None:
    """Return how many decimals suffice to write the values; None if more than `MAX_DECIMALS`, or not exactly."""
    known = values[~np.isnan(values)]
    for decimals in range(MAX_DECIMALS + 1):
        if np.abs(known).max(initial=0.0) * 10**decimals >= MAX_INTEGER:
            return None
        if (np.round(known, decimals) == known).all():
            return decimals
    return None


def _moved(values: Values, steps: Values, table: Values, column: Column, generator: np.random.Generator) -> Values:
    """Add steps to values, as values that the column may have; without a step a value stays what it was."""
    decimals = 0 if column.kind == "integer" else _decimals(table)
    chance = generator.random(values.size)
    with np.errstate(over="ignore", invalid="ignore"):
        moved = values + steps
        if decimals is not None:
            moved = np.round(np.floor(moved * 10**decimals + chance) / 10**decimals, decimals)
    return np.where(steps == 0, values, _within(moved, column))


def _within(values: Values, column: Column) -> Values:
    limit = MAX_INTEGER if column.kind == "integer" else float(np.finfo(np.float64).max)
    lowest = -limit if column.minimum is None else max(column.minimum, -limit)
    highest = limit if column.maximum is None else min(column.maximum, limit)
    if column.kind == "integer":
        lowest, highest = np.ceil(lowest), np.floor(highest)
    return np.clip(values, lowest, highest)


def _permute(outcome: Values, share: float, generator: np.random.Generator) -> int:
    """Permute the outcomes of a share of the customers among themselves, in place; return of how many."""
    known = np.flatnonzero(~np.isnan(outcome))
    rows = generator.choice(known, round(share * known.size), replace=False)
    outcome[rows] = outcome[generator.permutation(rows)]
    return rows.size


def _recipe(
    made: dict[str, Values],
    outcome: Values,
    table: Columns,
    schema: Schema,
    noise: np.random.Generator,
    flipping: np.random.Generator,
) -> str:
    """Apply the report's recipe in place, and say what was done."""
    there = [name for name in RECIPE if name in table and schema.by_name[name].numeric]
    for name in there:
        steps = noise.normal(0.0, RECIPE_NOISE * _deviation(table[name]), outcome.size)
        made[name] = _moved(made[name], steps, table[name], schema.by_name[name], noise)
    known = np.flatnonzero(~np.isnan(outcome))
    rows = flipping.choice(known, round(flipping.uniform(*RECIPE_FLIPPED) * known.size), replace=False)
    outcome[rows] = 1 - outcome[rows]
    absent = [name for name in RECIPE if name not in there]
    note = f" (the table has no {', '.join(absent)})" if absent else ""
    return f"noise on {', '.join(there) or 'no column'}{note}; {rows.size} outcomes flipped"


def _follow(values: Values, root: Values, before: Values, pairs: tuple[Values, Values], column: Column) -> Values:
    """Return a determined column as its root's new values say; where the root is as before, so is the column."""
    both = ~(np.isnan(pairs[0]) | np.isnan(pairs[1]))
    seen, first = np.unique(pairs[0][both], return_index=True)
    known = pairs[1][both][first]
    changed = (root != before) & ~np.isnan(root) & ~np.isnan(values)
    if not seen.size or not changed.any():
        return values
    followed = values.copy()
    if column.numeric:
        followed[changed] = _on_line(root[changed], seen, known, column, pairs[1])
    else:
        middles = seen[:-1] / 2 + seen[1:] / 2
        followed[changed] = known[np.searchsorted(middles, root[changed])]
    return followed


def _on_line(asked: Values, seen: Values, known: Values, column: Column, table: Values) -> Values:
    """Read a relation at `asked`; beyond the ends of what was seen it goes on with its slope from end to end."""
    slope = (known[-1] - known[0]) / (seen[-1] - seen[0]) if seen.size > 1 else 0.0
    found = np.interp(asked, seen, known) + slope * (asked - asked.clip(seen[0], seen[-1]))
    decimals = 0 if column.kind == "integer" else _decimals(table)
    return _within(found if decimals is None else np.round(found, decimals), column)
