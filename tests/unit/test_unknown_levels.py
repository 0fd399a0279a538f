"""Levels that an open category does not have: read, encoded, counted, and refused if they are many in a file."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError as Invalid

from churnops.api.customers import CustomerForm
from churnops.api.problems import Problem
from churnops.data.read import decode, encode
from churnops.data.unexpected_cells import UnexpectedCells
from churnops.data.validate import ValidationError, check_customers, validate_data
from churnops.journal.decoding import decode_inputs
from churnops.schema import MAX_LEVEL, Column, Schema
from tests.support.journals import packed_inputs

TARGET = Column(name="churn", kind="target", choices=("no", "yes"))
PLAN = Column(name="plan", kind="category", alias="Plan", choices=("Gold", "Basic", "3"), nullable=True)
SCHEMA = Schema(columns=(PLAN, Column(name="minutes", kind="number"), TARGET), missing=("?",))
CLOSED = Schema(columns=(PLAN.model_copy(update={"open": False}), *SCHEMA.columns[1:]), missing=("?",))

CELLS = [
    ("Gold", "Gold", 0.0),
    (" gOLD ", "Gold", 0.0),
    ("3.0", "3", 2.0),
    ("Platin", "Platin", 3.0),
    (" Platin", " Platin", 3.0),
    ("", None, np.nan),
    ("  ", None, np.nan),
    (" ?", None, np.nan),
    ("7.5", "7.5", 3.0),
    ("a\x00b", "a\x00b", 3.0),
    ("x" * 1000, "x" * MAX_LEVEL + "…", 3.0),
]
"""A cell, its level and its code."""


@pytest.mark.parametrize(("cell", "level", "code"), CELLS)
@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical])
def test_a_cell_and_a_value_of_a_request_are_the_same_level(
    cell: str, level: str | None, code: float, dtype: type[pl.DataType]
):
    table = check_customers(pl.DataFrame({"plan": pl.Series([cell], dtype=dtype), "minutes": [1.0]}), SCHEMA, "t")
    assert table.get_column("plan").to_list() == [level]
    form = CustomerForm(SCHEMA)
    record = form.read({"plan": cell, "minutes": 1.0})
    assert record["plan"] == level
    for codes in (encode(table, SCHEMA)["plan"], form.encode([record])["plan"], [form.encode_one(record)["plan"]]):
        np.testing.assert_equal(list(codes), [code])
    assert form.unknown(record) == (["plan"] if code == PLAN.other else [])


@pytest.mark.parametrize(("value", "level"), [(3, "3"), (3.0, "3"), (7, "7"), (7.5, "7.5")])
def test_a_number_in_json_is_the_level_with_its_digits(value: float, level: str):
    assert CustomerForm(SCHEMA).read({"plan": value, "minutes": 1})["plan"] == level


@pytest.mark.parametrize("value", [True, [], {}, "\ud800"])
def test_other_types_are_refused(value: object):
    with pytest.raises(Problem, match=r"plan \('Plan'\) must be"):
        CustomerForm(SCHEMA).read({"plan": value, "minutes": 1})


def test_a_closed_category_refuses_a_level_that_it_does_not_have():
    with pytest.raises(ValidationError, match="not one of Gold, Basic, 3, such as 'Platin'"):
        check_customers(pl.DataFrame({"plan": ["Platin"], "minutes": [1.0]}), CLOSED, "t")
    with pytest.raises(Problem, match="must be one of Gold, Basic, 3"):
        CustomerForm(CLOSED).read({"plan": "Platin", "minutes": 1})


def test_only_a_category_can_be_closed():
    with pytest.raises(Invalid, match="only a category"):
        Column(name="voice", kind="flag", choices=("no", "yes"), open=False)


def test_an_open_column_leaves_no_trace_in_the_schema():
    assert "open" not in PLAN.model_dump(mode="json")
    assert CLOSED.columns[0].model_dump(mode="json")["open"] is False
    assert Schema.model_validate_json(CLOSED.model_dump_json()) == CLOSED


def test_a_nullable_column_may_be_left_out_of_a_request():
    form = CustomerForm(SCHEMA)
    record = form.read({"minutes": 1})
    assert record == {"minutes": 1, "plan": None}
    assert np.isnan(form.encode_one(record)["plan"])
    with pytest.raises(Problem, match="minutes is required"):
        form.read({"plan": "Gold"})


def test_unknown_levels_survive_decoding_and_the_journal():
    codes = {"plan": np.array([0.0, PLAN.other, np.nan]), "minutes": np.ones(3)}
    table = decode(codes, np.array([0.0, 1.0, 0.0]), SCHEMA)
    assert table.get_column("plan").to_list() == ["Gold", "(other)", None]
    np.testing.assert_equal(encode(table, SCHEMA)["plan"], codes["plan"])
    recorded = [{"plan": "Platin"}, {"plan": " gold"}, {"plan": None, "minutes": 2}]
    np.testing.assert_equal(decode_inputs(packed_inputs(recorded), SCHEMA)["plan"], [PLAN.other, 0.0, np.nan])


def counted(levels: list[str]) -> UnexpectedCells:
    table = pl.DataFrame({"plan": levels, "minutes": np.ones(len(levels))})
    return UnexpectedCells.of(table, encode(table, SCHEMA), SCHEMA)


def test_batches_add_up_to_their_file():
    levels = ["Gold", "b" * 99, "a", "c", "a", "Basic", "d", "e"]
    whole, parts = counted(levels), counted(levels[:1])
    for level in levels[1:]:
        parts = parts.merge(counted([level]))
    assert parts.unknown["plan"].count == whole.unknown["plan"].count == 6
    assert parts.unknown["plan"].examples == whole.unknown["plan"].examples == ("b" * 40, "a", "c")


@pytest.mark.parametrize(
    ("rows", "unknown", "expected", "refused"),
    [
        (100, 6, {}, True),
        (100, 5, {}, False),
        (99, 99, {}, False),
        (1000, 51, {"plan": 0.009}, True),
        (1000, 1000, {"plan": 0.01}, False),
        (1000, 51, {"minutes": 0.5}, True),
    ],
)
def test_a_file_with_many_unknown_levels_is_refused(rows: int, unknown: int, expected: dict, refused: bool):
    levels = counted(["Gold"] * (rows - unknown) + ["gold plus"] * unknown)
    failures = levels.unknown_failures(SCHEMA, "a.csv", "use another option", expected)
    assert bool(failures) == refused
    for failure in failures:
        assert str(failure).startswith("a.csv: column plan ('Plan'): has the spelling changed? If not, use another")
        assert f"{unknown} of {rows:,} rows" in str(failure)
        assert "such as 'gold plus'" in str(failure)


def gaps(empty: int, rows: int) -> UnexpectedCells:
    table = pl.DataFrame({"plan": ["Gold"] * rows, "minutes": [1.0] * (rows - empty) + [None] * empty})
    return UnexpectedCells.of(table, encode(table, SCHEMA), SCHEMA)


@pytest.mark.parametrize(
    ("rows", "empty", "refused"),
    [(1, 1, True), (4, 4, True), (9, 5, False), (9, 6, True), (200, 10, False), (200, 11, True)],
)
def test_a_file_with_many_unexpected_empty_cells_is_refused(rows: int, empty: int, refused: bool):
    cells = gaps(1, 1).merge(gaps(empty - 1, rows - 1)) if rows > 1 else gaps(1, 1)
    failures = cells.empty_failures(SCHEMA, "a.csv", ())
    assert bool(failures) == refused
    assert cells.empty_failures(SCHEMA, "a.csv", ["minutes"]) == []
    for failure in failures:
        assert f"column minutes: {empty} of {rows} rows" in str(failure)
        assert "`--accept-missing minutes`" in str(failure)
    assert UnexpectedCells.read(cells.to_json()) == cells


def training(tmp_path: Path, unknown: int) -> Path:
    rows = 200
    table = pl.DataFrame(
        {
            "plan": ["Gold"] * (rows - unknown) + ["Platin"] * unknown,
            "minutes": np.arange(rows),
            "churn": ["no", "yes"] * (rows // 2),
        }
    )
    path = tmp_path / f"{unknown}.csv"
    table.write_csv(path)
    return path


def test_a_training_table_is_reported_or_refused(tmp_path: Path):
    validated = validate_data([training(tmp_path, 10)], [], SCHEMA)
    assert validated.skipped.rows == {
        "raw/10.csv": "plan ('Plan'): 10 of 200 rows (5.0%) have a level outside its choices, such as 'Platin'; "
        "coded as other"
    }
    with pytest.raises(
        ValidationError, match=r"has the spelling changed\? If not, add the new levels to its `choices`"
    ):
        validate_data([training(tmp_path, 11)], [], SCHEMA)
    assert validate_data([training(tmp_path, 0)], [training(tmp_path, 200)], SCHEMA).skipped.rows == {}
