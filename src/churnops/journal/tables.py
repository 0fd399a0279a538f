"""Tables of the journal's database, and their representation of time.

Times are whole microseconds since 1970 in UTC: equal in both databases (SQLite has no time zones), quick to write, and
quick to search by an index. Only `deployments`, the oldest table, has date-times.
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

SCHEMA_VERSION = "0014"
"""Newest version in `migrations/versions`. Changing a table below needs a new migration."""

VERSION_TABLE = "churnops_schema_version"
"""Not Alembic's default name, which MLflow's store uses: both may share one PostgreSQL database."""

metadata = MetaData()
_KEY = BigInteger().with_variant(Integer, "sqlite")

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
    Column("id", _KEY, primary_key=True, autoincrement=True),
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

layouts = Table(
    "layouts",  # how predictions are packed: `churnops.journal.layouts`
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=False),  # from the document's hash
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
    Column("id", _KEY, primary_key=True, autoincrement=True),
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
    Column("hash", _KEY, primary_key=True, autoincrement=False),
)

customers_log = Table(
    "customers_log",  # hashes that are not yet in `customers`, in order of writing
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("hash", BigInteger, nullable=False),
)

customers_history = Table(
    "customers_history",  # one row while predictions older than `customers` are unread
    metadata,
    Column("until", Text, nullable=False),  # id of the newest unread prediction
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

looks = Table(
    "looks",  # monitoring's analyses of fresh evidence on a model; each spends some of the error budget
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
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
    Column("id", _KEY, primary_key=True, autoincrement=True),
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
    Column("id", _KEY, primary_key=True, autoincrement=True),
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
    Column("id", _KEY, primary_key=True, autoincrement=True),
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
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("alert", _KEY, ForeignKey("alerts.id"), nullable=False),
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

policies = Table(
    "policies",  # versions of the decision policy; the newest is in force
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),  # user's name, or name of the API key
    Column("reason", Text, nullable=False),
    Column("terms", Text, nullable=False),  # JSON: `DecisionPolicy.terms`
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

experiments = Table(
    "experiments",  # challengers on live customers: `churnops.journal.experiments`
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),  # shadow or split
    Column("champion", Text, nullable=False),  # content hash of the deployed model
    Column("challenger", Text, nullable=False),  # content hash
    Column("champion_name", Text, nullable=False),  # name of the model in answers
    Column("challenger_name", Text, nullable=False),
    Column("version", Integer, nullable=False),  # registered version of the challenger
    Column("folder", Text, nullable=False),  # version folder of the challenger
    Column("share", Double, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("state", Text, nullable=False),  # running, success, futility or stopped
    Column("ended_at", BigInteger),
    Column("ended_by", Text),
    Column("ended_why", Text),
    Column("details", Text, nullable=False),  # JSON
    Index(
        "experiments_running",
        "state",
        unique=True,
        sqlite_where=text("state = 'running'"),
        postgresql_where=text("state = 'running'"),
    ),
)

shadow_scores = Table(
    "shadow_scores",  # both models' scores of customers whom the champion answered
    metadata,
    Column("id", Text, primary_key=True),  # of the prediction
    Column("experiment", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),  # of the prediction
    Column("customer_id", Text),
    Column("champion", Double, nullable=False),  # probabilities of churn
    Column("challenger", Double, nullable=False),
    Index("shadow_scores_experiment", "experiment", "at"),
)

newest_scores = Table(
    "newest_scores",  # newest score of each customer: `churnops.journal.newest_scores`
    metadata,
    Column("customer_id", Text, primary_key=True),
    Column("prediction", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("layout", BigInteger, nullable=False),  # id in `layouts`, which names the model
    Column("probability", Double, nullable=False),
    Column("value", Double, nullable=False),  # of the column that the decision policy names; 0: none, or not known
    Column("at_risk", Double),  # probability × value, or the probability if the policy names no column; NULL: not known
    Index("newest_scores_ranked", "at_risk", "value", "customer_id"),
    sqlite_with_rowid=False,
)

newest_scores_state = Table(
    "newest_scores_state",  # one row: the predictions up to (`at`, `prediction`) are in `newest_scores`
    metadata,
    Column("value_column", Text, nullable=False),  # empty: none
    Column("at", BigInteger, nullable=False),
    Column("prediction", Text, nullable=False),
)

call_lists = Table(
    "call_lists",
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),
    Column("request", Text, nullable=False),  # JSON: what was asked for; the same request again gives the same list
    Column("head", Text, nullable=False),  # JSON: numbers, expected profit, policy, model
    Column("by", Text),  # user's name, or name of the API key
)

call_list_rows = Table(
    "call_list_rows",
    metadata,
    Column("call_list", _KEY, ForeignKey("call_lists.id"), primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),  # from 1
    Column("customer_id", Text, nullable=False),
    Column("prediction", Text),  # NULL: the score comes from a file
    Column("probability", Double, nullable=False),
    Column("value", Double),
    Column("expected_profit", Double),
    Column("reasons", Text, nullable=False),  # JSON: a list of texts
    Column("action", Text, nullable=False),
    Index("call_list_rows_customer", "customer_id", "call_list"),
)

contacts = Table(
    "contacts",  # what became of contacting a customer: the latest entry counts, all are kept
    metadata,
    Column("id", _KEY, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),  # time of the contact
    Column("recorded_at", BigInteger, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("call_list", _KEY, ForeignKey("call_lists.id")),  # NULL: a contact without a list
    Column("status", Text, nullable=False),  # to do, reached, declined or kept
    Column("note", Text),
    Column("offer", Text),  # what the customer was offered
    Column("by", Text),  # user's name
    Column("key", Text),  # id of the request's API key
    Index("contacts_customer", "customer_id", "at"),
    Index("contacts_call_list", "call_list", "id"),
)

exposures_log = Table(
    "exposures_log",  # answers to customers of a split that are not yet in `exposures`, in order of writing
    metadata,
    Column("number", _KEY, primary_key=True, autoincrement=True),
    Column("experiment", BigInteger, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("id", Text),  # of the prediction; NULL: the journal does not have it
    Column("at", BigInteger, nullable=False),
    Column("challenger", Boolean, nullable=False),  # whether the customer is in the challenger's arm
    Column("fell_back", Boolean, nullable=False),  # whether the champion answered in the challenger's place
)

exposures = Table(
    "exposures",  # customers of a split with their first answers: `churnops.journal.exposures`
    metadata,
    Column("experiment", BigInteger, primary_key=True, autoincrement=False),
    Column("customer_id", Text, primary_key=True),
    Column("id", Text),
    Column("at", BigInteger, nullable=False),
    Column("challenger", Boolean, nullable=False),
    Column("fell_back", Boolean, nullable=False),
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Return a time with a zone in microseconds since 1970, as tables keep it.

    >>> microseconds(datetime(1970, 1, 2, tzinfo=UTC))
    86400000000
    """
    return (at - _EPOCH) // _MICROSECOND


def moment(kept: int) -> datetime:
    """Return the time of a table's microseconds, in UTC."""
    return _EPOCH + timedelta(microseconds=kept)
