"""The Predict page's form, from the Schema: fields, customers to start from, and sliders."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from churnops.app.predict.answers import Broken, Customer, NotAnswered
from churnops.app.shared.text import number, one_line, quantity
from churnops.data.profile import ColumnProfile, Profile
from churnops.data.read import decode, encode
from churnops.data.validate import check_customers
from churnops.decision.what_if import frequent_levels
from churnops.model import Bundle
from churnops.registry.reference import reference_path
from churnops.schema import MAX_ID_LENGTH, Column, Columns, Schema
from churnops.words import heading, title

MAX_WHOLE = 2**53 - 1  # the largest whole number that a browser represents exactly
HIGH, TYPICAL, LOW = "High risk", "Typical", "Low risk"
STEPS = 9  # values that are tried for a number
LEVELS = 50  # of a category
LEVERS = 8


@dataclass(frozen=True)
class Field:
    """One input of the form.

    Attributes
    ----------
    kind
        number, integer, choice, date or text.
    help
        Description, allowed values, and the range of most customers.
    needed
        Whether the model reads the input.
    may_be_empty
        Whether the input may be left out.
    """

    name: str
    label: str
    kind: str
    help: str
    minimum: float | None
    maximum: float | None
    step: float
    choices: tuple[str, ...]
    needed: bool
    may_be_empty: bool


def fields(schema: Schema, reference: Profile | None = None) -> tuple[Field, ...]:
    """Return the form's fields: inputs of the model, then other columns, without times and the outcome."""
    needed = {column.name for column in schema.model_inputs}
    shown = [column for column in schema.columns if column.kind not in ("time", "target")]
    made = [_field(column, column.name in needed, (reference or {}).get(column.name)) for column in shown]
    return tuple(sorted(made, key=lambda field: not field.needed))


def _field(column: Column, needed: bool, profile: ColumnProfile | None) -> Field:
    kind = column.kind if column.numeric else "choice" if column.choices else "text"
    low, high = column.minimum, column.maximum
    if column.kind == "integer":
        low = float(-MAX_WHOLE if low is None else max(np.ceil(low), -MAX_WHOLE))
        high = float(MAX_WHOLE if high is None else min(np.floor(high), MAX_WHOLE))
    step = 1.0 if column.kind == "integer" or column.minimum is None or column.maximum is None else _step(column)
    parts = [column.description.rstrip(".")] if column.description else []
    if column.numeric:
        parts += _range(column)
        if profile is not None and profile.rows:
            parts.append(
                f"Nine in ten customers: {_quantile_text(column, profile, 0.05)} to "
                f"{_quantile_text(column, profile, 0.95)}"
            )
    elif kind == "text":
        parts.append(f"At most {MAX_ID_LENGTH} characters. It identifies the customer; the model does not read it")
    if column.alias and column.alias != column.name:
        parts.append(f"In the raw table: {column.alias}")
    text = "".join(f"{one_line(part)}. " for part in parts).strip()
    may_be_empty = column.nullable or not needed
    return Field(
        column.name,
        heading(title(column), column.unit),
        kind,
        text,
        low,
        high,
        step,
        column.levels,
        needed,
        may_be_empty,
    )


def _quantile_text(column: Column, profile: ColumnProfile, share: float) -> str:
    return quantity(quantile(profile, share), is_date=column.kind == "date")


def _step(column: Column) -> float:
    span = (column.maximum or 0.0) - (column.minimum or 0.0)
    return 1.0 if span > 20 else 0.1 if span > 2 else 0.01


def _range(column: Column) -> list[str]:
    low, high = column.minimum, column.maximum
    if low is not None and high is not None:
        return [f"Allowed: {number(low)} to {number(high)}"]
    if low is not None:
        return [f"Allowed: {number(low)} or more"]
    return [f"Allowed: {number(high)} or less"] if high is not None else []


def customer(shown: Sequence[Field], values: Mapping[str, Any]) -> Customer:
    """Return the filled-in form as a customer; an empty optional field is null if the model reads it, else left out.

    Raises
    ------
    NotAnswered
        If a field that the model needs is empty.
    """
    filled: dict[str, Any] = {}
    empty: list[Field] = []
    for field in shown:
        value = values.get(field.name)
        if isinstance(value, str) and field.kind == "text":
            value = value.strip() or None
        if value is None and not field.may_be_empty:
            empty.append(field)
        elif isinstance(value, date):
            filled[field.name] = value.isoformat()
        elif value is not None:
            filled[field.name] = int(value) if field.kind == "integer" else value
        elif field.needed:
            filled[field.name] = None
    if empty:
        names = ", ".join(field.label for field in empty)
        raise NotAnswered(
            f"Fill in {names}: the model needs {'it' if len(empty) == 1 else 'them'}.",
            tuple(Broken(field.name, "is empty") for field in empty),
        )
    return filled


