"""A Spark table is scored by MLflow's `spark_udf`, with the same bits as by a Bundle."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from benchmarks.environments import cache, environment_of

from churnops.data.read import decode, encode, read_table
from churnops.data.validate import check_customers
from churnops.model import Bundle
from churnops.pipelines.run_all import run_all
from churnops.settings import Settings, load_settings
from tests.support.mixed_table import SCHEMA, customers
from tests.support.projects import REPOSITORY, write_project, write_store

pytestmark = pytest.mark.needs("java")
JOB = """
import sys
from pathlib import Path

import mlflow
from pyspark.sql import SparkSession

snippet, store, source, target = sys.argv[1:]
loopback = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1", "spark.ui.enabled": "false"}
small = {"spark.sql.execution.arrow.maxRecordsPerBatch": "70", "spark.sql.shuffle.partitions": "3"}
session = SparkSession.builder.master("local[2]").config(map=loopback | small).getOrCreate()
mlflow.set_tracking_uri(store)
names = {"spark": session, "customers": session.read.parquet(source).repartition(3)}
exec(compile(Path(snippet).read_text(encoding="utf-8"), snippet, "exec"), names)
names["scored"].write.parquet(target)
session.stop()
"""


def mixed(rows: int, seed: int) -> pl.DataFrame:
    """Return customers with gaps and dates."""
    columns, outcome = customers(rows, seed)
    days = pl.Series("signup", np.arange(rows) % 900 + 18_000, dtype=pl.Int32).cast(pl.Date)
    return decode(columns, outcome.astype(float), SCHEMA).with_columns(days)


@pytest.fixture
def trained(tmp_path: Path) -> Settings:
    """A project of such customers, with a model in MLflow's registry."""
    signup = {"name": "signup", "kind": "date", "nullable": True}

    def change(document: dict[str, object]) -> None:
        table = SCHEMA.model_dump(mode="json")
        document["schema"] = {"columns": [*table["columns"], signup]}
        document["features"] = {"derived": []}
        document["data"] = {"raw": ["raw.parquet"], "production": []}
        document["training"] = {"families": ["logistic_regression"], "trials": {"logistic_regression": 1}, "folds": 3}
        document["evaluation"] = {"bootstrap_replicates": 100}

    settings = load_settings(write_project(tmp_path / "project", change))
    write_store(settings.root)
    mixed(600, seed=0).write_parquet(settings.path("raw.parquet"))
    run_all(settings)
    return settings


def in_spark(settings: Settings, source: Path, target: Path) -> pl.DataFrame:
    """Run the documented lines in Spark, in a process of its own."""
    python = Path(environment_of(Path(__file__).with_name("spark.txt"), cache("CHURNOPS_SPARK", "spark"), "Spark"))
    spark = next(python.parents[1].glob("lib/python*/site-packages"))
    section = (REPOSITORY / "docs/scaling.md").read_text(encoding="utf-8").partition("## Spark")[2]
    lines = re.search(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert lines is not None
    snippet = target.with_suffix(".py")
    snippet.write_text(lines[1], encoding="utf-8")
    store = settings.database_url(settings.tracking.uri)
    paths = os.pathsep.join([str(spark), os.environ.get("PYTHONPATH", "")])
    variables = {"PYTHONPATH": paths, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", JOB, snippet, store, source, target],
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return pl.read_parquet(target / "*.parquet")


def test_spark_scores_a_table_with_the_same_bits(trained: Settings, tmp_path: Path) -> None:
    """With nulls, a level that the model lacks, and types that Spark tables have."""
    table = mixed(500, seed=1).with_row_index("row").drop("churn")
    table = table.with_columns(
        pl.col("age").cast(pl.Int32),
        pl.col("spend").cast(pl.Decimal(18, 6)),
        pl.col("online") == "Yes",
        pl.when(pl.col("row") == 7).then(pl.lit("platinum")).otherwise("plan").alias("plan"),
        pl.lit([1, 2]).alias("notes"),
    )
    table.write_parquet(tmp_path / "customers.parquet")
    scored = in_spark(trained, tmp_path / "customers.parquet", tmp_path / "scored").sort("row")

    bundle = Bundle.load(trained.path("models/production").resolve())
    rows = check_customers(read_table(tmp_path / "customers.parquet", bundle.schema), bundle.schema, "customers")
    expected = bundle.predict(encode(rows, bundle.schema))
    assert scored.get_column("row").to_list() == list(range(500))
    assert scored.get_column("churn_probability").to_list() == expected.probability.tolist()
    assert scored.get_column("churn_prediction").to_list() == expected.churn.tolist()
    assert set(scored.get_column("model_version")) == {bundle.version_name}
    assert scored.columns == [*table.columns, "churn_probability", "churn_prediction", "model_version"]
