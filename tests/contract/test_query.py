"""Customer tables that are the result of a query on PostgreSQL."""

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path

import polars as pl
import psycopg
import pytest

import churnops
from churnops.data.batches import headers_of, open_batches, read_batches
from churnops.data.merge import merge
from churnops.data.read import read_table, table_paths
from churnops.data.validate import ValidationError, validate_data
from churnops.errors import DataError
from churnops.schema import Column, Schema
from churnops.scoring.customers import as_table
from churnops.settings import load_settings
from tests.support.postgres import Cluster

pytestmark = pytest.mark.needs("postgresql")
SCHEMA = Schema(
    columns=(
        Column(name="customer", kind="id"),
        Column(name="since", kind="time"),
        Column(name="signup", kind="date", nullable=True),
        Column(name="tenure", kind="integer"),
        Column(name="spend", alias="Spend (€)", kind="number", nullable=True),
        Column(name="usage", kind="number"),
        Column(name="plan", kind="category", choices=("basic", "gold")),
        Column(name="autopay", kind="flag", choices=("no", "yes")),
        Column(name="churned", kind="target", choices=("no", "yes")),
    )
)
TABLE = """
CREATE TYPE tariff AS ENUM ('basic', 'gold');
CREATE TABLE customers (
    customer uuid, since timestamptz, signup date, tenure smallint, "Spend (€)" numeric(10, 2), usage real,
    plan tariff, autopay boolean, churned char(5), notes jsonb, password bytea);
"""
IDS = [f"00000000-0000-4000-8000-{n:012d}" for n in range(40)]
VALUES = {
    "customer": IDS,
    "since": [datetime(2026, 3, 1, n % 24, 30, 0, 250_000, UTC) for n in range(40)],
    "signup": [None if n % 7 == 0 else date(2020, 1, 1 + n % 28) for n in range(40)],
    "tenure": [n % 36 for n in range(40)],
    "Spend (€)": [None if n % 5 == 0 else Decimal(n * 1_234_57).scaleb(-2) for n in range(40)],
    "usage": [n / 10 for n in range(40)],
    "plan": ["gold" if n % 3 else "basic" for n in range(40)],
    "autopay": [n % 2 == 0 for n in range(40)],
    "churned": ["yes" if n % 4 == 0 else "no" for n in range(40)],
}
Query = Callable[[str], Path]


@pytest.fixture(scope="module")
def address(cluster: Cluster) -> Iterator[str]:
    """A database with the table `customers`."""
    server = cluster.url.replace("+psycopg", "")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("CREATE DATABASE crm ENCODING 'UTF8' TEMPLATE template0")
        url = server.rpartition("/")[0] + "/crm"
        with psycopg.connect(url) as own:
            own.execute(TABLE)
            rows = list(zip(*VALUES.values(), strict=True))
            marks = ", ".join(["%s"] * len(VALUES))
            own.cursor().executemany(f"INSERT INTO customers VALUES ({marks}, '{{}}', '\\x00ff')", rows)
        yield url
        connection.execute("DROP DATABASE crm")


@pytest.fixture
def query(address: str, tmp_path: Path) -> Query:
    """Write a query to a file that names the database."""

    def written(text: str) -> Path:
        path = tmp_path / "customers.sql"
        path.write_text(f"-- {address}\n{text}\n", encoding="utf-8")
        return path

    return written


def sha256(path: Path) -> str:
    return merge(validate_data([path], [], SCHEMA).raw, SCHEMA).sha256


def refused(path: Path, schema: Schema | None = SCHEMA) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path, schema)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(str(path))


def test_same_rows_have_the_hash_of_a_parquet_file(query: Query, tmp_path: Path) -> None:
    types = {"since": pl.Datetime("us", "UTC"), "Spend (€)": pl.Decimal(10, 2), "tenure": pl.Int16, "usage": pl.Float32}
    pl.DataFrame(VALUES, schema_overrides=types).write_parquet(tmp_path / "customers.parquet")
    assert sha256(query("SELECT * FROM customers ORDER BY random();")) == sha256(tmp_path / "customers.parquet")


def test_columns_outside_the_schema_do_not_leave_the_server(query: Query) -> None:
    path = query("SELECT *, 1 AS n, 2 AS n FROM customers")
    table = read_table(path, SCHEMA)
    assert table.columns == [*VALUES, "notes", "password", "n"]
    assert table.get_column("notes").dtype == table.get_column("password").dtype == pl.Null
    assert headers_of(path)[-3:] == ["password", "n", "n"]


def test_every_type_is_readable_without_a_schema(query: Query) -> None:
    path = query(
        "SELECT 12.50 AS a, 'NaN'::numeric AS b, 'x'::char(3) AS c, '[1]'::jsonb AS d, ARRAY[1, 2] AS e, "
        "interval '1 day' AS f, time '03:04' AS g, '1.50'::money AS h, inet '10.0.0.1' AS i, 'é''\"' AS \"j\"\"k\""
    )
    numbers, others = ("12.50", "NaN", "x", "[1]", "{1,2}"), ("1 day", "03:04:00", "$1.50", "10.0.0.1/32", "é'\"")
    assert read_table(path).row(0) == numbers + others