def encoded(given: Customer, schema: Schema) -> Columns:
    """Return one customer as encoded columns of one row.

    Raises
    ------
    DataError
        If the customer breaks the Schema.
    """
    table = pl.DataFrame({name: [value] for name, value in given.items()}, strict=False)
    return encode(check_customers(table, schema, "the customer"), schema)


def presets(bundle: Bundle, models: Path) -> dict[str, Customer]:
    """Return the real customers with the highest, median and lowest score, without identifiers.

    They come from the reference sample beside the model, or from the model's probe rows.
    """
    columns = reference_columns(bundle, models)
    score = bundle.predict(columns).probability
    filled = bundle.imputer(columns)
    columns = {**columns, **{name: filled[name] for name in bundle.schema.personal & filled.keys()}}
    order = np.argsort(score, kind="stable")
    rows = {HIGH: order[-1], TYPICAL: order[order.size // 2], LOW: order[0]}
    table = decode(columns, np.full(score.size, np.nan), bundle.schema).drop(bundle.schema.target.name)
    return {name: table.row(int(row), named=True) for name, row in rows.items()}


def reference_columns(bundle: Bundle, models: Path) -> Columns:
    """Return the encoded inputs of a model's reference sample, or else of its probe rows."""
    path = reference_path(models, bundle.content_sha256)
    if not path.exists():
        return bundle.probes
    inputs = [column.name for column in bundle.schema.inputs]
    try:
        table = pl.read_parquet(path, n_rows=10_000)
        columns = {name: table.get_column(name).cast(pl.Float64).to_numpy() for name in inputs if name in table.columns}
    except (OSError, pl.exceptions.PolarsError):  # a damaged sample must not prevent predictions
        return bundle.probes
    return columns if table.height and set(bundle.probes) <= set(columns) else bundle.probes


@dataclass(frozen=True)
class Lever:
    """An input to vary: the customer's value, the largest change of the probability, and a number's range and step.

    `levels` are the codes of a flag or category to choose from, with their texts; empty for a number.
    """

    name: str
    label: str
    minimum: float
    maximum: float
    step: float
    whole: bool
    value: float
    moves: float
    levels: Mapping[float, str]

    def text(self, value: float) -> str:
        """Return a value as text."""
        return self.levels[value] if self.levels else number(value)


def levers(
    bundle: Bundle, inputs: Mapping[str, float], first: Collection[str] = (), limit: int = LEVERS
) -> tuple[Lever, ...]:
    """Return the inputs with the largest effect on one customer's probability.

    Each is varied alone: a number at nine values from the first to the last percentile of the training rows, a flag or
    category at its most frequent levels.

    Parameters
    ----------
    inputs
        Encoded model inputs of the customer; a missing value is not varied.
    first
        Inputs that come before the others.
    """
    tried: list[tuple[Column, NDArray[np.float64]]] = []
    for column in bundle.schema.model_inputs:
        value, profile = inputs[column.name], bundle.reference[column.name]
        if (column.is_number or column.choices) and not isnan(value) and profile.rows:
            tried.append((column, _span(column, profile, value)))
    if not tried:
        return ()
    ends = np.cumsum([0, *(values.size for _, values in tried)])
    rows = {name: np.full(ends[-1], value) for name, value in inputs.items()}
    for (column, values), start in zip(tried, ends, strict=False):
        rows[column.name][start : start + values.size] = values
    moves = [np.ptp(part) for part in np.split(bundle.predict(rows).probability, ends[1:-1])]
    offered = [
        Lever(
            column.name,
            heading(title(column), column.unit),
            float(values[0]),
            float(values[-1]),
            _lever_step(column, values),
            column.kind == "integer",
            inputs[column.name],
            float(moved),
            {code: column.levels[int(code)] for code in values.tolist()} if column.choices else {},
        )
        for (column, values), moved in zip(tried, moves, strict=True)
        if values[0] < values[-1]
    ]
    return tuple(sorted(offered, key=lambda lever: (lever.name not in first, -lever.moves))[:limit])


def _span(column: Column, profile: ColumnProfile, value: float) -> NDArray[np.float64]:
    """Return the values to try for an input, in ascending order."""
    if column.choices:
        return np.unique(np.append(frequent_levels(column, profile, LEVELS), value))
    values = np.linspace(min(quantile(profile, 0.01), value), max(quantile(profile, 0.99), value), STEPS)
    return np.round(values) if column.kind == "integer" else values


def _lever_step(column: Column, values: NDArray[np.float64]) -> float:
    if column.kind == "integer":
        return 1.0
    return float(10.0 ** np.floor(np.log10((values[-1] - values[0]) / 100)))


def quantile(profile: ColumnProfile, share: float) -> float:
    """Return the smallest point of a profile with at least `share` of its rows at or below it.

    Examples
    --------
    >>> quantile(ColumnProfile.fit(np.array([1.0, 2.0, 3.0, 4.0])), 0.5)
    2.0
    """
    reached = np.cumsum(profile.counts)[1::2]
    place = int(np.searchsorted(reached, share * profile.rows - 1e-9))
    return float(profile.points[min(place, profile.points.size - 1)])
