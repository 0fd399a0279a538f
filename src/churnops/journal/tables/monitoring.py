"""Monitoring cycles and alerts."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from churnops.journal.tables.base import KEY, metadata

looks = Table(
    "looks",  # monitoring's analyses of fresh evidence on a model; each spends some of the error budget
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("content_sha256", Text, nullable=False),  # the model's content hash
    Column("source", Text, nullable=False, server_default="live"),  # source of the customers: the API, or named files
    Column("look", Integer, nullable=False),  # 1, 2, ...
    Column("batch_sha256", Text, nullable=False),  # hash of rows and labels: the same evidence is the same look
    UniqueConstraint("content_sha256", "source", "look", name="looks_number"),
    UniqueConstraint("content_sha256", "source", "batch_sha256", name="looks_batch"),
)

cycles = Table(
    "cycles",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("content_sha256", Text),  # content hash; NULL if the cycle failed before it loaded a model
    Column("source", Text, nullable=False, server_default="live"),  # as in `looks`; "live" in rows before 0006
    Column("aside", Boolean, nullable=False),  # `Cycle.report_only`
    Column("status", Text, nullable=False),  # finished or failed
    Column("report", Text),  # file name
    Column("summary", Text, nullable=False),  # JSON: the findings for gauges and tables
    Index("cycles_at", "at"),
    Index("cycles_source", "source", "id"),
)

profiles = Table(
    "profiles",  # rolling counts of the API's customers, a row for each worker and part of the window
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("content_sha256", Text, nullable=False),
    Column("part", BigInteger, nullable=False),  # start of this part of the window
    Column("worker", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    UniqueConstraint("content_sha256", "part", "worker", name="profiles_part"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),  # for example feature_drift
    Column("source", Text, nullable=False, server_default="live"),  # as in `looks`; subject and source: the incident
    Column("state", Text, nullable=False),  # firing, recovered, or event
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("reasons", Text),  # JSON: a list of `Notice.reasons`; NULL without reasons, and in rows before 0007
    Index("alerts_subject", "subject", "source", "id"),
)

deliveries = Table(
    "deliveries",  # attempts to deliver an alert to a channel
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("alert", KEY, ForeignKey("alerts.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("channel", Text, nullable=False),  # without secrets
    Column("error", Text),  # NULL: delivered
    Index("deliveries_alert", "alert"),
)

simulated_files = Table(
    "simulated_files",  # files written by `churnops simulate`, whose customers are not real
    metadata,
    Column("sha256", Text, primary_key=True),  # hash of the whole file
    Column("at", BigInteger, nullable=False),
    Column("description", Text, nullable=False),
)
