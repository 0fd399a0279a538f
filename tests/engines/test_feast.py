"""Rows that Feast joins and serves have the same bits as ours. FEAST_ROWS=200000 makes the table of the full test."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import polars as pl
import pytest
from benchmarks.environments import cache, environment_of

from churnops.api.customers import CustomerForm
from churnops.data.read import decode, encode
from churnops.data.validate import validate_data
from churnops.feature_store.export import export
from churnops.feature_store.online import FeastRows
from churnops.schema import Columns
from churnops.settings import Settings
from tests.support.mixed_table import SCHEMA, customers
from tests.support.processes import PATIENCE, free_port, wait_for

ROWS = int(os.environ.get("FEAST_ROWS", 2000))
MORE = [
    {"name": "signup", "kind": "date", "nullable": True},
    {"name": "calls", "kind": "integer"},
    {"name": "minutes", "kind": "number"},
    {"name": "tier", "kind": "category", "choices": ["1", "2"], "open": False},
    {"name": "customer_id", "kind": "id"},
    {"name": "month", "kind": "time"},
]
DERIVED = [
    {"name": "rate", "expression": "minutes / calls"},
    {"name": "gold", "expression": "plan == 'gold' and rate > 1"},
]
# Feast itself, asked for the derived columns, which the service of the repository does not have.
DERIVED_ROWS = """
import pandas as pd
from feast import FeatureStore

