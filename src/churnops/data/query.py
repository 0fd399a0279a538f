"""Read the result of a query on PostgreSQL, streamed as Arrow batches in a read-only transaction.

A `.sql` file holds one query. Its first line may name the database in a comment, without a password; everything else
about the connection comes from libpq's variables and files, as for psql.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from churnops.data.parquet_columns import Others, wanted_columns
from churnops.data.text_columns import with_valid_text
from churnops.errors import DataError, first_line
from churnops.limits import MAX_COLUMNS, MAX_CONFIG_BYTES, MAX_ROW_BYTES
from churnops.schema import Schema

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Cursor

QUERY = ".sql"
"""Ending of a file with a query."""
PLAIN = {"int2", "int4", "int8", "float4", "float8", "bool", "text", "varchar", "date", "timestamp", "timestamptz"}
"""Types that are read as they are. The server writes values of other types as text."""
SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
SECRETS = ("password", "sslpassword")


def headers_of_query(path: Path) -> list[str]:
    """Return the names of the result's columns; no row is read.

    Raises
    ------
    DataError
        As in `read_query`.
    """
    with _connected(path) as (cursor, query):
        return list(cursor.adbc_execute_schema(query).names)


def read_query(path: Path, schema: Schema | None, others: Others) -> Iterator[tuple["pa.RecordBatch", int, float]]:
    """Yield the query's rows in pieces of about 1 MiB, each with the number of rows before it; the share is not known.

    The values get the types that a Parquet file has. Only the columns that are read leave the server; those that
    `others` excludes are null. See `churnops.data.batches.open_batches` for the parameters.

    Raises
    ------
    DataError
        If the address has a password, the database does not answer, it refuses the query, a date is infinite, or a
        header of `schema` is repeated.
    """
    import pyarrow as pa

    with _connected(path) as (cursor, query):
        declared = cursor.adbc_execute_schema(query)
        if len(declared) > MAX_COLUMNS:
            raise DataError(f"{path} has {len(declared)} columns: at most {MAX_COLUMNS} are read")
        wanted = wanted_columns(declared.names, path, schema, others)
        read = [field for field, is_wanted in zip(declared, wanted, strict=True) if is_wanted]
        names = [field.name for field in read]
        unread = [name for name in dict.fromkeys(declared.names) if name not in names] if others == "names" else []
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(MAX_ROW_BYTES)})
        cursor.execute(_projection(query, read, schema))
        above = 0
        for batch in cursor.fetch_record_batch():
            columns = zip(batch.columns[: len(names)], names, strict=True)
            arrays = [_checked(column, name, path, above) for column, name in columns]
            arrays += [pa.nulls(batch.num_rows)] * len(unread)
            yield pa.RecordBatch.from_arrays(arrays, names=[*names, *unread]), above, 0.0
            above += batch.num_rows


@contextmanager
def _connected(path: Path) -> Iterator[tuple["Cursor", str]]:
    """Open a read-only transaction on the database of a query's file; yield its cursor and the query."""
    try:
        from adbc_driver_manager import Error
        from adbc_driver_postgresql import dbapi
        from pyarrow import ArrowException
    except ImportError:
        raise DataError(
            f"{path} is a query, and the driver of its database is not installed: pip install 'churnops[database]'"
        ) from None
    address, query = _read(path)
    try:
        with dbapi.connect(address) as connection, connection.cursor() as cursor:
            cursor.execute(SNAPSHOT)
            yield cursor, query
    except (Error, OSError, ArrowException) as error:
        raise DataError(f"{path}: {_reason(error)}") from None


def _read(path: Path) -> tuple[str, str]:
    r"""Return the address and the query of a file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "customers.sql")
    ...     _ = path.write_text("-- postgresql://reader@crm.example/crm\nSELECT * FROM customers;\n")
    ...     _read(path)
    ('postgresql://reader@crm.example/crm', '-- postgresql://reader@crm.example/crm\nSELECT * FROM customers')
    """
    with path.open("rb") as file:
        data = file.read(MAX_CONFIG_BYTES + 1)
    if len(data) > MAX_CONFIG_BYTES:
        raise DataError(f"{path} is larger than {MAX_CONFIG_BYTES >> 20} MiB")
    try:
        query = data.decode("utf-8-sig").strip().rstrip(";").rstrip()
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text") from None
    named = re.match(r"--\s*(postgres(?:ql)?://\S*)", query)
    address = named[1] if named else "postgresql://"
    try:
        parts = urlsplit(address)
        secret = parts.password is not None or any(name in parse_qs(parts.query) for name in SECRETS)
    except ValueError:
        raise DataError(f"{path}: the first line is not a database's address") from None
    if secret:
        raise DataError(f"{path}: the address has a password: remove it, and set PGPASSWORD or write ~/.pgpass")
    return address, query


def _projection(query: str, read: "Sequence[pa.Field]", schema: Schema | None) -> str:
    """Return a query of the wanted columns, or of a constant to count the rows."""
    columns = ", ".join(_expression(field, schema) for field in read) or "true"
    return f"SELECT {columns} FROM (\n{query}\n) AS query"  # noqa: S608  (the query is the user's own)


def _expression(field: "pa.Field", schema: Schema | None) -> str:
    """Return a column with a type that Polars has; exact decimals are text, but float64 if the Schema has a number."""
    name = '"{}"'.format(field.name.replace('"', '""'))
    kind = str((field.metadata or {}).get(b"POSTGRESQL:type", b""), "utf-8")
    if kind in PLAIN:
        return name
    column = schema.by_name.get(schema.rename([field.name]).get(field.name, "")) if schema else None
    number = kind == "numeric" and column is not None and column.numeric
    return f"{name}::{'float8' if number else 'text'} AS {name}"


def _checked(column: Any, name: str, path: Path, above: int) -> Any:
    """Return a column; refuse dates and times that are infinite or outside the years 1 to 9999."""
    from datetime import datetime

    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_temporal(column.type):
        ends = pa.array([datetime.min, datetime.max], pa.timestamp("us")).cast(pa.int64()).to_pylist()
        unit = 86_400_000_000 if pa.types.is_date(column.type) else 1
        first, last = pc.min_max(column.view(pa.int32() if unit > 1 else pa.int64())).values()
        if first.is_valid and not ends[0] <= first.as_py() * unit <= last.as_py() * unit <= ends[1]:
            raise DataError(f"{path}: column {name!r} has a date that is infinite or outside the years 1 to 9999")
    return with_valid_text(column, name, needed=True, path=path, above=above)


def _reason(error: Exception) -> str:
    r"""Return the server's reason.

    >>> _reason(ValueError('IO: [libpq] could not begin COPY: ERROR:  column "x" does not exist\nLINE 1: …'))
    'column "x" does not exist'
    """
    return re.sub(r"^.*?(?:ERROR|FATAL):\s+|^[A-Z_]+: \[libpq\] ", "", first_line(error, 500))[:300]
