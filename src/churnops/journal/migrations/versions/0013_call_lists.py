"""Newest score of each customer, call lists, and contacts."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

_KEY = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables."""
    _newest_scores()
    _call_lists()
    op.create_table(
        "contacts",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("call_list", _KEY, sa.ForeignKey("call_lists.id")),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("note", sa.Text),
        sa.Column("offer", sa.Text),
        sa.Column("by", sa.Text),
        sa.Column("key", sa.Text),
    )
    op.create_index("contacts_customer", "contacts", ["customer_id", "at"])
    op.create_index("contacts_call_list", "contacts", ["call_list", "id"])


def _newest_scores() -> None:
    op.create_table(
        "newest_scores",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("prediction", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("layout", sa.BigInteger, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("at_risk", sa.Double),
        sqlite_with_rowid=False,
    )
    op.create_index("newest_scores_ranked", "newest_scores", ["at_risk", "value", "customer_id"])
    op.create_table(
        "newest_scores_state",
        sa.Column("value_column", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("prediction", sa.Text, nullable=False),
    )


def _call_lists() -> None:
    op.create_table(
        "call_lists",
        sa.Column("id", _KEY, primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("head", sa.Text, nullable=False),
        sa.Column("by", sa.Text),
    )
    op.create_table(
        "call_list_rows",
        sa.Column("call_list", _KEY, sa.ForeignKey("call_lists.id"), primary_key=True, autoincrement=False),
        sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("prediction", sa.Text),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("expected_profit", sa.Double),
        sa.Column("reasons", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
    )
    op.create_index("call_list_rows_customer", "call_list_rows", ["customer_id", "call_list"])
