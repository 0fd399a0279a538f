"""Packed predictions: nothing is lost, and columns are those of the JSON records."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from churnops.errors import DataError
from churnops.journal.decoding import decode_rows
from churnops.journal.guessed_layout import GuessedLayout
from churnops.journal.layouts import Layout, Packed
from churnops.journal.packing import pack_table
from churnops.schema import Column, Schema

SCHEMA = Schema(
    columns=(
        Column(name="who", kind="id"),
        Column(name="minutes", kind="number"),
        Column(name="calls", kind="integer"),
        Column(name="plan", kind="category", choices=("Gold", "Basic")),
        Column(name="roaming", kind="flag", choices=("No", "Yes")),
        Column(name="since", kind="date", nullable=True),
        Column(name="seen", kind="time", required=False),
        Column(name="churn", kind="target", choices=("no", "yes")),
    )
)
SHARED = {"model_version": "v1", "content_sha256": "f" * 64, "base_value": -1.5, "explanation_scale": "log-odds"}
FEATURES = ("minutes", "größe", "a × b")
TEXTS = [
    "Gold",
    " gold",
    "Platin",
    "Yes",
    "No",
    "2024-03-05",
    "2024-03-05T12:00:00Z",
    "2024-03-05T10:00+02:00",
    "",
    "5",
]
texts = st.sampled_from(TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
values = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False)
    | texts
    | st.lists(st.integers(0, 9), max_size=2)
    | st.dictionaries(texts, st.none(), max_size=1)
)
records = st.dictionaries(st.sampled_from([c.name for c in SCHEMA.columns]) | texts, values, max_size=8)
reasons = st.none() | st.lists(
    st.fixed_dictionaries({"feature": st.sampled_from(FEATURES), "shap_value": st.floats(allow_nan=False)})
    | st.dictionaries(st.sampled_from(["feature", "shap_value"]), st.none() | texts | st.integers(), max_size=2),
    max_size=4,
)
LAYOUTS = [Layout.of_schema(SCHEMA, FEATURES, **SHARED), Layout(**SHARED, columns=())]


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values have the same text: 1 and 1.0 differ."""
    return bool(to_json(one) == to_json(other))


@given(rows=st.lists(st.tuples(records, reasons), min_size=1, max_size=5))
def test_any_record_and_its_reasons_come_back(rows: list[tuple[dict[str, Any], list[Any] | None]]):
    guess = GuessedLayout()
    for row in rows:
        guess.add(*row)
    for layout in (*LAYOUTS, guess.layout(**SHARED)):
        read = Layout.read(layout.document)
        assert (read, read.id) == (layout, layout.id)
        for record, why in rows:
            packed = layout.pack_all(record, why)
            back = read.record(packed.inputs, packed.rest)
            assert back.keys() == record.keys()
            assert all(same(back[name], value) for name, value in record.items())
            assert same(read.reasons(packed.reasons, packed.rest), why)


fitting = st.fixed_dictionaries(
    {},
    optional={
        "minutes": st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 9),
        "calls": st.none() | st.integers(0, 99) | st.floats(0, 9),
        "plan": st.none() | st.sampled_from(["Gold", " gold", "Platin", "Basic"]),
        "roaming": st.none() | st.sampled_from(["No", "Yes"]),
        "since": st.none() | st.sampled_from(["2024-03-05", "2024-03-05T12:00:00Z", "2024-03-05T10:00+02:00"]),
        "note": texts,
    },
)


@given(rows=st.lists(fitting, min_size=1, max_size=6))
def test_columns_of_packed_rows_are_those_of_the_records(rows: list[dict[str, Any]]):
    guess = GuessedLayout()
    for row in rows:
        guess.add(row, None)
    expected = expected_columns(rows)
    for layout in (*LAYOUTS, guess.layout(**SHARED)):
        packed = [layout.pack(row) for row in rows]
        decoded = decode_rows(layout, [one.inputs for one in packed], [one.rest for one in packed])
        for column in SCHEMA.inputs:
            np.testing.assert_array_equal(decoded.encoded(column), expected[column.name])


KINDS = {
    "minutes": (pl.Float64, st.floats() | st.sampled_from([-0.0, np.inf])),
    "calls": (pl.Int64, st.integers(-9, 9) | st.sampled_from([2**53, 2**53 + 1, -(2**63)])),
    "plan": (pl.String, texts),
    "roaming": (pl.String, texts),
    "since": (pl.String, texts),
    "seen": (pl.String, texts),
    "note": (pl.String, texts),
}


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """Some columns of the Schema, also without any value, and one that it lacks."""
    rows, names = draw(st.integers(1, 5)), draw(st.sets(st.sampled_from(list(KINDS)), min_size=1))
    columns = []
    for name in sorted(names):
        kind, cells = KINDS[name]
        values = draw(st.lists(st.none() | cells, min_size=rows, max_size=rows))
        columns.append(
            pl.Series(name, values, draw(st.sampled_from([kind, pl.Null])) if values == [None] * rows else kind)
        )
    return pl.DataFrame(columns)


@given(table=tables())
def test_the_rows_of_a_table_are_packed_as_records(table: pl.DataFrame):
    for layout in LAYOUTS:
        packed = map(layout.pack, table.iter_rows(named=True))
        assert list(zip(*pack_table(layout, table), strict=True)) == [(one.inputs, one.rest) for one in packed]


def expected_columns(rows: list[dict[str, Any]]) -> dict[str, list[float]]:
    codes = {"Gold": 0, " gold": 0, "Basic": 1, "Platin": 2, "No": 0, "Yes": 1}
    codes |= {"2024-03-05": 19787, "2024-03-05T12:00:00Z": 19787.5, "2024-03-05T10:00+02:00": 19787 + 1 / 3}
    found = [[row.get(column.name) for row in rows] for column in SCHEMA.inputs]
    return {
        column.name: [np.nan if v is None else codes[v] if isinstance(v, str) else float(v) for v in given]
        for column, given in zip(SCHEMA.inputs, found, strict=True)
    }


@pytest.mark.parametrize("record", [{"minutes": "many"}, {"roaming": "maybe"}, {"minutes": True}, {"minutes": 10**400}])
def test_values_that_do_not_fit_the_schema_are_refused(record: dict[str, Any]):
    (name,) = record
    guess = GuessedLayout()
    guess.add(record, None)
    for layout in (*LAYOUTS, guess.layout(**SHARED)):
        packed: Packed = layout.pack(record)
        with pytest.raises(DataError, match="do not fit the Schema"):
            decode_rows(layout, [packed.inputs], [packed.rest]).encoded(SCHEMA.by_name[name])


def test_a_number_takes_eight_bytes_and_a_level_two():
    packed = LAYOUTS[0].pack_all(
        {"minutes": 1.5, "calls": 3, "plan": "Gold", "roaming": "Yes", "since": None},
        from_json('[{"feature":"größe","shap_value":0.25}]'),
    )
    assert (len(packed.inputs), len(packed.reasons or b""), packed.rest) == (36, 10, None)
