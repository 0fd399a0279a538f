"""Copy a journal to another database: SQLite to PostgreSQL, or any other pair.

Both journals are read in the order of their keys, and the target gets the rows that it lacks. So a copy that was
interrupted continues, and a second copy catches up with a journal that was in use meanwhile.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, Engine, Table, delete, func, make_url, select
from sqlalchemy.exc import ArgumentError

from churnops.errors import JournalError
from churnops.journal.database import IN_MEMORY, answering, exclusive, open_database
from churnops.journal.ordered_rows import PAGE, Values, content_hash, key_of, ordered_rows, row_count, write
from churnops.journal.partitions import MAX_MONTHS, make_partitions, months
from churnops.journal.tables import (
    api_keys,
    call_list_rows,
    call_lists,
    customers_history,
    customers_log,
    experiments,
    exposures_log,
    metadata,
    moment,
    newest_scores,
    newest_scores_state,
    online_rows,
    predictions,
    profiles,
    replicas,
)

TRANSIENT = {
    call_list_rows.name,
    call_lists.name,
    customers_log.name,
    customers_history.name,
    exposures_log.name,
    newest_scores.name,
    newest_scores_state.name,
    online_rows.name,
    profiles.name,
    replicas.name,
}
"""Tables whose rows are deleted or changed in use: the target gets exactly the rows of the source."""
MUTABLE = TRANSIENT | {api_keys.name, experiments.name}
"""Tables whose rows may change. In all others, a different row is another journal's."""


@dataclass(frozen=True)
class CopiedTable:
    """Numbers of rows: of the table, and of those that this call wrote; and the SHA-256 of all of them in order."""

    rows: int
    written: int
    sha256: str


def copy_journal(
    source: str, target: str, on_rows: Callable[[int, float], None] = lambda done, share: None
) -> dict[str, CopiedTable]:
    """Copy all rows of a journal, and check the copy; return the numbers of each table.

    The copy is the state of the source at the start of this call. The target may be empty, or an earlier copy.

    Parameters
    ----------
    source, target
        SQLAlchemy URLs.
    on_rows
        Called with the number of compared rows, and their share, in [0, 1].

    Raises
    ------
    JournalError
        If a database cannot be opened, the target has rows that the source lacks, or the copy differs from the source.
    """
    _check(source, target)
    with ExitStack() as opened, answering():
        old, new = (_opened(url, opened) for url in (source, target))
        reader = opened.enter_context(old.connect())
        if reader.dialect.name == "postgresql":
            reader.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        for table in metadata.sorted_tables:
            _refuse_others(reader, new, table)
        _make_partitions(reader, new)
        total, done = sum(row_count(reader, table) for table in metadata.sorted_tables), 0
        written: dict[str, int] = {}
        for table in metadata.sorted_tables:
            written[table.name] = 0
            for compared, changed in _copy_table(reader, new, table):
                done, written[table.name] = done + compared, written[table.name] + changed
                on_rows(done, done / max(total, 1))
        copied = {table.name: _verified(reader, new, table, written[table.name]) for table in metadata.sorted_tables}
        if any(written.values()):
            _vacuum(new)
        return copied


def _vacuum(target: Engine) -> None:
    """Give PostgreSQL's planner its statistics, and spare the first readers the work that follows a large write."""
    if target.dialect.name == "postgresql":
        with target.connect() as connection:
            connection.exec_driver_sql("COMMIT")  # VACUUM works outside of transactions only
            for table in metadata.sorted_tables:
                connection.exec_driver_sql(f"VACUUM (ANALYZE) {table.name}")


def _check(source: str, target: str) -> None:
    """Refuse a source that is missing, and a target that is the source."""
    try:
        urls = [make_url(url) for url in (source, target)]
    except ArgumentError:
        raise JournalError(
            "an address is not one of a database: use sqlite:///FILE or postgresql+psycopg://…"
        ) from None
    files = [Path(str(url.database)) if url.get_backend_name() == "sqlite" else None for url in urls]
    if files[0] and (urls[0].database in IN_MEMORY or not files[0].exists()):
        raise JournalError(f"there is no journal {files[0]}")
    if urls[0] == urls[1] or (files[0] and files[1] and files[1].exists() and files[0].samefile(files[1])):
        raise JournalError("both addresses are the same database: name another target")


