"""The table of shadow scores: what both models of an experiment say about the champion's customers."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine, Select, bindparam, func, or_, select

from churnops.journal.database import answering
from churnops.journal.inserts import insert_rows
from churnops.journal.outcomes import JOINED, Known, Outcomes, joined, resolve
from churnops.journal.tables import microseconds, shadow_scores

PAGE = 20_000
"""Number of scores read in one transaction."""


class ShadowScore(NamedTuple):
    """Both models' scores of a customer whom the champion answered.

    `id` and `at` are the prediction's; `at` is in microseconds since 1970. `customer_id` is None for a request without
    an id. `champion` and `challenger` are probabilities of churn, in [0, 1].
    """

    id: str
    experiment: int
    at: int
    customer_id: str | None
    champion: float
    challenger: float


class DueScores(NamedTuple):
    """A page of scores whose label horizon has ended, in the order of their times: arrays of shape (n,)."""

    outcomes: Outcomes
    customers: Sequence[str | None]
    ids: Sequence[str]
    champion: NDArray[np.float64]
    challenger: NDArray[np.float64]


class ShadowScores:
    """The table of shadow scores. Safe for several processes and threads.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, scores: Sequence[ShadowScore]) -> None:
        """Write scores in one transaction, without those that are in the journal already."""
        with answering(), self._engine.begin() as connection:
            insert_scores(connection, scores)

    def count(self, experiment: int) -> int:
        """Return the number of an experiment's scores."""
        query = select(func.count()).where(shadow_scores.c.experiment == experiment)
        with answering(), self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def due(self, experiment: int, horizon: timedelta, now: datetime) -> Iterator[DueScores]:
        """Yield an experiment's scores whose horizon has ended, with the outcomes that are known at the time `now`.

        An outcome is derived from labels as for predictions: see `Journal.resolved`.
        """
        known = Known(microseconds(now), microseconds(datetime.now(UTC)), horizon // timedelta(microseconds=1))
        query = _page(self._engine.dialect.name)
        place: dict[str, Any] = {"experiment": experiment, "until": known.known_at - known.horizon, "at": 0, "id": ""}
        while True:
            with answering(), self._engine.connect() as connection:
                columns = list(zip(*connection.execute(query, place | known._asdict()).tuples(), strict=True))
                if not columns:
                    return
                outcomes = resolve(connection, columns[:JOINED], known)
            ids, champion, challenger = columns[JOINED:]
            yield DueScores(outcomes, columns[1], ids, np.array(champion), np.array(challenger))
            place |= {"at": columns[0][-1], "id": ids[-1]}


def insert_scores(connection: Connection, scores: Sequence[ShadowScore]) -> None:
    """Insert scores in the caller's transaction, without those that are in the journal already."""
    insert_rows(connection, shadow_scores.name, ShadowScore._fields, scores, skip_known=True)


@cache
def _page(dialect: str) -> Select[Any]:
    """Select an experiment's next scores after (`at`, `id`), with the labels that count."""
    source, first = joined(dialect, shadow_scores)
    table = shadow_scores.c
    return (
        select(*first, table.id, table.champion, table.challenger)
        .select_from(source)
        .where(table.experiment == bindparam("experiment"), table.at <= bindparam("until"))
        .where(table.at >= bindparam("at"), or_(table.at > bindparam("at"), table.id > bindparam("id")))
        .order_by(table.at, table.id)
        .limit(PAGE)
    )
