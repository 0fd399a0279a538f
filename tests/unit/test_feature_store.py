"""A Feast repository of a project, and training rows that Feast wrote."""

import ast
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from churnops.cli.config import _check_tables
from churnops.data.read import decode, encode
from churnops.errors import ChurnopsError
from churnops.feature_store.export import export
from churnops.features import FeatureMatrix, all_features
from churnops.settings import Settings
from tests.support.mixed_table import SCHEMA, customers

DERIVED = [
    {"name": "spend_by_age", "expression": "spend / age", "description": "Spend, by the customer's age"},
    {"name": "gold", "expression": "plan == 'gold' and spend_by_age > 1"},
]


def project(folder: Path, *, rows: int = 60, **change: object) -> Settings:
    """Return a project with two rows of each customer, a month apart; `change` are values of its columns by name."""
    document = SCHEMA.model_dump(mode="json")
    for column in document["columns"]:
        column.update(change.get(column["name"], {}))
    more = [{"name": "who", "kind": "id"}, {"name": "month", "kind": "time"}]
    columns, outcome = customers(rows)
    who = pl.Series("who", [f"C-{row // 2}" for row in range(rows)])
    month = pl.Series("month", ["2024-03-01", "2024-04-01T10:30:00.123456Z"] * (rows // 2))
    decode(columns, outcome.astype(float), SCHEMA).with_columns(who, month).write_parquet(folder / "raw.parquet")
    sections = {"data": {"raw": ["raw.parquet"]}, "features": {"derived": DERIVED}, "evaluation": {"split": "time"}}
    return Settings.parse(sections | {"schema": document | {"columns": [*document["columns"], *more]}}, folder)


def test_the_repository_has_the_columns_and_derived_columns(tmp_path: Path):
    settings = project(tmp_path)
    exported = export(settings, tmp_path / "feast")
    assert (exported.rows, exported.customers, exported.derived) == (60, 30, ("spend_by_age", "gold"))

    table = pl.read_parquet(tmp_path / "feast/customers.parquet")
    raw = pl.read_parquet(tmp_path / "raw.parquet")
    assert table.select(exported.columns).equals(raw.select(exported.columns))
    assert table["event_timestamp"][:2].to_list() == [
        datetime(2024, 3, 1, tzinfo=UTC),
        datetime(2024, 4, 1, 10, 30, 0, 123456, tzinfo=UTC),
    ]
    complete = table.drop_nulls()
    features = all_features(settings.table, settings.features, one_hot=False)
    matrix = FeatureMatrix(settings.table.model_inputs, features, exported.derived)(encode(complete, settings.table))
    assert matrix.tolist() == [list(row) for row in complete.select(exported.derived).rows()]
    gaps = table.filter(pl.col("age").is_null() | pl.col("plan").is_null())
    assert gaps.height > 0
    assert gaps["gold"].null_count() == gaps.height

    outcomes = pl.read_parquet(tmp_path / "feast/outcomes.parquet")
    assert outcomes.rows() == list(zip(raw["who"], table["event_timestamp"], raw["churn"], strict=True))


def test_the_scripts_of_the_repository_are_python_with_its_names(tmp_path: Path):
    export(project(tmp_path, age={"description": "Age, \"whole\" 'years'\nof {the} customer"}), tmp_path / "feast")
    texts = {name: (tmp_path / "feast" / name).read_text() for name in ("definitions.py", "training_rows.py")}
    calls = [node for node in ast.walk(ast.parse(texts["definitions.py"])) if isinstance(node, ast.Call)]
    fields = [
        {k.arg: ast.unparse(k.value) for k in call.keywords} for call in calls if ast.unparse(call.func) == "Field"
    ]
    names = [ast.literal_eval(field["name"]) for field in fields]
    assert names == ["age", "spend", "plan", "city", "online", "spend_by_age", "gold"]
    assert [field["dtype"] for field in fields][:3] == ["Int64", "Float64", "String"]
    assert ast.literal_eval(fields[0]["description"]) == "Age, \"whole\" 'years'\nof {the} customer"
    assert '"event_timestamp": "month"' in ast.unparse(ast.parse(texts["training_rows.py"])).replace("'", '"')


def test_personal_columns_are_in_no_file_of_the_repository(tmp_path: Path):
    exported = export(project(tmp_path, age={"personal": True}), tmp_path / "feast")
    assert exported.personal == ("age",)
    assert exported.derived == ()
    assert pl.read_parquet(tmp_path / "feast/customers.parquet").columns == [
        *("who", "event_timestamp", "spend", "plan", "city", "online")
    ]


def test_files_are_replaced_only_with_force(tmp_path: Path):
    settings = project(tmp_path)
    (tmp_path / "feast").mkdir()
    (tmp_path / "feast/definitions.py").write_text("mine")
    with pytest.raises(ChurnopsError, match=r"definitions\.py exists: name another folder, or give --force"):
        export(settings, tmp_path / "feast")
    assert [path.name for path in (tmp_path / "feast").iterdir()] == ["definitions.py"]
    export(settings, tmp_path / "feast", force=True)
    assert "FeatureView" in (tmp_path / "feast/definitions.py").read_text()


@pytest.mark.parametrize("ids", [None, "gaps"])
def test_a_row_without_an_id_cannot_be_exported(tmp_path: Path, ids: str | None):
    settings = project(tmp_path, rows=40)
    table = pl.read_parquet(tmp_path / "raw.parquet")
    nullable = settings.model_dump(mode="json", by_alias=True)
    for column in nullable["schema"]["columns"]:
        if column["name"] == "who":
            column |= {"required": False, "nullable": True}
    gaps = pl.when(pl.int_range(pl.len()) < 3).then(None).otherwise("who").alias("who")
    (table.with_columns(gaps) if ids else table.drop("who")).write_parquet(tmp_path / "raw.parquet")
    with pytest.raises(ChurnopsError, match=f"{3 if ids else 40} of 40 rows have no value in who"):
        export(Settings.parse(nullable, tmp_path), tmp_path / "feast")
    assert not (tmp_path / "feast").exists()


def test_training_rows_come_from_the_file_that_feast_wrote(tmp_path: Path):
    settings = project(tmp_path)
    document = settings.model_dump(mode="json", by_alias=True)
    document["features"] |= {"source": "feast", "feast_rows": "feast/training_rows.parquet"}
    document["data"] |= {"raw": ["gone.parquet"], "production": []}
    settings = Settings.parse(document, tmp_path)
    with pytest.raises(ChurnopsError, match=r"training_rows\.parquet does not exist: run training_rows\.py"):
        _check_tables(settings)
    (tmp_path / "feast").mkdir()
    (tmp_path / "raw.parquet").rename(tmp_path / "feast/training_rows.parquet")
    assert _check_tables(settings)[0] == {"raw/training_rows.parquet": 60}


def test_integers_that_pandas_made_floats_are_read_as_they_were(tmp_path: Path):
    settings = project(tmp_path)
    before = pl.read_parquet(tmp_path / "raw.parquet")
    assert before["age"].null_count() > 0
    before.with_columns(pl.col("age").cast(pl.Float64)).write_parquet(tmp_path / "raw.parquet")
    export(settings, tmp_path / "feast")
    after = pl.read_parquet(tmp_path / "feast/customers.parquet")
    assert after["age"].equals(before["age"])
    assert np.isnan(encode(after, settings.table)["age"]).sum() == before["age"].null_count()


def test_rows_of_feast_need_a_column_of_ids(tmp_path: Path):
    document = project(tmp_path).model_dump(mode="json", by_alias=True)
    document["features"]["source"] = "feast"
    document["schema"]["columns"] = [column for column in document["schema"]["columns"] if column["kind"] != "id"]
    with pytest.raises(ChurnopsError, match="feast needs a column of kind `id`"):
        Settings.parse(document, tmp_path)
