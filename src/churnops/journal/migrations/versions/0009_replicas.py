"""Replicas: processes of the service, and the model that each answers with."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "replicas",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("pid", sa.BigInteger, nullable=False),
        sa.Column("churnops", sa.Text, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("folder", sa.Text),
        sa.Column("model_version", sa.Text),
        sa.Column("content_sha256", sa.Text),
        sa.Column("loaded_at", sa.BigInteger),
        sa.Column("followed", sa.Text),
        sa.Column("refused", sa.Text),
        sa.Column("seen_at", sa.BigInteger, nullable=False),
    )
