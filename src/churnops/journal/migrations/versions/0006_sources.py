"""Sources of cycles, looks and alerts; files of simulated customers."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add a source to three tables, "live" for all existing rows, and make the table of simulated files."""
    for table in ("cycles", "looks", "alerts"):
        op.add_column(table, sa.Column("source", sa.Text, nullable=False, server_default="live"))
    with op.batch_alter_table("looks") as looks:  # SQLite changes a constraint by making the table again
        looks.drop_constraint("looks_number", type_="unique")
        looks.drop_constraint("looks_batch", type_="unique")
        looks.create_unique_constraint("looks_number", ["content_sha256", "source", "look"])
        looks.create_unique_constraint("looks_batch", ["content_sha256", "source", "batch_sha256"])
    op.create_index("decisions_subject", "decisions", ["subject", "id"])
    op.create_index("cycles_source", "cycles", ["source", "id"])
    op.drop_index("alerts_subject", "alerts")
    op.create_index("alerts_subject", "alerts", ["subject", "source", "id"])
    op.create_table(
        "simulated_files",
        sa.Column("sha256", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
    )
