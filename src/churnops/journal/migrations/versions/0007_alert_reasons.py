"""Reasons of alerts, such as broken columns."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the reasons, unknown for all existing rows."""
    op.add_column("alerts", sa.Column("reasons", sa.Text))
