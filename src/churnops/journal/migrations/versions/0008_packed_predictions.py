"""Packed predictions, with their layouts; in PostgreSQL partitioned by month.

Rows are read twice, a part at a time: for the layout of each model, and to pack them. Nothing is lost: a value without
a place in the packed bytes stays JSON.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from pydantic_core import from_json

from churnops.journal.guessed_layout import GuessedLayout
from churnops.journal.inserts import insert_rows
from churnops.journal.layouts import Layout
from churnops.journal.partitions import DEFAULT, MAX_MONTHS, make_partitions, months, next_months
from churnops.journal.tables import moment

revision = "0008"
down_revision = "0007"

PART = 5_000
"""Number of rows in memory at a time."""

_SHARED = ("model_version", "content_sha256", "base_value", "explanation_scale")
_READ = ("id", "at", "customer_id", "churn_probability", "churn_prediction", "source", "key", *_SHARED)
_DOCUMENTS = ("inputs", "top_shap_features")
_WRITTEN = ("id", "at", "customer_id", "layout", "churn_probability", "churn_prediction", "inputs", "reasons", "rest")
_COLUMNS = (*_WRITTEN, "source", "key")


def upgrade() -> None:
    """Pack all predictions."""
    connection = op.get_bind()
    op.drop_index("predictions_at", "predictions")
    op.rename_table("predictions", "predictions_0007")
    is_partitioned = connection.dialect.name == "postgresql"
    if is_partitioned:
        op.execute("ALTER INDEX predictions_pkey RENAME TO predictions_0007_pkey")
    op.create_table(
        "layouts",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("content_sha256", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "predictions",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("customer_id", sa.Text),
        sa.Column("layout", sa.BigInteger, nullable=False),
        sa.Column("churn_probability", sa.Double, nullable=False),
        sa.Column("churn_prediction", sa.Boolean, nullable=False),
        sa.Column("inputs", sa.LargeBinary, nullable=False),
        sa.Column("reasons", sa.LargeBinary),
        sa.Column("rest", sa.Text),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("key", sa.Text),
        sa.PrimaryKeyConstraint("id", *(["at"] if is_partitioned else [])),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("predictions_at", "predictions", ["at"])
    if is_partitioned:
        _make_partitions(connection)
    layouts = _write_layouts(connection)
    for rows in _parts(connection):
        _write(connection, rows, layouts)
    op.drop_table("predictions_0007")


def _make_partitions(connection: sa.Connection) -> None:
    connection.exec_driver_sql(f"CREATE TABLE {DEFAULT} PARTITION OF predictions DEFAULT")
    first, last = connection.exec_driver_sql("SELECT min(at), max(at) FROM predictions_0007").one()
    wanted = next_months(datetime.now(UTC))
    if first is not None:
        wanted += list(months(moment(first), moment(last)))[-MAX_MONTHS:]
    make_partitions(connection, dict.fromkeys(wanted))


def _parts(connection: sa.Connection) -> Iterator[list[dict[str, Any]]]:
    """Yield the old rows by id, with inputs and reasons as JSON values."""
    names = (*_READ, *_DOCUMENTS)
    old = sa.table("predictions_0007", *(sa.column(name) for name in names))
    query = sa.select(old).order_by(old.c.id).limit(PART)
    rows: Sequence[Any] = connection.execute(query).mappings().all()
    while rows:
        last = rows[-1]["id"]
        yield [dict(row) | {name: from_json(row[name] or "null") for name in _DOCUMENTS} for row in rows]
        rows = connection.execute(query.where(old.c.id > last)).mappings().all()


def _model(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _SHARED)


def _write_layouts(connection: sa.Connection) -> dict[tuple[Any, ...], Layout]:
    """Write the layout of each model's predictions; return them by the values that the predictions share."""
    guesses: dict[tuple[Any, ...], GuessedLayout] = {}
    for rows in _parts(connection):
        for row in rows:
            guesses.setdefault(_model(row), GuessedLayout()).add(row["inputs"], row["top_shap_features"])
    layouts = {shared: guess.layout(*shared) for shared, guess in guesses.items()}
    values = [(one.id, one.model_version, one.content_sha256, one.document) for one in layouts.values()]
    insert_rows(connection, "layouts", ("id", "model_version", "content_sha256", "document"), values, skip_known=False)
    return layouts


def _write(connection: sa.Connection, rows: list[dict[str, Any]], layouts: dict[tuple[Any, ...], Layout]) -> None:
    values = []
    for row in rows:
        layout = layouts[_model(row)]
        packed = layout.pack_all(row["inputs"], row["top_shap_features"])
        given = row | packed._asdict() | {"layout": layout.id, "churn_prediction": bool(row["churn_prediction"])}
        values.append([given[name] for name in _COLUMNS])
    insert_rows(connection, "predictions", _COLUMNS, values, skip_known=False)
