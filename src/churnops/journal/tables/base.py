"""Collection of all tables, type of numbered keys, and representation of time.

Times are whole microseconds since 1970 in UTC: equal in both databases (SQLite has no time zones), quick to write, and
quick to search by an index. Only `deployments`, the oldest table, has date-times.
"""

from datetime import UTC, datetime, timedelta

from sqlalchemy import BigInteger, Integer, MetaData

metadata = MetaData()

KEY = BigInteger().with_variant(Integer, "sqlite")
"""Type of a key that the database numbers."""

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
