"""Packed inputs of many predictions as columns, without a Python object for each value."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from churnops.dates import date_text, days_of
from churnops.errors import DataError
from churnops.journal.layouts import Layout, LayoutColumn, other_inputs
from churnops.journal.predictions import PredictionRow
from churnops.schema import Column, Schema

PACKED = "packed"
"""Name of a page's `PackedInputs`, see `Journal.columns`."""

NO_FIT = "the journal holds inputs that do not fit the Schema of the model that answered them"


class PackedInputs(NamedTuple):
    """Packed inputs of n predictions: their layouts by id, and each one's layout, `inputs` and `rest`."""

    layouts: Mapping[int, Layout]
    ids: Sequence[int]
    inputs: Sequence[bytes]
    rests: Sequence[str | None]

    @classmethod
    def of(cls, rows: Sequence[PredictionRow]) -> Self:
        """Return the packed inputs of predictions."""
        layouts = {row.layout.id: row.layout for row in rows}
        return cls(layouts, [row.layout.id for row in rows], [row.inputs for row in rows], [row.rest for row in rows])

    def take(self, places: Sequence[int]) -> Self:
        """Return the predictions at these places."""
        return type(self)(
            self.layouts,
            [self.ids[place] for place in places],
            [self.inputs[place] for place in places],
            [self.rests[place] for place in places],
        )

    def record(self, place: int) -> dict[str, Any]:
        """Return the JSON values of one prediction."""
        return self.layouts[self.ids[place]].record(self.inputs[place], self.rests[place])


@dataclass(frozen=True)
class Decoded:
    """Inputs of n predictions of one layout.

    Parameters
    ----------
    layout : Layout
    values : mapping of str to numpy.ndarray
        One array of shape (n,) for each column of the layout. Numbers and dates (days since 1970-01-01 UTC) are
        float64, NaN if null, not given or in `others`. Levels are int16: the index of the level, -1 if null, and -2 if
        not given or in `others`.
    others : mapping of str to mapping of int to object
        Values without a place in the packed bytes, by column and row: levels that the layout lacks, values of another
        type, and columns that the layout lacks.
    """

    layout: Layout
    values: Mapping[str, NDArray[Any]]
    others: Mapping[str, Mapping[int, Any]]
    rows: int

    def encoded(self, column: Column) -> NDArray[np.float64]:
        """Return a column as the Schema encodes it, shape (n,): NaN if null or not given.

        Raises
        ------
        DataError
            If a value does not fit the column.
        """
        own = next((own for own in self.layout.columns if own.name == column.name), None)
        encode = _encoder(column)
        values = np.full(self.rows, np.nan) if own is None else _encoded(own, self.values[own.name], column, encode)
        for row, value in self.others.get(column.name, {}).items():
            values[row] = np.nan if value is None else encode(value)
        return values


