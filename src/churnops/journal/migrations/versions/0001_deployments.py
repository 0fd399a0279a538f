"""The deployment log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table, unless it exists already, from the time before databases had a version."""
    if sa.inspect(op.get_bind()).has_table("deployments"):
        return
    op.create_table(
        "deployments",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("intent", sa.Integer, sa.ForeignKey("deployments.id"), unique=True),
        sa.Column("folder", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("content_sha256", sa.String(64), nullable=False),
        sa.Column("previous", sa.String(200)),
        sa.Column("reason", sa.String(2000), nullable=False),
    )
