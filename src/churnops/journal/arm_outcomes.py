"""Customers of a split with their outcomes, counted by arm."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine, Select, bindparam, func, select

from churnops.journal.database import answering
from churnops.journal.exposures import PART, Exposure, log_exposures, sort_exposures
from churnops.journal.outcomes import JOINED, Known, Outcomes, joined, resolve
from churnops.journal.tables import exposures, microseconds

PAGE = 20_000
"""Number of customers read in one transaction."""


class ArmCount(NamedTuple):
    """Numbers of the customers of an arm, and of those whom the champion answered in the challenger's place."""

    customers: int
    fell_back: int


class ExposedOutcomes(NamedTuple):
    """Customers of an experiment whose horizon has ended, in the order of its end.

    Attributes
    ----------
    challenger
        Whether each is in the challenger's arm, shape (n,).
    churned
        1 if the customer left within the horizon, 0 if not, NaN if this is unknown; shape (n,).
    """

    challenger: NDArray[np.bool_]
    churned: NDArray[np.float64]


class ExposureStore:
    """The table of exposures. Safe for several processes and threads.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, rows: Sequence[Exposure]) -> None:
        """Append rows to the log, in short transactions."""
        with answering():
            for start in range(0, len(rows), PART):
                with self._engine.begin() as connection:
                    log_exposures(connection, rows[start : start + PART])

    def count(self, experiment: int) -> tuple[ArmCount, ArmCount]:
        """Return the numbers of customers of the champion's and of the challenger's arm."""
        self._sort()
        table = exposures.c
        query = (
            select(table.challenger, table.fell_back, func.count())
            .where(table.experiment == experiment)
            .group_by(table.challenger, table.fell_back)
        )
        with answering(), self._engine.connect() as connection:
            counts = {(bool(challenger), bool(back)): n for challenger, back, n in connection.execute(query)}
        arms = (
            ArmCount(sum(n for (challenger, _), n in counts.items() if challenger is arm), counts.get((arm, True), 0))
            for arm in (False, True)
        )
        return next(arms), next(arms)

    def outcomes(self, experiment: int, horizon: timedelta, now: datetime) -> ExposedOutcomes:
        """Return the customers whose horizon has ended, with the outcomes that are known now.

        An outcome is derived from labels as for predictions: see `Journal.resolved`.
        """
        self._sort()
        known = Known(microseconds(now), microseconds(now), horizon // timedelta(microseconds=1))
        until = known.known_at - known.horizon
        at, churned, challenger = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0, np.bool_)]
        for outcomes, arms in self._pages(experiment, until, known):
            at.append(outcomes.at)
            churned.append(outcomes.churned)
            challenger.append(np.array(arms, dtype=np.bool_))
        order = np.argsort(np.concatenate(at), kind="stable")
        return ExposedOutcomes(np.concatenate(challenger)[order], np.concatenate(churned)[order])

    def _sort(self) -> None:
        while sort_exposures(self._engine):
            pass

    def _pages(self, experiment: int, until: int, known: Known) -> Iterator[tuple[Outcomes, Sequence[Any]]]:
        query, after = _page(self._engine.dialect.name), ""
        while True:
            values = {"experiment": experiment, "until": until, "after": after, **known._asdict()}
            with answering(), self._engine.connect() as connection:
                columns = list(zip(*connection.execute(query, values).tuples(), strict=True))
                if not columns:
                    return
                outcomes = resolve(connection, columns[:JOINED], known)
            yield outcomes, columns[JOINED]
            if len(outcomes.at) < PAGE:
                return
            after = columns[1][-1]


@cache
def _page(dialect: str) -> Select[Any]:
    """Select the next customers of an experiment, by id, with the labels that count."""
    source, first = joined(dialect, exposures)
    table = exposures.c
    return (
        select(*first, table.challenger)
        .select_from(source)
        .where(table.experiment == bindparam("experiment"), table.customer_id > bindparam("after"))
        .where(table.at <= bindparam("until"))
        .order_by(table.customer_id)
        .limit(PAGE)
    )