def decode_inputs(
    packed: PackedInputs, schema: Schema, names: Collection[str] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Return the Schema's inputs, encoded: one array of shape (n,) each. With `names`, only these inputs.

    Raises
    ------
    DataError
        If they do not fit the Schema.

    Examples
    --------
    >>> schema = Schema(columns=(
    ...     Column(name="minutes", kind="number"), Column(name="plan", kind="flag", choices=("No", "Yes")),
    ...     Column(name="churn", kind="target", choices=("False", "True"))))
    >>> shared = {"model_version": "v1", "content_sha256": "f", "base_value": None, "explanation_scale": None}
    >>> layout = Layout.of_schema(schema, (), **shared)
    >>> rows = [layout.pack({"minutes": 3.5, "plan": "Yes"}), layout.pack({"minutes": None, "plan": "No"})]
    >>> inputs, _, rests = zip(*rows)
    >>> decode_inputs(PackedInputs({layout.id: layout}, [layout.id] * 2, inputs, rests), schema)
    {'minutes': array([3.5, nan]), 'plan': array([1., 0.])}
    """
    ids = np.array(packed.ids, dtype=np.int64)
    wanted = [column for column in schema.inputs if names is None or column.name in names]
    columns = {column.name: np.empty(ids.size) for column in wanted}
    for id_ in np.unique(ids).tolist():
        places = (ids == id_).nonzero()[0]
        part = packed if places.size == ids.size else packed.take(places.tolist())
        decoded = decode_rows(packed.layouts[id_], part.inputs, part.rests)
        for column in wanted:
            columns[column.name][places] = decoded.encoded(column)
    return columns


def decode_rows(layout: Layout, inputs: Sequence[bytes], rests: Sequence[str | None]) -> Decoded:
    """Decode the packed inputs of predictions of one layout.

    Examples
    --------
    >>> columns = (LayoutColumn("minutes", "number"), LayoutColumn("plan", "level", ("No", "Yes")))
    >>> layout = Layout("v1", "f" * 64, None, None, columns)
    >>> packed = [layout.pack({"minutes": 3.5, "plan": "Yes"}), layout.pack({"minutes": None, "plan": "Maybe"})]
    >>> decoded = decode_rows(layout, [row.inputs for row in packed], [row.rest for row in packed])
    >>> decoded.values["minutes"], decoded.values["plan"], decoded.others
    (array([3.5, nan]), array([ 1, -2], dtype=int16), {'plan': {1: 'Maybe'}})
    >>> decoded.encoded(Column(name="plan", kind="category", choices=("Yes", "No")))
    array([0., 2.])
    """
    packed: NDArray[Any] = np.frombuffer(b"".join(inputs), dtype=layout.dtype if layout.columns else np.uint8)
    values = {
        column.name: packed[str(place)].astype(np.int16 if column.kind == "level" else np.float64)
        for place, column in enumerate(layout.columns)
    }
    others: dict[str, dict[int, Any]] = {}
    for row, rest in enumerate(rests):
        if rest is not None:
            for name, value in other_inputs(rest).items():
                others.setdefault(name, {})[row] = value
    return Decoded(layout, values, others, len(inputs))


def _encoded(
    own: LayoutColumn, values: NDArray[Any], column: Column, encode: Callable[[Any], float]
) -> NDArray[np.float64]:
    """Encode the values of a layout's column; the Schema's column may be of another kind."""
    same = {"number": column.is_number, "integer": column.is_number, "date": column.kind == "date", "level": False}
    if same[own.kind]:
        return values.astype(np.float64)
    if own.kind != "level":
        distinct, places = np.unique(values, return_inverse=True)
        codes = np.array([np.nan if value != value else encode(_json_of(own, value)) for value in distinct.tolist()])
        return np.asarray(codes[places])
    used = np.bincount(values + 2, minlength=2)[2:].nonzero()[0]  # levels that no row has need not fit
    codes = np.full(len(own.levels) + 2, np.nan)
    codes[used + 2] = [encode(own.levels[code]) for code in used]
    return np.asarray(codes[values + 2])


def _json_of(own: LayoutColumn, value: Any) -> Any:
    """Return the JSON value of a packed value that is neither null nor missing."""
    if own.kind == "level":
        return own.levels[int(value)]
    return date_text(value) if own.kind == "date" else int(value) if own.kind == "integer" else value


def text_of(value: Any) -> str:
    """Return the text of a JSON value, as a level."""
    return value if isinstance(value, str) else to_json(value).decode()


def _encoder(column: Column) -> Callable[[Any], float]:
    """Return the function that encodes a JSON value that is not null."""
    if column.is_number:
        return _number
    if column.kind == "date":
        return _date
    codes = column.codes

    def code(value: Any) -> float:
        text = text_of(value)
        if column.is_open:
            return float(codes.get(column.level(text), column.other))
        if text not in codes:
            raise DataError(NO_FIT)
        return float(codes[text])

    return code


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise DataError(NO_FIT)
    try:
        return float(value)
    except OverflowError:
        raise DataError(NO_FIT) from None


def _date(value: Any) -> float:
    try:
        return days_of(value)
    except (TypeError, ValueError):
        return float("nan")
