"""Predictions, labels and API keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "predictions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("customer_id", sa.Text),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("content_sha256", sa.Text, nullable=False),
        sa.Column("churn_probability", sa.Double, nullable=False),
        sa.Column("churn_prediction", sa.Boolean, nullable=False),
        sa.Column("base_value", sa.Double),
        sa.Column("explanation_scale", sa.Text),
        sa.Column("top_shap_features", sa.Text),
        sa.Column("inputs", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
    )
    op.create_index("predictions_at", "predictions", ["at"])
    key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "labels",
        sa.Column("id", key, primary_key=True, autoincrement=True),
        sa.Column("subject_kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("churned", sa.Boolean, nullable=False),
        sa.Column("outcome_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("subject", "subject_kind", "revision", name="labels_subject_revision"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("token_sha256", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )
    active = sa.text("revoked_at IS NULL")
    op.create_index(
        "api_keys_active_name", "api_keys", ["name"], unique=True, sqlite_where=active, postgresql_where=active
    )
