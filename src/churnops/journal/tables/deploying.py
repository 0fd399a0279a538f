"""Deployments, and decisions about retraining and deploying."""

from sqlalchemy import BigInteger, Column, DateTime, ForeignKey, Index, Integer, String, Table, Text

from churnops.journal.tables.base import KEY, metadata

deployments = Table(
    "deployments",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("event", String(16), nullable=False),  # intent, done or undone
    Column("intent", Integer, ForeignKey("deployments.id"), unique=True),  # the intent that this row closes
    Column("folder", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("previous", String(200)),
    Column("reason", String(2000), nullable=False),
    Column("kind", Text, nullable=False, server_default="deploy"),  # deploy or rollback
    Column("by", Text),  # user's name; NULL in rows of older versions
)

decisions = Table(
    "decisions",  # for or against retraining, and for or against deploying a challenger
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),  # retrain or deploy
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("champion", Text),  # content hash of the deployed model; NULL: no model is deployed
    Column("challenger", Text),  # content hash; NULL: no challenger exists yet
    Column("details", Text, nullable=False),  # JSON: the numbers behind the decision
    Index("decisions_at", "at"),
    Index("decisions_subject", "subject", "id"),
)
