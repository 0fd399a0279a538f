"""Experiments, and the scores of challengers on live customers."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "experiments",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("champion", sa.Text, nullable=False),
        sa.Column("challenger", sa.Text, nullable=False),
        sa.Column("champion_name", sa.Text, nullable=False),
        sa.Column("challenger_name", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("share", sa.Double, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("ended_at", sa.BigInteger),
        sa.Column("ended_by", sa.Text),
        sa.Column("ended_why", sa.Text),
        sa.Column("details", sa.Text, nullable=False),
    )
    running = sa.text("state = 'running'")
    op.create_index(
        "experiments_running", "experiments", ["state"], unique=True, sqlite_where=running, postgresql_where=running
    )
    op.create_table(
        "shadow_scores",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("experiment", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("customer_id", sa.Text),
        sa.Column("champion", sa.Double, nullable=False),
        sa.Column("challenger", sa.Double, nullable=False),
    )
    op.create_index("shadow_scores_experiment", "shadow_scores", ["experiment", "at"])