def _opened(url: str, opened: ExitStack) -> Engine:
    engine = open_database(url, durability="process")
    opened.callback(engine.dispose)
    return engine


def _make_partitions(source: Connection, target: Engine) -> None:
    """Make PostgreSQL's partitions for the months of the source's predictions."""
    first, last = source.execute(select(func.min(predictions.c.at), func.max(predictions.c.at))).one()
    if target.dialect.name == "postgresql" and first is not None:
        with exclusive(target) as connection:
            make_partitions(connection, list(months(moment(first), moment(last)))[-MAX_MONTHS:])


def _refuse_others(source: Connection, target: Engine, table: Table) -> None:
    """Refuse a target with rows of another journal, before anything is written."""
    with target.connect() as reader:
        if row_count(reader, table) == 0:
            return
        others = 0
        for row, other in _differences(source, reader, table):
            others += other is not None and row is None and table.name not in TRANSIENT
            others += other is not None and row is not None and row != other and table.name not in MUTABLE
    if others:
        raise JournalError(
            f"the target is not a copy of the source: the source lacks {others:,} rows of its table {table.name}: name "
            "an empty database"
        )


def _copy_table(source: Connection, target: Engine, table: Table) -> Iterator[tuple[int, int]]:
    """Make a table of the target equal to the source's; yield the numbers of rows compared and written, by page."""
    with target.connect() as reader:
        differences = _differences(source, reader, table)
        while page := list(islice(differences, PAGE)):
            lacking = [row for row, other in page if row and not other]
            changed = [row for row, other in page if row and other and row != other]
            extra = [other for row, other in page if other and not row]
            if lacking or changed or extra:
                with target.begin() as connection:
                    _remove(connection, table, [*changed, *extra])
                    write(connection, table, [*changed, *lacking])
                    _continue_ids(connection, table)
            yield len(page) - len(extra), len(lacking) + len(changed)


def _differences(source: Connection, target: Connection, table: Table) -> Iterator[tuple[Values | None, Values | None]]:
    """Yield the rows of both tables side by side, in the order of their keys; None where a side lacks the key."""
    names = table.columns.keys()
    places = [names.index(name) for name in key_of(table)]
    lefts, rights = ordered_rows(source, table), ordered_rows(target, table)
    left, right = next(lefts, None), next(rights, None)
    while left or right:
        here, there = (tuple(row[place] for place in places) if row else None for row in (left, right))
        has_left = here is not None and (there is None or here <= there)
        has_right = there is not None and (here is None or there <= here)
        yield left if has_left else None, right if has_right else None
        left = next(lefts, None) if has_left else left
        right = next(rights, None) if has_right else right


def _remove(connection: Connection, table: Table, rows: list[Values]) -> None:
    names = table.columns.keys()
    for row in rows:
        values = dict(zip(names, row, strict=True))
        connection.execute(delete(table).where(*(table.c[name] == values[name] for name in key_of(table))))


def _continue_ids(connection: Connection, table: Table) -> None:
    """Let PostgreSQL number later rows after the copied ones."""
    key = table.autoincrement_column
    if connection.dialect.name == "postgresql" and key is not None:
        sequence = func.pg_get_serial_sequence(table.name, key.name)
        connection.execute(select(func.setval(sequence, select(func.max(key)).scalar_subquery())))


def _verified(source: Connection, target: Engine, table: Table, written: int) -> CopiedTable:
    with target.connect() as reader:
        ours, theirs = content_hash(source, table), content_hash(reader, table)
    if ours != theirs:
        raise JournalError(
            f"the copy is not complete: table {table.name} has other values, or {theirs[0]:,} rows instead of "
            f"{ours[0]:,}: stop what writes to the target, and type the command again"
        )
    return CopiedTable(ours[0], written, ours[1])
