"""The API key of predictions and labels; the customers with a prediction."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add two empty columns and three tables. Nothing here reads or rewrites the rows of a large table."""
    op.add_column("predictions", sa.Column("key", sa.Text))
    op.add_column("labels", sa.Column("key", sa.Text))
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table("customers", sa.Column("hash", key, primary_key=True, autoincrement=False))
    op.create_table(
        "customers_log",
        sa.Column("id", key, primary_key=True, autoincrement=True),
        sa.Column("hash", sa.BigInteger, nullable=False),
    )
    op.create_table("customers_history", sa.Column("until", sa.Text, nullable=False))
    # The customers of earlier predictions are read later, a part at a time: `churnops.journal.seen`.
    op.execute("INSERT INTO customers_history (until) SELECT max(id) FROM predictions HAVING max(id) IS NOT NULL")
