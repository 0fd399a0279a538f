"""Experiments: shadows and splits."""

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, Integer, Table, Text, text

from churnops.journal.tables.base import KEY, metadata

experiments = Table(
    "experiments",  # challengers on live customers: `churnops.journal.experiments`
    metadata,
    Column("id", KEY, primary_key=True, autoincrement=True),
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

exposures_log = Table(
    "exposures_log",  # answers to customers of a split that are not yet in `exposures`, in order of writing
    metadata,
    Column("number", KEY, primary_key=True, autoincrement=True),
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
