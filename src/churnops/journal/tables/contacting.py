"""The decision policy, newest scores, call lists and contacts."""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, Integer, LargeBinary, Table, Text

from churnops.journal.tables.base import KEY, metadata

policies = Table(
    "policies",  # versions of the decision policy; the newest is in force
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("by", Text, nullable=False),  # user's name, or name of the API key
    Column("reason", Text, nullable=False),
    Column("terms", Text, nullable=False),  # JSON: `DecisionPolicy.terms`
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
    Column("levels", LargeBinary, nullable=False),  # of categories and flags: `churnops.journal.segments`
    # All columns by which lists are filtered, so that a rare segment is found within the index.
    Index("newest_scores_ranked", "at_risk", "value", "customer_id", "probability", "layout", "levels"),
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
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),
    Column("request", Text, nullable=False),  # JSON: what was asked for; the same request again gives the same list
    Column("head", Text, nullable=False),  # JSON: numbers, expected profit, policy, model
    Column("by", Text),  # user's name, or name of the API key
    Column("writing_until", BigInteger),  # NULL: complete. After this time, the process that writes the list is dead
)

call_list_rows = Table(
    "call_list_rows",
    metadata,
    Column("call_list", KEY, ForeignKey("call_lists.id"), primary_key=True, autoincrement=False),
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
    Column("id", KEY, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),  # time of the contact
    Column("recorded_at", BigInteger, nullable=False),
    Column("customer_id", Text, nullable=False),
    Column("call_list", KEY, ForeignKey("call_lists.id")),  # NULL: a contact without a list
    Column("status", Text, nullable=False),  # to do, reached, declined or kept
    Column("note", Text),
    Column("offer", Text),  # what the customer was offered
    Column("by", Text),  # user's name
    Column("key", Text),  # id of the request's API key
    Index("contacts_customer", "customer_id", "at"),
    Index("contacts_call_list", "call_list", "id"),
)
