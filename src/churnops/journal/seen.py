"""The set of customers with a prediction, kept without slowing down the writing of predictions.

Writing a prediction appends the hash of the customer's id to `customers_log`, always on its last page. Housekeeping
sorts the log into `customers`, a part at a time. So each page of `customers` is written once for many rows.
"""

from collections.abc import Sequence
from hashlib import blake2b

from sqlalchemy import Connection, Engine, delete, select, update

from churnops.journal.database import answering, exclusive
from churnops.journal.inserts import insert_rows
from churnops.journal.tables import customers, customers_history, customers_log, labels, predictions

PART = 2_000
"""Number of hashes that one transaction sorts into `customers`; other writers wait for the transaction."""

MAX_UNSORTED = 50_000
"""Number of hashes in the log that a lookup reads. If the log has more, the answer may be unknown."""

NEWEST_LABELS = 10_000
_CHUNK = 500  # limit of one IN (...)


def log_customers(connection: Connection, ids: Sequence[str]) -> None:
    """Record customers as having a prediction, in the transaction that writes the predictions."""
    _insert(connection, "customers_log", [customer_hash(id_) for id_ in ids])


def sort_customers(engine: Engine) -> bool:
    """Sort a part of the log, or of predictions older than the log, into `customers`; return whether hashes are left.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    with answering():
        with engine.connect() as connection:
            if not any(connection.execute(select(t).limit(1)).first() for t in (customers_log, customers_history)):
                return False
        with exclusive(engine) as connection:
            return _sort_log(connection) or _sort_history(connection)


def unmatched(connection: Connection, ids: Sequence[str]) -> int | None:
    """Count the ids of customers without a prediction; None while too many predictions are unsorted.

    A repeated id counts each time. An id is not counted if a customer with a prediction has the same 64-bit hash.
    """
    hashes = [customer_hash(id_) for id_ in ids]
    unknown = set(hashes)
    for start in range(0, len(hashes), _CHUNK):
        part = hashes[start : start + _CHUNK]
        unknown -= set(connection.execute(select(customers.c.hash).where(customers.c.hash.in_(part))).scalars())
    if not unknown:
        return 0
    unsorted = connection.execute(select(customers_log.c.hash).limit(MAX_UNSORTED + 1)).scalars().all()
    unknown.difference_update(unsorted)
    if unknown and (len(unsorted) > MAX_UNSORTED or connection.execute(select(customers_history)).first() is not None):
        return None
    return sum(value in unknown for value in hashes)


def unmatched_sentence(engine: Engine, share: float = 0.0) -> str | None:
    """Return a warning if more than `share` of the newest labels are for customers without a prediction, else None.

    Only the newest 10,000 labels are read, so the cost is bounded.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    newest = select(labels.c.subject_kind, labels.c.subject).order_by(labels.c.id.desc()).limit(NEWEST_LABELS)
    with answering(), engine.connect() as connection:
        rows = connection.execute(newest).all()
        count = unmatched(connection, [row.subject for row in rows if row.subject_kind == "customer"])
    if not count or count <= share * len(rows):
        return None
    return (
        f"{count:,} of the newest {len(rows):,} labels are for customers without a prediction: "
        "check that labels and predictions use the same customer ids"
    )


def _sort_log(connection: Connection) -> bool:
    """Move a part of the log. Rows of uncommitted transactions stay for later."""
    oldest = select(customers_log.c.id).order_by(customers_log.c.id).limit(PART)
    moved = delete(customers_log).where(customers_log.c.id.in_(oldest)).returning(customers_log.c.hash)
    hashes = connection.execute(moved).scalars().all()
    _add(connection, hashes)
    return len(hashes) == PART


def _sort_history(connection: Connection) -> bool:
    until = connection.execute(select(customers_history.c.until)).scalar()
    if until is None:
        return False
    table = predictions.c
    older = select(table.id, table.customer_id).where(table.id <= until).order_by(table.id.desc()).limit(PART)
    rows = connection.execute(older).all()
    _add(connection, [customer_hash(row.customer_id) for row in rows if row.customer_id is not None])
    if len(rows) < PART:
        connection.execute(delete(customers_history))
        return False
    connection.execute(update(customers_history).values(until=rows[-1].id))
    return True


def _add(connection: Connection, hashes: Sequence[int]) -> None:
    _insert(connection, "customers", sorted(set(hashes)))


def _insert(connection: Connection, table: str, hashes: Sequence[int]) -> None:
    insert_rows(connection, table, ("hash",), [(value,) for value in hashes], skip_known=True)


def customer_hash(id_: str) -> int:
    """Return the 64-bit hash of a customer's id, as the tables `customers` and `customers_log` have it."""
    # The journal refuses an id that is not valid Unicode; here such an id must not raise an error.
    return int.from_bytes(blake2b(id_.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)
