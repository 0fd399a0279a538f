"""Step 1: every broken rule is named with file, column, count and rows; nothing is repaired silently."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from churnops.data.read import encode, outcomes, read_table, table_paths
from churnops.data.validate import ValidationError, check_customers, validate_data
from churnops.errors import DataError
from churnops.schema import Column, Kind, Schema
from churnops.settings import Settings
from tests.support.projects import LATER, RAW


def raw() -> pl.DataFrame:
    return pl.read_csv(RAW[1], infer_schema=False).head(60)


def write(folder: Path, frame: pl.DataFrame, name: str = "table.csv") -> Path:
    path = folder / name
    frame.write_parquet(path) if name.endswith(".parquet") else frame.write_csv(path)
    return path


def cell(column: str, value: str | None, row: int = 3) -> Callable[[pl.DataFrame], pl.DataFrame]:
    """Change one cell; `row` counts from 1."""
    at = pl.int_range(1, pl.len() + 1) == row
    return lambda frame: frame.with_columns(pl.when(at).then(pl.lit(value)).otherwise(pl.col(column)).alias(column))


@pytest.mark.parametrize(
    ("change", "column", "rule", "rows"),
    [
        (cell("International plan", "perhaps"), "international_plan ('International plan')", "choices", (3,)),
        (cell("Total day minutes", "many"), "total_day_minutes ('Total day minutes')", "type", (3,)),
        (cell("Total day minutes", "5 5"), "total_day_minutes ('Total day minutes')", "type", (3,)),
        (cell("Total day minutes", "NaN"), "total_day_minutes ('Total day minutes')", "finite", (3,)),
        (cell("Total day minutes", "inf"), "total_day_minutes ('Total day minutes')", "finite", (3,)),
        (cell("Total day minutes", "1e400"), "total_day_minutes ('Total day minutes')", "finite", (3,)),
        (cell("Total day minutes", "-1"), "total_day_minutes ('Total day minutes')", "minimum", (3,)),
        (cell("Total day minutes", "5000"), "total_day_minutes ('Total day minutes')", "maximum", (3,)),
        (cell("Total day calls", "1e300"), "total_day_calls ('Total day calls')", "integer", (3,)),
        (cell("Total day calls", "1.5"), "total_day_calls ('Total day calls')", "integer", (3,)),
        (cell("Account length", None), "account_length ('Account length')", "missing value", (3,)),
        (cell("Churn", None), "churn ('Churn')", "missing label", (3,)),
        (cell("Churn", "maybe"), "churn ('Churn')", "choices", (3,)),
        (lambda frame: frame.drop("Voice mail plan"), "voice_mail_plan ('Voice mail plan')", "missing column", ()),
        (lambda frame: frame.drop("Churn"), "churn ('Churn')", "missing column", ()),
        (lambda frame: frame.filter(pl.col("Churn") == "False"), "churn ('Churn')", "one class", ()),
        (lambda frame: frame.with_columns(customer_id=pl.lit("7")), "customer_id", "duplicate id", (2, 3, 4, 5, 6)),
        (lambda frame: frame.with_columns(customer_id=pl.lit("7" * 129)), "customer_id", "length", (1, 2, 3, 4, 5)),
    ],
)
def test_each_broken_rule_is_named(
    tmp_path: Path,
    settings: Settings,
    change: Callable[[pl.DataFrame], pl.DataFrame],
    column: str | None,
    rule: str,
    rows: tuple[int, ...],
):
    path = write(tmp_path, change(raw()))
    with pytest.raises(ValidationError) as caught:
        validate_data([path], [], settings.table)
    failure = caught.value.failures[0]
    assert (failure.column, failure.rule, failure.rows) == (column, rule, rows)
    report = json.loads(caught.value.artifacts["validation_report.json"])
    assert not report["valid"]
    assert report["failures"][0]["rule"] == rule
    assert str(failure) in caught.value.artifacts["validation_report.txt"]
    assert "\n" not in str(failure)


def test_every_failure_is_reported_at_once_with_its_count(tmp_path: Path, settings: Settings):
    empty = tmp_path / "empty.csv"
    empty.touch()
    broken = raw().with_columns(pl.lit("-5").alias("Total eve minutes"), pl.lit("PERHAPS").alias("Voice mail plan"))
    with pytest.raises(ValidationError) as caught:
        validate_data([write(tmp_path, broken), empty], [], settings.table)
    first, second, third = sorted(caught.value.failures, key=lambda f: f.rule)
    assert (first.rule, first.count, first.rows) == ("choices", 60, (1, 2, 3, 4, 5))
    assert second.rule == "file"
    assert str(third) == (
        "raw/table.csv: column total_eve_minutes ('Total eve minutes'): 60 values below the minimum 0, such as '-5' "
        "(rows 1, 2, 3, 4, 5, …)"
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"State,Churn\n", "no rows"),
        ("a.csv", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00", "not a readable CSV"),
        ("a.csv", b"a\x00b,c\n1,2\n", "binary data"),
        ("a.csv", b"State,b,State\n1,2,3\n", "several columns have the header 'State'"),
        ("a.csv", b"a,b\n1,2,3\n", "row 1 has 3 values, but the header has 2"),
        ("a.csv", b"State,b\n\xff\xfe,2\n", "row 1 is not UTF-8 text in column 'State'"),
        ("a.parquet", b"PAR1 not really", "not a readable Parquet"),
        ("a.csv", b"some,other,table\n1,2,3\n", "required column is missing"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, settings: Settings, name: str, content: bytes, reason: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValidationError, match=reason):
        validate_data([tmp_path / name], [], settings.table)


def test_a_misspelt_header_is_recognised(tmp_path: Path, settings: Settings):
    path = write(tmp_path, raw().rename({"Total day minutes": "Total Day Minute"}))
    with pytest.raises(ValidationError, match="required column is missing; is it 'Total Day Minute'"):
        validate_data([path], [], settings.table)


def test_repeated_rows_without_an_id_are_reported_and_kept(tmp_path: Path, settings: Settings):
    one, two = write(tmp_path, raw()[:40], "a.csv"), write(tmp_path, raw()[34:], "b.csv")
    validated = validate_data([one, two], [], settings.table)
    assert sum(table.height for table in validated.raw.values()) == 66
    assert list(validated.skipped.rows) == ["raw/b.csv"]
    assert validated.skipped.rows["raw/b.csv"].startswith("6 rows equal to an earlier row, which may be the same")


def test_many_repeated_rows_are_refused(tmp_path: Path, settings: Settings):
    path = write(tmp_path, pl.concat([raw()] * 3))
    with pytest.raises(
        ValidationError, match="120 rows equal to an earlier row: keep one row per customer, or add an id"
    ):
        validate_data([path], [], settings.table)
    told_apart = pl.concat([raw()] * 3).with_columns(customer_id=pl.int_range(pl.len()).cast(pl.String))
    assert validate_data([write(tmp_path, told_apart)], [], settings.table).metrics["raw_rows"] == 180


def test_ids_are_compared_across_files(tmp_path: Path, settings: Settings):
    frame = raw().with_columns(customer_id=pl.int_range(pl.len()).cast(pl.String))
    one, two = write(tmp_path, frame[:40], "a.csv"), write(tmp_path, frame[30:], "b.csv")
    with pytest.raises(ValidationError) as caught:
        validate_data([one, two], [], settings.table)
    assert [(f.file, f.rule, f.count) for f in caught.value.failures] == [("raw/b.csv", "duplicate id", 10)]


def test_broken_rows_are_left_out_up_to_the_limit(tmp_path: Path, settings: Settings):
    broken = cell("Total day minutes", "many", 3)(cell("Churn", None, 5)(cell("Voice mail plan", "maybe", 3)(raw())))
    path = write(tmp_path, broken)
    validated = validate_data([path], [], settings.table, max_broken_rows=2 / 60)
    assert next(iter(validated.raw.values())).height == 58
    sentence = validated.skipped.rows["raw/table.csv"]
    assert sentence.startswith("2 of 60 rows left out: column voice_mail_plan ('Voice mail plan'): 1 value not")
    for reason in ("such as 'many' (row 3)", "1 value missing: every row needs an outcome", "(row 5)"):
        assert reason in sentence
    with pytest.raises(ValidationError, match="column total_day_minutes"):
        validate_data([path], [], settings.table, max_broken_rows=1.9 / 60)
    with pytest.raises(ValidationError, match="required column is missing"):
        validate_data([write(tmp_path, raw().drop("Voice mail plan"))], [], settings.table, max_broken_rows=0.5)


def test_too_few_of_one_outcome(settings: Settings):
    with pytest.raises(ValidationError, match="108 rows have the outcome 'True'; at least 1000"):
        validate_data([RAW[1]], [], settings.table, minimum_class=1000)


def test_parquet_csv_and_snake_case_names_give_the_same_table(tmp_path: Path, settings: Settings):
    typed = pl.read_csv(RAW[1])  # numbers, and Churn as Boolean
    assert typed.schema["Churn"] == pl.Boolean
    snake = typed.rename(settings.table.rename(typed.columns))
    paths = [RAW[1], write(tmp_path, typed, "t.parquet"), write(tmp_path, snake, "s.parquet")]
    first, *others = [validate_data([path], [], settings.table).raw[f"raw/{path.name}"] for path in paths]
    assert first.height == 667
    for other in others:
        assert other.equals(first)


def test_a_boolean_is_no_number(tmp_path: Path, settings: Settings):
    broken = raw().with_columns(pl.lit(True).alias("Total day minutes"))
    with pytest.raises(ValidationError) as caught:
        validate_data([write(tmp_path, broken, "t.parquet")], [], settings.table)
    assert [(f.rule, f.count) for f in caught.value.failures] == [("type", 60)]


def test_columns_outside_the_schema_are_ignored_and_reported(tmp_path: Path, settings: Settings):
    path = write(tmp_path, raw().with_columns(note=pl.lit("x")).drop("State", "Total day charge"))
    found = validate_data([path], [], settings.table)
    assert "note" not in found.raw["raw/table.csv"].columns
    assert json.loads(found.artifacts["validation_report.json"])["ignored_columns"] == {"raw/table.csv": ["note"]}
    assert "ignored column 'note'" in found.artifacts["validation_report.txt"]


def test_later_customers_may_lack_an_outcome_or_the_whole_column(tmp_path: Path, settings: Settings):
    folder = tmp_path / "production"
    folder.mkdir()
    write(folder, cell("Churn", None)(raw()), "a.csv")
    write(folder, raw()[:10].drop("Churn"), "b.csv")
    found = validate_data(RAW, [folder], settings.table, minimum_class=10)
    assert {name: t.height for name, t in found.raw.items()} == {"raw/churn-80.csv": 2666, "raw/churn-20.csv": 667}
    known = outcomes(pl.concat(found.production.values(), how="diagonal_relaxed"), settings.table)
    assert int(pl.Series(known).is_nan().sum()) == 11
    with pytest.raises(ValidationError, match="1 value missing"):
        validate_data([folder / "a.csv"], [], settings.table)


def test_later_customers_may_lack_a_few_values_of_a_required_column(tmp_path: Path, settings: Settings):
    few, many = tmp_path / "few", tmp_path / "many"
    for folder, rows in ((few, 5), (many, 6)):
        folder.mkdir()
        write(
            folder,
            raw()
            .with_row_index("n")
            .with_columns(
                pl.when(pl.col("n") < rows).then(None).otherwise(pl.col("Account length")).alias("Account length")
            )
            .drop("n"),
        )
    [sentence] = validate_data(RAW, [few], settings.table).skipped.rows.values()
    assert sentence.startswith("account_length ('Account length'): 5 of 60 rows (8.3%) have an empty cell")
    with pytest.raises(ValidationError, match=r"6 of 60 rows .* or declare the column `nullable: true`"):
        validate_data(RAW, [many], settings.table)


def test_rows_to_score_may_repeat(settings: Settings):
    twice = pl.concat([raw()[:1], raw()[:1]]).drop("Churn")
    assert check_customers(twice, settings.table, "x").height == 2


def test_times_are_parsed_or_refused(tmp_path: Path):
    schema = Schema(
        columns=(
            Column(name="day", kind="time"),
            Column(name="minutes", kind="number", nullable=True),
            Column(name="churn", kind="target", choices=("0", "1")),
        )
    )
    good = pl.DataFrame({"day": ["2026-01-02T03:04:05Z", "2026-01-02"], "minutes": ["1", None], "churn": ["0", "1"]})
    table = validate_data([write(tmp_path, good)], [], schema).raw["raw/table.csv"]
    assert table.schema["day"] == pl.Datetime("us", "UTC")
    assert pl.Series(encode(table, schema)["minutes"]).is_nan().to_list() == [False, True]
    with pytest.raises(ValidationError, match="not an ISO 8601 time, such as 'soon'"):
        validate_data([write(tmp_path, good.with_columns(day=pl.lit("soon")))], [], schema)


@pytest.mark.parametrize("kind", ["date", "time", "number", "category"])
@pytest.mark.parametrize("dtype", [pl.Datetime("ms"), pl.Datetime("us", "UTC"), pl.Datetime("ms", "Europe/Berlin")])
@pytest.mark.parametrize("cell", [2**63 - 1, 1 - 2**63])
def test_a_time_that_no_calendar_has_is_named(tmp_path: Path, kind: Kind, dtype: pl.DataType, cell: int):
    table = pl.DataFrame({"seen": pl.Series([0, 0, cell]).cast(dtype), "churn": [0, 1, 1]})
    assert "column seen: " in broken(tmp_path, table, kind)


@pytest.mark.parametrize("days", [2_932_897, -719_163, 106_751_992, 1 - 2**31])
def test_a_date_that_no_calendar_has_is_named(tmp_path: Path, days: int):
    table = pl.DataFrame({"seen": pl.Series([0, 1, days], dtype=pl.Int32).cast(pl.Date), "churn": [0, 1, 1]})
    message = "raw/t.parquet: column seen: 1 value not a date in the years 1 to 9999, such as '"
    assert broken(tmp_path, table, "date") == f"{message}{days:.6g} days after 1970-01-01' (row 3)"
    lists = table.with_columns(pl.col("seen").reshape((-1, 1)).arr.to_list())
    assert broken(tmp_path, lists, "date").startswith("raw/t.parquet: column seen: 3 values not a date, but of type")


def broken(folder: Path, table: pl.DataFrame, kind: Kind) -> str:
    """Return the message on a table whose column `seen` is of a kind."""
    seen = Column(name="seen", kind=kind, choices=("a", "b") if kind == "category" else ())
    columns = (seen, Column(name="n", kind="number"), Column(name="churn", kind="target", choices=("0", "1")))
    with pytest.raises(ValidationError) as caught:
        validate_data([write(folder, table.with_columns(n=1.5), "t.parquet")], [], Schema(columns=columns))
    return str(caught.value)


def test_folders_and_files_are_found(tmp_path: Path):
    assert [p.name for p in table_paths([RAW[0].parent, LATER])] == ["churn-20.csv", "churn-80.csv", "churn-later.csv"]
    assert len(table_paths([RAW[0], RAW[0]])) == 1
    for source, reason in ((tmp_path, "holds no .csv"), (tmp_path / "x.csv", "does not exist")):
        with pytest.raises(DataError, match=reason):
            table_paths([source])
    (tmp_path / "x.xls").touch()
    with pytest.raises(DataError, match="must end in"):
        table_paths([tmp_path / "x.xls"])


def test_a_byte_order_mark_is_no_part_of_the_first_header(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfState,Churn\nOH,True\n")
    assert read_table(tmp_path / "a.csv").columns == ["State", "Churn"]


def test_raw_and_production_tables_are_reported_together(tmp_path: Path, settings: Settings):
    one = write(tmp_path, cell("Voice mail plan", "perhaps")(raw()), "one.csv")
    two = write(tmp_path, cell("Total day calls", "-3")(raw()), "two.csv")
    with pytest.raises(ValidationError) as caught:
        validate_data([one], [two], settings.table)
    assert [f.file for f in caught.value.failures] == ["raw/one.csv", "production/two.csv"]


def test_an_id_is_not_repeated_in_a_report(tmp_path: Path, settings: Settings):
    path = write(tmp_path, raw().with_columns(customer_id=pl.lit("SECRET" * 30)))
    with pytest.raises(ValidationError) as caught:
        validate_data([path], [], settings.table)
    assert "SECRET" not in str(caught.value) + "".join(caught.value.artifacts.values())


@pytest.mark.parametrize("value", [[1], b"1", {"a": 1}, timedelta(1), date(2026, 1, 1)])
@pytest.mark.parametrize("column", ["Total day minutes", "Voice mail plan", "State", "Churn", "customer_id"])
def test_a_typed_column_of_the_wrong_type_is_named(tmp_path: Path, settings: Settings, value: object, column: str):
    frame = raw().drop(column, strict=False).with_columns(pl.Series(column, [value] * 60))
    with pytest.raises(ValidationError) as caught:
        validate_data([write(tmp_path, frame, "t.parquet")], [], settings.table)
    assert [(f.rule, f.count) for f in caught.value.failures] == [("type", 60)]


def test_a_gap_may_be_nan_in_a_typed_table_and_quotes_in_a_csv(tmp_path: Path):
    minutes = Column(name="minutes", kind="number", nullable=True)
    schema = Schema(columns=(minutes, Column(name="churn", kind="target", choices=("0", "1"))))
    typed = pl.DataFrame({"minutes": [1.0, float("nan"), None], "churn": [0, 0, 1]})
    (tmp_path / "t.csv").write_text('minutes,churn\n1.0,0\n"",0\n,1\n')
    validated = validate_data([write(tmp_path, typed, "t.parquet")], [tmp_path / "t.csv"], schema)
    for (table,) in (validated.raw.values(), validated.production.values()):
        assert table["minutes"].to_list() == [1.0, None, None]


def test_a_damaged_parquet_file_is_refused(tmp_path: Path, settings: Settings, rng: np.random.Generator):
    good = write(tmp_path, pl.read_csv(RAW[1]), "t.parquet").read_bytes()
    for position in rng.integers(0, len(good), size=60):
        data = bytearray(good)
        data[position] ^= 1 << int(rng.integers(0, 8))
        (tmp_path / "t.parquet").write_bytes(data)
        with suppress(ValidationError):  # a flipped bit may also give another valid number
            validate_data([tmp_path / "t.parquet"], [], settings.table)


@pytest.mark.parametrize("given", ["yes", " YES ", "true", "TRUE", "1", "1.0"])
def test_another_spelling_of_a_choice_is_that_choice(tmp_path: Path, settings: Settings, given: str):
    path = write(tmp_path, raw().with_columns(pl.lit(given).alias("International plan")))
    table = next(iter(validate_data([path], [], settings.table).raw.values()))
    assert table.get_column("international_plan").unique().to_list() == ["Yes"]


@pytest.mark.parametrize(("given", "area"), [("408.0", "408"), (" 415", "415")])
def test_a_numeric_choice_may_be_written_as_a_float(tmp_path: Path, settings: Settings, given: str, area: str):
    path = write(tmp_path, raw().with_columns(pl.lit(given).alias("Area code")))
    table = next(iter(validate_data([path], [], settings.table).raw.values()))
    assert table.get_column("area_code").unique().to_list() == [area]


def test_codes_that_begin_with_0_keep_their_zeros(tmp_path: Path, settings: Settings):
    path = write(tmp_path, raw().with_columns(pl.lit("0408").alias("Area code")))
    table = next(iter(validate_data([path], [], settings.table).raw.values()))
    assert set(encode(table, settings.table)["area_code"]) == {settings.table.by_name["area_code"].other}
