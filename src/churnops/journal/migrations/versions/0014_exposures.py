"""Customers of a split, and the arm that answered each of them first."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "exposures_log",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("experiment", sa.BigInteger, nullable=False),
        sa.Column("customer_id", sa.Text, nullable=False),
        sa.Column("id", sa.Text),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("challenger", sa.Boolean, nullable=False),
        sa.Column("fell_back", sa.Boolean, nullable=False),
    )
    op.create_table(
        "exposures",
        sa.Column("experiment", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("id", sa.Text),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("challenger", sa.Boolean, nullable=False),
        sa.Column("fell_back", sa.Boolean, nullable=False),
    )
