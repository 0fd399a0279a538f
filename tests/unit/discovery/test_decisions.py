"""DescribedColumns on columns, on the target, and on leaks."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from churnops.discovery import kinds
from churnops.discovery.discover import Discovery, discover
from churnops.discovery.facts import MAX_LEVELS
from churnops.discovery.naming import names_of
from churnops.discovery.summary import checks
from churnops.discovery.survey import SAMPLE, survey
from churnops.discovery.write import write_config
from churnops.errors import ChurnopsError, DataError, SettingsError
from churnops.settings import load_settings
from tests.support.dirty_tables import ROWS, as_csv, customers

RNG = np.random.default_rng(3)
CHURNED = [value == "Yes" for value in customers()["Churn"]]


def discovered(folder: Path, **more: Any) -> Discovery:
    path = folder / "table.csv"
    path.write_bytes(as_csv(customers() | more))
    return discover([path], "Churn")


@pytest.mark.parametrize(
    ("cells", "kind", "choices"),
    [
        ([f"{n:05d}" for n in RNG.integers(0, 40, ROWS)], "category", None),
        (RNG.choice([408, 415, 510], ROWS), "category", ("408", "415", "510")),
        (RNG.choice([12, 24, 36], ROWS), "integer", ()),
        (RNG.integers(18, 90, ROWS), "integer", ()),
        (RNG.integers(0, 50, ROWS) * 250, "number", ()),
        (RNG.choice(["1", "2", "3", "4", ">4"], ROWS), "category", ("1", "2", "3", "4", ">4")),
        (RNG.choice(["1", "2", "3", "4", "none"], ROWS), "integer", ()),
        (RNG.choice(["high", "Low", "medium"], ROWS), "category", ("Low", "medium", "high")),
        (RNG.choice(["51+", "18-30", "<18", "31-50"], ROWS), "category", ("<18", "18-30", "31-50", "51+")),
        (RNG.choice(["0.0", "1.0"], ROWS), "flag", ("0.0", "1.0")),
        (RNG.choice(["TRUE", "FALSE"], ROWS), "flag", ("FALSE", "TRUE")),
        (RNG.choice(["DSL", "Fiber"], ROWS), "category", ("DSL", "Fiber")),
        (["x"] * ROWS, None, ()),
        ([f"the bill of month {n} was wrong" for n in range(ROWS)], None, ()),
        ([f"token{n}" for n in range(ROWS)], None, ()),
        ([f"{n % 12 + 1:02d}/03/2024" for n in range(ROWS)], None, ()),
        (["25/03/2024" if n % 2 else "03/25/2024" for n in range(ROWS)], None, ()),
        ([f"2024-03-{n % 28 + 1:02d} 10:00" for n in range(ROWS)], "date", ()),
        ([f"202403{n % 28 + 1:02d}" for n in range(ROWS)], "date", ()),
        ([f"{n % 28 + 1}-Mar-24" for n in range(ROWS)], "date", ()),
        (["2024-03-05"] * ROWS, None, ()),
        ([str(20_240_000 + 2 * n) for n in range(ROWS)], "integer", ()),
        ([str(n) if n % 3 else f"v{n}" for n in range(ROWS)], None, ()),
    ],
)
def test_kind_and_choices(tmp_path: Path, cells: Any, kind: str | None, choices: tuple[str, ...] | None):
    decision = next(d for d in discovered(tmp_path, Extra=cells).columns if d.header == "Extra")
    assert decision.kind == kind
    assert decision.reason
    if choices is not None:
        assert decision.choices == choices


@pytest.mark.parametrize(("form", "format"), [("%d/%m/%Y", "day_first"), ("%m/%d/%y", "month_first")])
def test_one_date_that_can_be_read_in_one_way_decides_the_format(tmp_path: Path, form: str, format: str):
    first_days = [date(2024, n % 12 + 1, n % 12 + 1 if n else 25) for n in range(ROWS)]
    described = {d.header: d for d in discovered(tmp_path, Since=[f"{day:{form}}" for day in first_days]).columns}
    assert described["Since"].format == format


def test_a_few_words_among_dates_mean_missing(tmp_path: Path):
    dates = ["2024-03-05", "2024-01-01 10:00", "2023-01-01", "5 May 2023", "2024-02-30", "never", "0000-00-00"]
    table = discovered(tmp_path, Since=[dates[n % 7] for n in range(ROWS)])
    described = next(d for d in table.columns if d.header == "Since")
    assert (described.kind, described.nullable, described.check) == ("date", True, True)
    assert set(table.missing) == {"2024-02-30", "never", "0000-00-00"}


@pytest.mark.parametrize("stayed", ["", "NULL", "9999-12-31"])
def test_a_date_of_leaving_is_left_out(tmp_path: Path, stayed: str):
    days = [f"2024-{n % 12 + 1:02d}-{n % 28 + 1:02d}" for n in range(ROWS)]
    left = [day if churn else stayed for day, churn in zip(days, CHURNED, strict=True)]
    surveyed = [day if churn and n % 3 else "" for n, (day, churn) in enumerate(zip(days, CHURNED, strict=True))]
    table = discovered(tmp_path, Left=left, Survey=surveyed)
    reasons = {d.header: d.reason for d in table.columns if d.kind is None}
    assert reasons.keys() == {"Left", "Survey"}
    assert all(reason.startswith("contains the outcome") for reason in reasons.values())


def test_a_city_of_thousands_of_levels_is_a_category(tmp_path: Path):
    rows, rng = 10_000, np.random.default_rng(1)
    cities = [f"City {n}" for n in (rng.pareto(0.7, rows) * 30).astype(np.int64) % 5_000]
    columns = {
        "City": cities,
        "Zip": [f"{int(city[5:]) % 500:05d}" for city in cities],
        "Name": [f"name{n}" for n in rng.integers(0, 20_000, rows)],
        "Comment": [f"the customer wrote to us about {city}" for city in cities],
        "Churn": rng.choice(["No", "Yes"], rows),
    }
    path = tmp_path / "table.csv"
    path.write_bytes(as_csv(columns))
    described = {d.header: d for d in discover([path], "Churn").columns}
    assert len(described["City"].choices) == len(set(cities)) > 1_400
    assert described["Zip"].kind == "category"
    assert "most of them of one row" in described["Name"].reason
    assert described["Comment"].reason == "is free text"


@pytest.mark.parametrize(("together", "choices"), [(50_000, 10_000), (1_500, 1_250)])
def test_of_very_many_levels_the_most_frequent_are_choices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, together: int, choices: int
):
    monkeypatch.setattr(kinds, "MAX_TOGETHER", together)
    shops = [f"shop {n}" for n in [*range(1_000)] * 38 + [*range(1_000, 12_000)] * 2]
    churn = ["No", "No", "Yes"] * (len(shops) // 3)
    path = tmp_path / "table.parquet"
    pl.DataFrame({"Shop": pl.Series(shops).shuffle(seed=1), "Churn": churn}).write_parquet(path)
    table = discover([path], "Churn")
    (shop,) = table.columns
    assert len(shop.choices) == choices
    assert {f"shop {n}" for n in range(1_000)} < set(shop.choices)
    assert f"the {choices:,} most frequent ones are its choices" in shop.reason
    settings = load_settings(write_config(table, [path], tmp_path, force=False))
    assert settings.table.by_name["shop"].choices == shop.choices


@pytest.mark.parametrize("cells", [["$5", "5 €"], ["5%", "6", "7 $"]])
def test_numbers_with_two_units_are_left_out(tmp_path: Path, cells: list[str]):
    mixed = [cells[n % len(cells)].replace("5", str(n % 50)) for n in range(ROWS)]
    described = {d.header: d for d in discovered(tmp_path, Mixed=mixed).columns}
    assert described["Mixed"].kind is None
    assert "mixes the units" in described["Mixed"].reason


def test_only_one_id_and_it_is_the_one_with_a_name_for_ids(tmp_path: Path):
    table = discovered(tmp_path, Token=[f"token{n}" for n in range(ROWS)])
    assert [d.header for d in table.columns if d.kind == "id"] == ["customerID"]


def test_a_customer_number_is_preferred_to_a_row_number(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_bytes(as_csv({"RowNumber": range(ROWS), **customers()}))
    assert [d.header for d in discover([path], "Churn").columns if d.kind == "id"] == ["customerID"]


def test_headers_become_distinct_names_that_churnops_does_not_use():
    names = names_of(["A b", "a-b", "model_version", "churnops_simulated", "", "日本", "a_b_2"])
    assert list(names.values()) == ["a_b", "a_b_3", "model_version_2", "column_4", "column_5", "column_6", "a_b_2"]


@pytest.mark.parametrize(
    ("values", "churned"),
    [
        (("Existing Customer", "Attrited Customer"), "Attrited Customer"),
        (("kept", "gone"), "gone"),
        (("0", "1"), "1"),
        (("No", "Yes"), "Yes"),
        (("active", "B"), "B"),
    ],
)
def test_the_positive_class_is_known_by_name(tmp_path: Path, values: tuple[str, str], churned: str):
    table = discovered(tmp_path, Churn=[values[churn] for churn in CHURNED])
    assert table.target.choices == values
    assert table.target.choices[1] == churned
    assert not table.target.check


def test_without_a_telling_name_the_rarer_value_is_positive(tmp_path: Path):
    table = discovered(tmp_path, Churn=["P" if n % 4 else "Q" for n in range(ROWS)])
    assert table.target.choices == ("P", "Q")
    assert table.target.check


def test_a_target_of_three_values_is_refused_with_the_values(tmp_path: Path):
    with pytest.raises(DataError, match=r"'Churn' has 3 values: 'a' \(134\).*needs exactly two values"):
        discovered(tmp_path, Churn=["abc"[n % 3] for n in range(ROWS)])


def test_an_unknown_target_is_refused_with_the_nearest_header(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_bytes(as_csv(customers()))
    with pytest.raises(DataError, match="no column 'Chrn': did you mean 'Churn'"):
        discover([path], "Chrn")
    with pytest.raises(DataError, match="has no value 'maybe': its values are"):
        discover([path], "Churn", positive="maybe")
    assert discover([path], "churn", positive="No").target.choices == ("Yes", "No")


def test_copies_of_the_target_are_left_out(tmp_path: Path):
    table = discovered(
        tmp_path,
        Status=["closed" if churn else "open" for churn in CHURNED],
        Reason=[RNG.choice(["price", "moved"]) if churn else "" for churn in CHURNED],
    )
    decisions = {d.header: d for d in table.columns}
    for header, evidence in (("Status", "copy of the target"), ("Reason", "filled in only for customers who churned")):
        assert decisions[header].kind is None
        assert evidence in decisions[header].reason
    assert {leak.header for leak in table.leaks if leak.certain} == {"Status", "Reason"}


def test_a_suspected_leak_stays_and_is_named(tmp_path: Path):
    score = [churn + RNG.normal(0, 0.35) for churn in CHURNED]
    table = discovered(tmp_path, Score=score)
    assert [(leak.header, leak.certain) for leak in table.leaks] == [("Score", False)]
    assert next(d for d in table.columns if d.header == "Score").kind == "number"


def test_honest_columns_are_no_leaks(tmp_path: Path):
    assert discovered(tmp_path).leaks == ()


def test_the_survey_counts_all_rows_and_samples_evenly(tmp_path: Path):
    rows = 2 * SAMPLE + 30_000
    path = tmp_path / "long.csv"
    pl.DataFrame({"row": range(rows), "plan": ["a", "b"] * (rows // 2)}).write_csv(path)
    facts = survey([path, path])
    row = facts.columns[0]
    assert facts.rows == row.rows == 2 * rows
    assert (row.low, row.high, row.many_levels) == (0, rows - 1, True)
    assert facts.columns[1].levels == {"a": rows, "b": rows}
    assert len(row.levels) == MAX_LEVELS
    sample = facts.sample.get_column("row").cast(pl.Int64)
    assert sample.to_list() == [*range(0, rows, 4)] * 2


def test_an_existing_config_is_never_overwritten_without_force(tmp_path: Path):
    table = discovered(tmp_path)
    path = write_config(table, [tmp_path / "table.csv"], tmp_path, force=False)
    path.write_text("mine")
    with pytest.raises(SettingsError, match="exists: --force replaces it"):
        write_config(table, [tmp_path / "table.csv"], tmp_path, force=False)
    assert path.read_text() == "mine"
    write_config(table, [tmp_path / "table.csv"], tmp_path, force=True)
    assert load_settings(path).data.raw == ("table.csv",)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_table_without_an_input_is_refused(tmp_path: Path):
    path = tmp_path / "table.csv"
    path.write_bytes(as_csv({"Country": ["DE"] * ROWS, "Churn": customers()["Churn"]}))
    with pytest.raises(ChurnopsError, match="no column can be an input of a model: 'Country' has one value only"):
        discover([path], "Churn")


@pytest.mark.parametrize(
    "header", ["class", "if", "in", "null", "true", "No", "y", "min", "churn_probability", "import"]
)
def test_any_header_gives_a_config_that_loads(tmp_path: Path, header: str):
    cells = RNG.choice(["a", "b", "c"], ROWS)
    path = tmp_path / "table.csv"
    path.write_bytes(as_csv(customers() | {header: cells}))
    settings = load_settings(write_config(discover([path], "Churn"), [path], tmp_path, force=False))
    assert len(settings.table.model_inputs) == (6 if header == "churn_probability" else 7)


def test_a_label_keeps_the_capital_letters_of_the_header(tmp_path: Path):
    path = tmp_path / "table.csv"
    more = {header: RNG.integers(18, 90, ROWS) for header in ("Monatliche Rechnung", "Day calls")}
    path.write_bytes(as_csv(customers() | more))
    settings = load_settings(write_config(discover([path], "Churn"), [path], tmp_path, force=False))
    columns = settings.table.by_name
    assert (columns["monatliche_rechnung"].label, columns["day_calls"].label) == ("Monatliche Rechnung", "")


def test_numbers_that_a_float_cannot_hold_are_no_inputs(tmp_path: Path):
    table = discovered(tmp_path, Big=[2**60 + 7 * n for n in range(ROWS)], Account=[2**61 + n for n in range(ROWS)])
    kinds = {d.header: d.kind for d in table.columns}
    assert kinds["Big"] is None
    assert kinds["customerID"] == "id"


@pytest.mark.parametrize("spelled", [lambda text: f" {text} ", str.upper])
def test_leaks_are_found_whatever_the_spelling_of_the_outcome(tmp_path: Path, spelled: Any):
    churn = [spelled(text) if n % 3 else text for n, text in enumerate(customers()["Churn"])]
    status = [
        spelled("closed") if churned and n % 2 else ("closed" if churned else "open")
        for n, churned in enumerate(CHURNED)
    ]
    assert [leak.header for leak in discovered(tmp_path, Churn=churn, Status=status).leaks] == ["Status"]


def test_leaks_are_found_in_typed_tables(tmp_path: Path):
    path = tmp_path / "table.parquet"
    typed = pl.DataFrame(customers()).with_columns(pl.Series("Churn", CHURNED))
    typed.with_columns(
        pl.Series("Left", CHURNED), pl.Series("Code", [7.0 if c else 3.0 for c in CHURNED])
    ).write_parquet(path)
    assert {leak.header for leak in discover([path], "Churn").leaks if leak.certain} == {"Left", "Code"}


def test_headers_and_levels_that_settings_refuse_are_left_out(tmp_path: Path):
    more = {
        "two\nlines": range(ROWS),
        "x" * 201: range(ROWS),
        "Long": RNG.choice(["a" * 201, "b"], ROWS),
        "y " * 60: CHURNED,
    }
    path = tmp_path / "table.csv"
    path.write_bytes(as_csv(customers() | more))
    table = discover([path], "Churn")
    left = {d.header for d in table.columns if d.kind is None}
    assert left >= {"two\nlines", "x" * 201, "Long"}
    assert load_settings(write_config(table, [path], tmp_path, force=False)).table.model_inputs


@pytest.mark.parametrize("word", ["NA", "-", "none"])
def test_an_outcome_that_is_not_known_refuses_no_table(tmp_path: Path, word: str):
    outcomes = [word if row % 50 == 0 else value for row, value in enumerate(customers()["Churn"])]
    assert discovered(tmp_path, Churn=outcomes).target.unknown == ROWS // 50


def test_infinite_numbers_are_missing(tmp_path: Path):
    cells = np.where(np.arange(ROWS) % 30 == 0, "inf", RNG.normal(size=ROWS).round(3).astype(str))
    cells[1::30] = "#DIV/0!"
    found = discovered(tmp_path, Ratio=cells)
    assert next(d.kind for d in found.columns if d.header == "Ratio") == "number"
    assert set(found.missing) >= {"inf", "#DIV/0!"}


def test_a_header_that_is_repeated_between_rows_is_no_customer(tmp_path: Path):
    lines = as_csv(customers()).splitlines()
    path = tmp_path / "joined.csv"
    path.write_bytes(b"\n".join([*lines[:200], lines[0], *lines[200:]]))
    found = discover([path], "Churn")
    assert found.rows == ROWS
    assert found.missing == discovered(tmp_path).missing
    assert [d.kind for d in found.columns] == [d.kind for d in discovered(tmp_path).columns]


def test_a_column_with_a_date_beyond_all_calendars_is_a_date(tmp_path: Path):
    days = pl.Series([*range(ROWS - 1), 2**31 - 1], dtype=pl.Int32).cast(pl.Date)
    times = pl.Series([*range(ROWS - 1), 2**63 - 1]).cast(pl.Datetime("ms", "UTC"))
    table = pl.DataFrame(customers()).with_columns(days.alias("day"), times.alias("time"))
    table.write_parquet(tmp_path / "table.parquet")
    described = {d.header: d for d in discover([tmp_path / "table.parquet"], "Churn").columns}
    assert [described[name].kind for name in ("day", "time")] == ["date", "date"]


def test_types_that_no_kind_reads_are_left_out(tmp_path: Path):
    table = pl.DataFrame(customers()).with_columns(
        pl.time(10, pl.int_range(pl.len()) % 60).alias("called"),
        pl.duration(hours=pl.int_range(pl.len())).alias("since"),
    )
    table.write_parquet(tmp_path / "table.parquet")
    described = {d.header: d for d in discover([tmp_path / "table.parquet"], "Churn").columns}
    assert [described[name].kind for name in ("called", "since")] == [None, None]


def test_times_of_several_types_are_one_column(tmp_path: Path):
    days = pl.date_range(date(2024, 1, 1), date(2025, 2, 3), eager=True)[:ROWS]
    forms = (days, days.cast(pl.Datetime("ms")), days.cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    for number, signup in enumerate(forms):
        table = pl.DataFrame(customers()).with_columns(signup.alias("signup"))
        table.write_parquet(tmp_path / f"{number}.parquet")
    described = {d.header: d for d in discover(sorted(tmp_path.glob("*.parquet")), "Churn").columns}
    assert described["signup"].kind == "date"


def months(folder: Path, **more: Any) -> Path:
    """Write a table with rows of the same customers in four months."""
    path, quarter = folder / "months.csv", ROWS // 4
    table = customers() | {
        "row_id": [str(n) for n in range(ROWS)],
        "customerID": [f"C-{n % quarter}" for n in range(ROWS)],
        "Month": [f"2025-0{1 + n // quarter}-01" for n in range(ROWS)],
    }
    path.write_bytes(as_csv({**table, **more}))
    return path


def test_with_a_time_an_id_may_repeat_and_later_dates_are_named(tmp_path: Path):
    paid = [f"2025-02-{1 + n % 28:02d}" for n in range(ROWS)]
    path = months(tmp_path, Paid=paid)
    table = discover([path], "Churn", time="Month")
    described = {d.header: d for d in table.columns}
    assert described["Month"].kind == "time"
    assert described["Paid"].kind == "date"
    assert described["customerID"].kind == "id"
    (check,) = [line for line in checks(table) if "Paid" in line]
    assert check.startswith("'Paid' is after 'Month' in ")
    settings = load_settings(write_config(table, [path], tmp_path, force=False))
    assert settings.evaluation.split == "time"
    assert settings.table.time is not None
    assert "month" not in {column.name for column in settings.table.model_inputs}
    without = {d.header: d for d in discover([path], "Churn").columns}
    assert (without["Month"].kind, without["customerID"].kind) == ("date", "category")


def test_a_time_with_gaps_is_read_and_named(tmp_path: Path):
    month = [None if n % 50 == 0 else f"2025-0{1 + n % 3}-01" for n in range(ROWS)]
    table = discover([months(tmp_path, Month=month)], "Churn", time="Month")
    assert any("rows without it are left out (data.max_broken_rows)" in line for line in checks(table))