def test_numbers_are_numbers_also_with_decimal_commas_elsewhere(query: Query) -> None:
    german = SCHEMA.model_copy(update={"decimal": ",", "thousands": "."})
    path = query("SELECT customer, 1234.5 AS \"Spend (€)\", 'NaN'::numeric AS usage FROM customers")
    assert read_table(path, german).row(0) == (IDS[0], 1234.5, pytest.approx(float("nan"), nan_ok=True))


def test_rules_of_the_schema_apply(query: Query) -> None:
    with pytest.raises(ValidationError) as caught:
        validate_data([query("SELECT * FROM (TABLE customers) c, LATERAL (SELECT 1.5 AS tenure) x")], [], SCHEMA)
    assert "several columns have the header 'tenure'" in str(caught.value)
    path = query(
        'SELECT customer, since, signup, 1.5 AS tenure, "Spend (€)", usage, plan, autopay, churned FROM customers'
    )
    with pytest.raises(ValidationError) as caught:
        validate_data([path], [], SCHEMA)
    assert [(f.column, f.rule) for f in caught.value.failures] == [("tenure", "integer")]


def test_a_large_result_is_streamed(query: Query) -> None:
    batches = read_batches(query("SELECT n AS tenure, repeat('x', 200) AS t FROM generate_series(1, 100000) n"))
    assert [(batch.table.height, batch.first_row) for batch in islice(batches, 2)] == [(25_000, 0), (25_000, 25_000)]
    batches.close()  # type: ignore[attr-defined]
    skipped = open_batches(query("SELECT generate_series(1, 30000) AS tenure"), rows=20_000)
    assert [batch.height for batch in skipped] == [20_000, 10_000]


def test_a_query_cannot_write(query: Query, address: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        erase = "CREATE FUNCTION erase() RETURNS int LANGUAGE sql AS 'DELETE FROM customers; SELECT 1'"
        connection.execute(erase)
        assert refused(query("SELECT erase() AS tenure")) == ": cannot execute DELETE in a read-only transaction"
        assert "multiple commands" in refused(query("SELECT 1; DROP TABLE customers"))
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (40,)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT * FROM clients", ': relation "clients" does not exist'),
        ("SELECT 1 / (tenure - 3) AS usage FROM customers", ": division by zero"),
        ("SELECT * FROM customers WHERE false", " returns no rows"),
        (
            "SELECT date 'infinity' AS signup",
            ": column 'signup' has a date that is infinite or outside the years 1 to ",
        ),
        ("SELECT timestamptz '-infinity' AS since", ": column 'since' has a date that is infinite"),
        ("SELECT 1 AS usage, 2 AS usage", ": several columns have the header 'usage': rename all but one"),
        ("", ': syntax error at or near ")"'),
    ],
)
def test_errors_name_the_file_and_the_reason(query: Query, text: str, reason: str) -> None:
    assert refused(query(text)).startswith(reason)


def test_passwords_are_neither_accepted_nor_shown(tmp_path: Path, address: str) -> None:
    path = tmp_path / "customers.sql"
    for secret in (address.replace("churnops@", "churnops:geheim@"), f"{address}?password=geheim"):
        path.write_text(f"-- {secret}\nSELECT 1 AS tenure")
        assert refused(path) == ": the address has a password: remove it, and set PGPASSWORD or write ~/.pgpass"
    path.write_text(f"-- {address.rpartition('/')[0]}/none\nSELECT 1 AS tenure")
    assert refused(path) == ': database "none" does not exist'
    path.write_text("-- postgresql://reader@127.0.0.1:1/crm\nSELECT 1 AS tenure")
    assert refused(path).startswith(": Failed to connect: connection to server at")


def test_a_missing_driver_is_named(query: Query, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "adbc_driver_postgresql", None)
    assert refused(query("SELECT 1 AS tenure")).endswith("is not installed: pip install 'churnops[database]'")


def test_a_folder_does_not_run_the_queries_in_it(query: Query) -> None:
    path = query("SELECT 1")
    with pytest.raises(DataError, match=r"holds no \.csv, \.parquet or \.xlsx file"):
        table_paths([path.parent])
    assert table_paths([path]) == [path]


def test_init_reads_a_query(address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Libpq's variables name the database, and give the password."""
    host, _, port = address.split("@")[1].partition("/")[0].partition(":")
    variables = {"PGHOST": host, "PGPORT": port, "PGUSER": "churnops", "PGPASSWORD": "geheim", "PGDATABASE": "crm"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "customers.sql").write_text("SELECT * FROM customers")
    churnops.init(tmp_path / "customers.sql", "churned", folder=tmp_path)
    settings = load_settings(tmp_path / "config.yaml", {})
    assert [settings.table.by_name[name].kind for name in ("spend", "signup", "autopay")] == ["number", "date", "flag"]
    assert settings.data.raw == ("customers.sql",)
    assert as_table(str(tmp_path / "customers.sql"), settings.table).height == 40
    assert merge(validate_data([tmp_path / "customers.sql"], [], settings.table).raw, settings.table).table.height == 40
