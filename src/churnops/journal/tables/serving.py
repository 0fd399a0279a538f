"""Predictions with their outcomes and customers, and the service that answers."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from churnops.journal.tables.base import KEY, metadata

layouts = Table(
    "layouts",  # how predictions are packed: `churnops.journal.layouts`
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=False),  # from the document's hash
    Column("model_version", Text, nullable=False),
    Column("content_sha256", Text, nullable=False),
    Column("document", Text, nullable=False),
)

predictions = Table(
    "predictions",  # PostgreSQL: partitioned by month of `at`, with the key (id, at)
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("customer_id", Text),
    Column("layout", BigInteger, nullable=False),  # id in `layouts`; a foreign key would be checked for each row
    Column("churn_probability", Double, nullable=False),
    Column("churn_prediction", Boolean, nullable=False),
    Column("inputs", LargeBinary, nullable=False),
    Column("reasons", LargeBinary),
    Column("rest", Text),  # JSON: values without a place in `inputs` and `reasons`
    Column("source", Text, nullable=False),
    Column("key", Text),  # id of the request's API key; NULL: none, or a row of an older version
    # No index on customer_id: customers come in any order, so each row would write a page of its own. Writing would
    # take three times as long. Table `customers` holds the customers with a prediction.
    Index("predictions_at", "at"),
)

labels = Table(
    "labels",
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("subject_kind", Text, nullable=False),  # prediction or customer
    Column("subject", Text, nullable=False),  # id of the prediction or the customer
    Column("revision", Integer, nullable=False),  # from 1, increased by each correction
    Column("churned", Boolean, nullable=False),
    Column("outcome_at", BigInteger, nullable=False),  # when the customer left, or until when the customer stayed
    Column("recorded_at", BigInteger, nullable=False),
    Column("key", Text),  # id of the request's API key; NULL: none, or a row of an older version
    # Prevents two processes from writing the same revision. Its index is for lookups, and begins with the subject
    # because `subject_kind` has only two values.
    UniqueConstraint("subject", "subject_kind", "revision", name="labels_subject_revision"),
)

customers = Table(
    "customers",  # customers with a prediction: a 64-bit hash of each id
    metadata,
    Column("hash", KEY, primary_key=True, autoincrement=False),
)

customers_log = Table(
    "customers_log",  # hashes that are not yet in `customers`, in order of writing
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("hash", BigInteger, nullable=False),
)

customers_history = Table(
    "customers_history",  # one row while predictions older than `customers` are unread
    metadata,
    Column("until", Text, nullable=False),  # id of the newest unread prediction
)

online_rows = Table(
    "online_rows",  # newest columns of each customer: `churnops.journal.online_rows`
    metadata,
    Column("customer_id", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),  # time from which the columns hold
    Column("layout", BigInteger, nullable=False),  # id in `layouts`
    Column("inputs", LargeBinary, nullable=False),
    Column("rest", Text),  # JSON: values without a place in `inputs`
    sqlite_with_rowid=False,
)

replicas = Table(
    "replicas",  # processes of the service; each writes its own row every few seconds
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("churnops", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("folder", Text),  # the version folder of the model that it answers with; NULL: no model is loaded
    Column("model_version", Text),
    Column("content_sha256", Text),
    Column("loaded_at", BigInteger),
    Column("followed", Text),  # the version folder that `production` leads to
    Column("refused", Text),  # reason why it does not answer with the newest deployment; NULL: it does
    Column("seen_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # words separated by spaces
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
