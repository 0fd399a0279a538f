"""Levels of categories and flags beside each customer's newest score; the table is filled again."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Make the table of newest scores again, empty."""
    op.drop_table("newest_scores")
    op.create_table(
        "newest_scores",
        sa.Column("customer_id", sa.Text, primary_key=True),
        sa.Column("prediction", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("layout", sa.BigInteger, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("at_risk", sa.Double),
        sa.Column("levels", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    ranked = ["at_risk", "value", "customer_id", "probability", "layout", "levels"]
    op.create_index("newest_scores_ranked", "newest_scores", ranked)
    op.execute("DELETE FROM newest_scores_state")
