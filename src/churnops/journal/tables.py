"""Tables of the journal's database, and how they keep times.

Times of predictions, labels and keys are whole microseconds since 1970 in UTC: the same on both databases (SQLite has
no time zones), quick to write, and a range of them is a range of an index. `deployments` is older, with date-times.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

SCHEMA_VERSION = "0006"
"""Newest version in `migrations/versions`. A change of a table below needs a new one there."""

VERSION_TABLE = "churnops_schema_version"
"""Not Alembic's own `alembic_version`: MLflow's store has that one, and both may live in one PostgreSQL database."""

metadata = MetaData()
_KEY = BigInteger().with_variant(Integer, "sqlite")

deployments = Table(
    "deployments",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", DateTime(timezone=True), nullable=False),
    Column("event", String(16), nullable=False),  # intent, done or undone
    Column("intent", Integer, ForeignKey("deployments.id"), unique=True),  # the intent that a done or undone row closes
    Column("folder", String(200), nullable=False),
    Column("version", Integer, nullable=False),
    Column("content_sha256", String(64), nullable=False),
    Column("previous", String(200)),
    Column("reason", String(2000), nullable=False),
    Column("kind", Text, nullable=False, server_default="deploy"),  # deploy or rollback
    Column("by", Text),  # who did it; NULL where it was not kept yet
)

decisions = Table(
    "decisions",  # whether to train again, and whether a challenger replaces the model in production: also "no"
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),  # retrain or deploy
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("champion", Text),  # content hash of the model in production; NULL: none
    Column("challenger", Text),  # content hash; NULL where there is none yet
    Column("details", Text, nullable=False),  # JSON: the numbers behind it
    Index("decisions_at", "at"),
    Index("decisions_subject", "subject", "id"),
)

predictions = Table(
    "predictions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("customer_id", Text),
    Column("model_version", Text, nullable=False),
    Column("content_sha256", Text, nullable=False),
    Column("churn_probability", Double, nullable=False),
    Column("churn_prediction", Boolean, nullable=False),
    Column("base_value", Double),
    Column("explanation_scale", Text),
    Column("top_shap_features", Text),
    Column("inputs", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("key", Text),  # id of the API key that asked; NULL: without a key, or before this was kept
    # No index on customer_id: customers come in any order, so each row would dirty a page of its own, and writing would
    # take three times as long. Table `customers` has the customers with a prediction.
    Index("predictions_at", "at"),
)

labels = Table(
    "labels",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("subject_kind", Text, nullable=False),  # prediction or customer
    Column("subject", Text, nullable=False),  # the prediction's or the customer's id
    Column("revision", Integer, nullable=False),  # 1, and one more with each correction
    Column("churned", Boolean, nullable=False),
    Column("outcome_at", BigInteger, nullable=False),  # when the customer left, or was seen to have stayed
    Column("recorded_at", BigInteger, nullable=False),
    Column("key", Text),  # id of the API key that sent it; NULL: without a key, or before this was kept
    # Two processes cannot both write the same revision. Its index is the one that labels are found by; the subject is
    # first in it, as there are only two kinds.
    UniqueConstraint("subject", "subject_kind", "revision", name="labels_subject_revision"),
)

customers = Table(
    "customers",  # customers with a prediction: 64 bits of a hash of each id
    metadata,
    Column("hash", _KEY, primary_key=True, autoincrement=False),
)

customers_log = Table(
    "customers_log",  # hashes that are not in `customers` yet, in the order of writing
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("hash", BigInteger, nullable=False),
)

customers_history = Table(
    "customers_history",  # one row while predictions older than `customers` are still to be read
    metadata,
    Column("until", Text, nullable=False),  # id of the newest of them
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # words with spaces between them
    Column("token_sha256", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
    Index(
        "api_keys_active_name",
        "name",
        unique=True,
        sqlite_where=text("revoked_at IS NULL"),
        postgresql_where=text("revoked_at IS NULL"),
    ),
)

looks = Table(
    "looks",  # how often monitoring has looked at fresh evidence on a model: what its error budget is spent by
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("content_sha256", Text, nullable=False),  # of the model
    Column("source", Text, nullable=False, server_default="live"),  # whose customers: of the API, or of files by name
    Column("look", Integer, nullable=False),  # 1, 2, ...
    Column("batch_sha256", Text, nullable=False),  # of rows and labels: the same evidence is the same look
    UniqueConstraint("content_sha256", "source", "look", name="looks_number"),
    UniqueConstraint("content_sha256", "source", "batch_sha256", name="looks_batch"),
)

cycles = Table(
    "cycles",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("content_sha256", Text),  # of the model; NULL where a cycle failed before it had one
    Column("source", Text, nullable=False, server_default="live"),  # whose customers; all are "live" before 0006
    Column("aside", Boolean, nullable=False),  # nothing follows: simulated, of the past, or a file to report on
    Column("status", Text, nullable=False),  # finished or failed
    Column("report", Text),  # name of the file
    Column("summary", Text, nullable=False),  # JSON: what gauges and tables show
    Index("cycles_at", "at"),
    Index("cycles_source", "source", "id"),
)

profiles = Table(
    "profiles",  # rolling counts of what the API was asked, a row a worker and part of the window
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("content_sha256", Text, nullable=False),
    Column("part", BigInteger, nullable=False),  # when this part of the window begins
    Column("worker", Text, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
    UniqueConstraint("content_sha256", "part", "worker", name="profiles_part"),
)

alerts = Table(
    "alerts",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),  # what it is about, such as feature_drift
    Column("source", Text, nullable=False, server_default="live"),  # whose customers; with the subject, the incident
    Column("state", Text, nullable=False),  # firing, recovered, or event
    Column("severity", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("alerts_subject", "subject", "source", "id"),
)

deliveries = Table(
    "deliveries",  # tries to tell an alert to a channel
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("alert", _KEY, ForeignKey("alerts.id"), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("channel", Text, nullable=False),  # without its secrets
    Column("error", Text),  # NULL: it arrived
    Index("deliveries_alert", "alert"),
)

simulated_files = Table(
    "simulated_files",  # files that `churnops simulate` wrote: they count as no customers
    metadata,
    Column("sha256", Text, primary_key=True),  # of the whole file
    Column("at", BigInteger, nullable=False),
    Column("description", Text, nullable=False),
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Return a time, which must have a zone, as it is kept in a table.

    >>> microseconds(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    return (at - _EPOCH) // _MICROSECOND


def moment(kept: int) -> datetime:
    """Return the time that a table keeps, in UTC."""
    return _EPOCH + timedelta(microseconds=kept)
