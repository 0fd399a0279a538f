"""Texts of cells: each is read by itself, whatever its neighbours look like."""

from datetime import UTC, datetime

import polars as pl
import pytest

from churnops.data.cell_text import as_days, as_numbers, as_times, date_texts
from churnops.data.validate import ValidationError, check_column
from churnops.dates import date_text, days_of
from churnops.schema import Column

DAY = Column(name="signup", kind="time")
NOON = datetime(2024, 3, 5, 12, tzinfo=UTC)
TIMES = {
    "2024-03-05T12:00:00": NOON,
    "2024-03-05T12:00:00Z": NOON,
    "2024-03-05 12:00": NOON,
    "2024-03-05T14:00:00+02:00": NOON,
    "2024-03-05T08:30:00.000-0330": NOON,
    "2024-03-05T13:00:00+01": NOON,
    "20240305T120000Z": NOON,
    "2024-03-05 12:00:00 UTC": NOON,
    " 2024/3/5 12:00:00 ": NOON,
    "2024-03-05T12:00:00,250": NOON.replace(microsecond=250_000),
    "2024-03-05T12:00:00.123456789Z": NOON.replace(microsecond=123_456),
    "2024-03-05": NOON.replace(hour=0),
    "1969-12-31T23:59:59.999Z": datetime(1969, 12, 31, 23, 59, 59, 999_000, UTC),
}
NO_TIMES = (
    "soon",
    "2024-02-30",
    "2024-03-05T25:00",
    "2024-03-05T12",
    "05/03/2024",
    "2024-03-05T12:00+99:99",
    "",
    "2024",
)

EDGES = (
    "0000-01-01",
    "0001-01-01",
    "0001-01-01T00:00+14:00",
    "9999-12-31",
    "9999-12-31T23:59-00:01",
    "2024-03-05T12:00+23:59",
    "20240305.0",
)


@pytest.mark.parametrize("backwards", [False, True])
def test_iso_times_may_be_mixed_in_any_order(backwards: bool):
    texts = [*TIMES, *NO_TIMES][:: -1 if backwards else 1]
    assert as_times(pl.Series(texts)).to_list() == [TIMES.get(text) for text in texts]
    for text in texts:
        assert as_times(pl.Series([text])).to_list() == [TIMES.get(text)]


@pytest.mark.parametrize("text", ["05/03/2024", "5.3.24", "05-03-2024 10:00"])
def test_a_time_that_begins_with_day_or_month_is_refused(text: str):
    hint = r"\(write 2024-03-05, or declare `format: day_first` or `month_first`: in .*\)"
    message = rf"signup: 1 value not an ISO 8601 time {hint}, such as"
    with pytest.raises(ValidationError, match=message) as caught:
        check_column(pl.Series(["2024-03-05", text]), DAY, "customers.csv")
    assert str(caught.value).endswith(f"{text!r} (row 2)")


@pytest.mark.parametrize("text", [*TIMES, *NO_TIMES, *EDGES])
def test_the_api_and_files_read_the_same_dates(text: str):
    (expected,) = as_days(pl.Series([text])).to_list()
    try:
        days = days_of(text)
    except ValueError:
        days = None
    assert days == expected
    if days is not None:
        assert as_days(pl.Series([date_text(days)])).to_list() == [pytest.approx(days, abs=1e-8)]


@pytest.mark.parametrize(
    ("text", "day_first", "month_first"),
    [
        ("05/03/2024", "2024-03-05", "2024-05-03"),
        ("25.3.24", "2024-03-25", None),
        (" 3-25-99 2:30:15 pm ", None, "1999-03-25T14:30:15Z"),
        ("12/12/2024 12:00 AM", "2024-12-12", "2024-12-12"),
        ("12/12/2024 13:00 AM", None, None),
        ("31/02/2024", None, None),
        ("5 March 2024", "2024-03-05", "2024-03-05"),
        ("Sept 5, 2024", "2024-09-05", "2024-09-05"),
        ("05MAR1968:00", None, None),
        ("2024-03-05", "2024-03-05", "2024-03-05"),
        ("Mai 5, 2024", None, None),
    ],
)
def test_the_declared_format_decides_the_order_of_day_and_month(text: str, day_first: str | None, month_first: str):
    for format, expected in (("day_first", day_first), ("month_first", month_first)):
        assert date_texts(as_times(pl.Series([text]), format)).to_list() == [expected]


@pytest.mark.parametrize(
    ("text", "unit", "number"),
    [
        ("$1,234.50", "$", 1234.5),
        ("-$5", "$", -5.0),
        ("$ -5", "$", -5.0),
        ("($5)", "$", -5.0),
        ("5 min", "min", 5.0),
        ("5\u00a0%", "%", 5.0),
        ("5", "%", 5.0),
        ("5%", "", None),
        ("5€", "$", None),
        ("$", "$", None),
        ("$5$", "$", 5.0),
        ("5-", "", -5.0),
        ("(5.5)", "", -5.5),
        ("(-5)", "", None),
        ("-5-", "", None),
        ("5--", "", None),
        ("0x10", "", None),
        ("1_000", "", None),
        ("1e5", "", 100_000.0),
        ("٣", "", None),
    ],
)
def test_a_number_may_have_the_unit_of_its_column(text: str, unit: str, number: float | None):
    assert as_numbers(pl.Series([text]), thousands=",", unit=unit).to_list() == [number]


def test_a_unit_that_the_column_lacks_is_named():
    with pytest.raises(ValidationError, match=r"not a number \(a number may have a unit .*: `unit: '€'`\)"):
        check_column(pl.Series(["5", "6 €"]), Column(name="spend", kind="number"), "customers.csv")


def test_blanks_around_a_number_do_not_count():
    texts = [" 1", "2.5 ", "\t3\t", "\u00a04", "5 5", " ", None, "1e3 ", "many"]
    assert as_numbers(pl.Series(texts)).to_list() == [1.0, 2.5, 3.0, 4.0, None, None, None, 1000.0, None]
