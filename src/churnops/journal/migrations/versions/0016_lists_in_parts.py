"""Call lists that are written in parts."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the time until which a list is being written; lists of older versions are complete."""
    op.add_column("call_lists", sa.Column("writing_until", sa.BigInteger))
