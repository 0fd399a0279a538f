"""Layouts in the journal: written before the first prediction that is packed by them, read once by each process."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, select

from churnops.errors import JournalError
from churnops.journal.database import answering
from churnops.journal.inserts import insert_rows
from churnops.journal.layouts import Layout
from churnops.journal.tables import layouts, predictions

_read: dict[int, Layout] = {}  # an id stands for the same layout in every journal
_KNOWN = "layouts"  # key of a connection's set of layouts that the database has


def keep_layouts(connection: Connection, used: Iterable[Layout]) -> None:
    """Write layouts that the database lacks, in the caller's transaction."""
    known: set[int] = connection.connection.info.setdefault(_KNOWN, set())
    for id_, layout in {layout.id: layout for layout in used}.items():
        if id_ in known:
            continue
        # A layout that this transaction writes is not known yet: the transaction may be rolled back. No SELECT comes
        # first, because SQLite would then not wait for another writer.
        row = (id_, layout.model_version, layout.content_sha256, layout.document)
        if not insert_rows(connection, layouts.name, tuple(layouts.c.keys()), [row], skip_known=True):
            known.add(id_)


def read_layouts(engine: Engine, ids: Iterable[int]) -> dict[int, Layout]:
    """Return layouts by id.

    Raises
    ------
    JournalError
        If the database does not answer, or lacks one of them.
    """
    wanted = set(ids)
    if wanted <= _read.keys():
        return {id_: _read[id_] for id_ in wanted}
    with answering(), engine.connect() as connection:
        return layouts_of(connection, wanted)


def layouts_of(connection: Connection, ids: Iterable[int]) -> dict[int, Layout]:
    """Return layouts by id, in the caller's transaction.

    Raises
    ------
    JournalError
        If the database lacks one of them.
    """
    wanted = set(ids)
    if unread := wanted - _read.keys():
        rows = connection.execute(select(layouts.c.id, layouts.c.document).where(layouts.c.id.in_(unread)))
        _read.update((row.id, Layout.read(row.document)) for row in rows)
    if wanted - _read.keys():
        raise JournalError("the journal is damaged: it lacks the layouts of some predictions")
    return {id_: _read[id_] for id_ in wanted}


def answered_by(content_sha256: Any) -> ColumnElement[bool]:
    """Return the condition that a prediction comes from the model with this content, a text or a parameter."""
    return predictions.c.layout.in_(select(layouts.c.id).where(layouts.c.content_sha256 == content_sha256))