store = FeatureStore(repo_path=".")
features = ["customer_derived:rate", "customer_derived:gold"]
job = store.get_historical_features(entity_df=pd.read_parquet("outcomes.parquet"), features=features)
job.to_df().to_parquet("derived.parquet")
"""


@pytest.fixture
def programs() -> Path:
    """The folder of Feast's programs."""
    return Path(environment_of(Path(__file__).with_name("feast.txt"), cache("CHURNOPS_FEAST", "feast"), "Feast")).parent


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A project of customers with a row in March and one in April, which reads its training rows from Feast."""
    folder, rng = tmp_path, np.random.default_rng(3)
    columns, outcome = customers(ROWS)
    more = pl.DataFrame(
        {
            "signup": pl.Series(np.arange(ROWS) % 900 + 18_000, dtype=pl.Int32).cast(pl.Date),
            "calls": rng.integers(0, 9, ROWS),
            "minutes": rng.normal(0.0, 1e3, ROWS) ** 3,
            "tier": np.where(rng.random(ROWS) < 0.5, "1", "2"),
            "customer_id": [f"C-{row // 2}" for row in range(ROWS)],
            "month": ["2024-03-01", "2024-04-01T10:30:00.123456Z"] * (ROWS // 2),
        }
    )
    decode(columns, outcome.astype(float), SCHEMA).hstack(more).write_parquet(folder / "raw.parquet")
    document = {
        "schema": {"columns": [*SCHEMA.model_dump(mode="json")["columns"], *MORE]},
        "data": {"raw": ["raw.parquet"], "production": []},
        "features": {"derived": DERIVED, "source": "feast"},
        "evaluation": {"split": "time"},
    }
    return Settings.parse(document, folder)


@pytest.fixture
def repository(settings: Settings, programs: Path) -> Path:
    """The exported repository after `feast apply`, with outcomes up to 40 days after the rows."""
    folder = settings.root / "feast"
    export(settings, folder)
    days = pl.Series(np.random.default_rng(4).integers(0, 40 * 86_400, ROWS)) * 1_000_000
    outcomes = pl.read_parquet(folder / "outcomes.parquet")
    later = outcomes.with_columns(pl.col("event_timestamp") + days.cast(pl.Duration("us")))
    later.write_parquet(folder / "outcomes.parquet")
    feast(programs / "feast", "apply", folder=folder)
    return folder


def feast(*command: str | Path, folder: Path) -> str:
    """Run a program of Feast's environment."""
    done = subprocess.run(command, cwd=folder, env=variables(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def variables() -> dict[str, str]:
    """Return the environment without our packages."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def same(columns: Columns, expected: Columns) -> bool:
    """Whether encoded columns have the same bits; missing values are equal."""
    assert columns.keys() == expected.keys()
    return all(np.array_equal(columns[name], expected[name], equal_nan=True) for name in expected)


def test_rows_of_feast_have_our_bits(settings: Settings, repository: Path, programs: Path):
    check_training_rows(settings, repository, programs)
    check_online_rows(settings, repository, programs)


def check_training_rows(settings: Settings, repository: Path, programs: Path) -> None:
    """Compare the rows that Feast joined with a join of our own."""
    assert f"{ROWS} rows" in feast(programs / "python", "training_rows.py", folder=repository)
    paths = [settings.path(table) for table in settings.training_tables]
    [table] = validate_data(paths, [], settings.table, by_time=True).raw.values()
    assert (len(settings.table.inputs), table.height) == (9, ROWS)

    keys = ["customer_id", "event_timestamp"]
    rows = pl.read_parquet(repository / "customers.parquet").sort(keys[1])
    outcomes = pl.read_parquet(repository / "outcomes.parquet").sort(keys[1])
    joined = outcomes.join_asof(rows, on=keys[1], by=keys[0], check_sortedness=False).sort(keys)
    assert joined["event_timestamp"].n_unique() > ROWS // 2
    table = table.sort("customer_id", "month")
    assert table["month"].equals(joined["event_timestamp"].alias("month"))
    assert table["churn"].equals(joined["churn"])
    assert same(encode(table, settings.table), encode(joined, settings.table))

    feast(programs / "python", "-c", DERIVED_ROWS, folder=repository)
    derived = pl.read_parquet(repository / "derived.parquet").sort(keys)
    assert derived.select("rate", "gold").equals(joined.select("rate", "gold"))


@contextmanager
def served(repository: Path, programs: Path) -> Iterator[str]:
    """Serve the newest rows, and yield the address."""
    feast(programs / "feast", "materialize", "1970-01-01T00:00:00", "2026-01-01T00:00:00", folder=repository)
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [programs / "feast", "serve", "--port", str(port), "--no-access-log"]
    with (repository / "serve.log").open("w") as log:
        server = subprocess.Popen(command, cwd=repository, env=variables(), stdout=log, stderr=log)
    try:
        wait_for("Feast's server", lambda: is_ready(url), 2 * PATIENCE)
        yield url
    finally:
        server.terminate()
        server.wait()


def is_ready(url: str) -> bool:
    try:
        with urlopen(f"{url}/health", timeout=PATIENCE) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def asked(url: str, question: dict[str, Any]) -> dict[str, list[Any]]:
    """Return features of many customers by name."""
    request = Request(f"{url}/get-online-features", json.dumps(question).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=PATIENCE) as reply:
        answer = json.load(reply)
    names = answer["metadata"]["feature_names"]
    return {name: result["values"] for name, result in zip(names, answer["results"], strict=True)}


def check_online_rows(settings: Settings, repository: Path, programs: Path) -> None:
    """Compare the rows that Feast serves with the newest exported ones."""
    schema, form = settings.table, CustomerForm(settings.table)
    april = pl.read_parquet(repository / "customers.parquet")[1::2]
    ids, names = april["customer_id"].to_list(), [column.name for column in schema.inputs]
    with served(repository, programs) as url:
        stored = FeastRows(url, "customer_id").rows([*ids, "nobody"])
        parts = []
        for start in range(0, len(ids), 1000):
            entities = {"customer_id": ids[start : start + 1000]}
            columns = asked(url, {"feature_service": "churnops", "entities": entities})
            derived = ["customer_derived:rate", "customer_derived:gold"]
            parts.append(columns | asked(url, {"features": derived, "entities": entities}))
    assert list(stored) == ids
    assert [row.at for row in stored.values()] == april["event_timestamp"].dt.truncate("1s").to_list()
    ours = [form.read({"customer_id": who, **row.record}) for who, row in stored.items()]
    assert same(form.encode(ours), encode(april, schema))
    online = pl.concat(pl.DataFrame(part, schema=april.schema, strict=False) for part in parts_of(parts, april.columns))
    assert online.select(*names, "rate", "gold").equals(april.select(*names, "rate", "gold"))


def parts_of(parts: list[dict[str, list[Any]]], names: list[str]) -> Iterator[dict[str, list[Any]]]:
    """Yield answers with the columns of the exported file; the time is not asked for."""
    for part in parts:
        yield {name: part.get(name, [None] * len(part["customer_id"])) for name in names}
