"""Decisions and their reasons; kind and user of a deployment."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table, and add two columns to the deployments."""
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "decisions",
        sa.Column("id", key, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("champion", sa.Text),
        sa.Column("challenger", sa.Text),
        sa.Column("details", sa.Text, nullable=False),
    )
    op.create_index("decisions_at", "decisions", ["at"])
    op.add_column("deployments", sa.Column("kind", sa.Text, nullable=False, server_default="deploy"))
    op.add_column("deployments", sa.Column("by", sa.Text))
