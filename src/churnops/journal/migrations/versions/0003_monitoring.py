"""Monitoring's tables: looks, cycles, rolling profiles, alerts and their deliveries."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the five tables."""
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "looks",
        sa.Column("id", key, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("content_sha256", sa.Text, nullable=False),
        sa.Column("look", sa.Integer, nullable=False),
        sa.Column("batch_sha256", sa.Text, nullable=False),
        sa.UniqueConstraint("content_sha256", "look", name="looks_number"),
        sa.UniqueConstraint("content_sha256", "batch_sha256", name="looks_batch"),
    )
    op.create_table(
        "cycles",
        sa.Column("id", key, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("content_sha256", sa.Text),
        sa.Column("aside", sa.Boolean, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("report", sa.Text),
        sa.Column("summary", sa.Text, nullable=False),
    )
    op.create_index("cycles_at", "cycles", ["at"])
    op.create_table(
        "profiles",
        sa.Column("id", key, primary_key=True, autoincrement=True),
        sa.Column("content_sha256", sa.Text, nullable=False),
        sa.Column("part", sa.BigInteger, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("content_sha256", "part", "worker", name="profiles_part"),
    )
    op.create_table(
        "alerts",
        sa.Column("id", key, primary_key=True, autoincrement=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("alerts_subject", "alerts", ["subject", "id"])
    op.create_table(
        "deliveries",
        sa.Column("id", key, primary_key=True, autoincrement=True),
        sa.Column("alert", key, sa.ForeignKey("alerts.id"), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
    )
    op.create_index("deliveries_alert", "deliveries", ["alert"])
