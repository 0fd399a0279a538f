"""Checks of a column's cells: the quick look at the whole column never changes the result."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import churnops.data.column_check as column_check
from churnops.data.column_check import MAX_INTEGER, check_cells
from churnops.schema import Column

BOUNDS = st.sampled_from([None, -1.0, 0.0, 2.5])
WHOLE = st.sampled_from([-(2**60), -MAX_INTEGER, -1, 0, 1, 2, 3, MAX_INTEGER, MAX_INTEGER + 2])
NUMBERS = st.sampled_from([-1e300, -1.5, -1.0, -0.0, 0.0, 1.0, 2.5, 2.6, 1e300, *map(float, ("inf", "-inf", "nan"))])
COLUMNS = st.one_of(
    st.lists(st.none() | WHOLE).map(lambda values: pl.Series("x", values, pl.Int64)),
    st.lists(st.none() | NUMBERS).map(lambda values: pl.Series("x", values, pl.Float64)),
    st.lists(st.none() | NUMBERS.map(str) | st.sampled_from(["", " ", "many"])).map(
        lambda values: pl.Series("x", values, pl.String)
    ),
)


@given(raw=COLUMNS, whole=st.booleans(), minimum=BOUNDS, maximum=BOUNDS)
def test_the_smallest_and_largest_number_show_a_broken_rule(
    raw: pl.Series, whole: bool, minimum: float | None, maximum: float | None
):
    if minimum is not None and maximum is not None and minimum > maximum:
        minimum, maximum = maximum, minimum
    column = Column(name="x", kind="integer" if whole else "number", minimum=minimum, maximum=maximum)
    quick, failures = check_cells(raw, column, "file", may_be_null=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_check, "_keeps_rules", lambda *_: False)
        slow, expected = check_cells(raw, column, "file", may_be_null=False)
    assert failures == expected
    assert quick.equals(slow, check_dtypes=True)


@given(st.lists(st.none() | st.sampled_from(["Yes", "No", " yes", "NO ", "", " ", "maybe"])))
def test_columns_of_choices_are_taken_as_they_are(cells: list[str | None]):
    plan = Column(name="plan", kind="flag", choices=("No", "Yes"))
    column, failures = check_cells(pl.Series("plan", cells, pl.String), plan, "file", may_be_null=True)
    meant = {"yes": "Yes", "no": "No", "maybe": "maybe", "": None}
    assert column.to_list() == [None if cell is None else meant[cell.strip().lower()] for cell in cells]
    assert bool(failures) == ("maybe" in cells)
