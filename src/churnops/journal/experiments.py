"""The table of experiments: a registered version against the deployed model, on live customers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn

from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from churnops.errors import JournalError
from churnops.journal.database import answering, exclusive
from churnops.journal.tables import experiments, microseconds, moment

Kind = Literal["shadow", "split"]
State = Literal["running", "success", "futility", "stopped"]


@dataclass(frozen=True)
class Experiment:
    """A comparison of a challenger with the deployed model on live customers.

    Attributes
    ----------
    id
        Number from 1; 0 before the experiment is in the journal.
    kind
        `shadow`: the challenger scores customers whom the champion answers. `split`: it answers some of them.
    champion, challenger
        Content hashes of the deployed model and of the challenger.
    champion_name, challenger_name
        Names of both models in answers, such as `xgboost-a0b1c2d3e4f5`.
    version
        Registered version of the challenger.
    folder
        Name of the version folder with the challenger's files.
    share
        Share of the customers that take part, in (0, 1].
    by, why
        Who started it, and for what reason; empty without a reason.
    state
        `running`; `success` or `futility` if the evidence ended it; `stopped` if a person or a failure did.
    ended_by, ended_why
        Who or what ended it, and the reason; None while it runs.
    details
        Further facts, in JSON types.
    """

    kind: Kind
    champion: str
    challenger: str
    champion_name: str
    challenger_name: str
    version: int
    folder: str
    share: float
    started_at: datetime
    by: str
    why: str = ""
    state: State = "running"
    ended_at: datetime | None = None
    ended_by: str | None = None
    ended_why: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    id: int = 0


class ExperimentStore:
    """The table of experiments, of which one at most is running. Safe for several processes and threads.

    Raises
    ------
    JournalError
        By every call, if the database does not answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def start(self, experiment: Experiment) -> Experiment:
        """Add an experiment and return it with its id.

        Raises
        ------
        JournalError
            If an experiment is running: two at once would change each other's customers.
        """
        row = {name: value for name, value in vars(experiment).items() if name != "id"}
        row |= {"started_at": microseconds(experiment.started_at), "details": _text(experiment.details)}
        with answering(), exclusive(self._engine) as connection:
            if (other := _running(connection)) is not None:
                self.refuse_second(other)
            added = connection.execute(insert(experiments).returning(experiments.c.id), row)
            return replace(experiment, id=added.scalar_one())

    @staticmethod
    def refuse_second(running: Experiment) -> NoReturn:
        """Raise `JournalError`, because an experiment is running."""
        raise JournalError(
            f"{running.kind} {running.id} of version {running.version} is running: `churnops {running.kind} stop` "
            "ends it"
        )

    def end(
        self, experiment_id: int, state: State, by: str, why: str, details: Mapping[str, Any] | None = None
    ) -> bool:
        """End a running experiment; return False if it has ended already.

        Parameters
        ----------
        details
            Facts that are added to those of the experiment.
        """
        with answering(), exclusive(self._engine) as connection:
            running = _running(connection)
            if running is None or running.id != experiment_id:
                return False
            ended = {"state": state, "ended_at": microseconds(datetime.now(UTC)), "ended_by": by, "ended_why": why}
            ended["details"] = _text({**running.details, **(details or {})})
            connection.execute(update(experiments).where(experiments.c.id == experiment_id).values(ended))
            return True

    def note(self, experiment_id: int, details: Mapping[str, Any]) -> None:
        """Add facts to an experiment's details; those of the same names are replaced."""
        with answering(), exclusive(self._engine) as connection:
            _write(connection, experiment_id, details)

    def note_once(self, experiment_id: int, name: str, fact: Any) -> bool:
        """Add a fact to an experiment's details; return False if there is one of this name already."""
        with answering(), exclusive(self._engine) as connection:
            if name in _details(connection, experiment_id):
                return False
            _write(connection, experiment_id, {name: fact})
            return True

    def count(self, experiment_id: int, counts: Mapping[str, int]) -> Mapping[str, Any]:
        """Add counts to those in an experiment's details; return the details."""
        with answering(), exclusive(self._engine) as connection:
            known = _details(connection, experiment_id)
            return _write(connection, experiment_id, {name: known.get(name, 0) + n for name, n in counts.items()})

    def running(self, kind: Kind | None = None) -> Experiment | None:
        """Return the running experiment; None if there is none, or it is of another kind."""
        with answering(), self._engine.connect() as connection:
            running = _running(connection)
        return running if running is not None and kind in (None, running.kind) else None

    def get(self, experiment_id: int) -> Experiment | None:
        """Return an experiment; None if there is no such id."""
        with answering(), self._engine.connect() as connection:
            row = connection.execute(select(experiments).where(experiments.c.id == experiment_id)).first()
        return None if row is None else _experiment(row)

    def place(self, experiment: Experiment) -> int:
        """Return the place of an experiment among those of its kind with its champion: 1 for the first."""
        table = experiments.c
        query = select(func.count()).where(
            table.kind == experiment.kind, table.champion == experiment.champion, table.id <= experiment.id
        )
        with answering(), self._engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def first_start(self, kind: Kind, champion: str) -> datetime | None:
        """Return the start of the first experiment of a kind with a champion; None if there is none."""
        table = experiments.c
        query = select(func.min(table.started_at)).where(table.kind == kind, table.champion == champion)
        with answering(), self._engine.connect() as connection:
            at = connection.execute(query).scalar()
        return None if at is None else moment(at)

    def newest(self, limit: int = 1, *, kind: Kind | None = None, champion: str | None = None) -> list[Experiment]:
        """Return the last `limit` experiments of a kind and of a champion's content hash, newest first."""
        query = select(experiments).order_by(experiments.c.id.desc()).limit(limit)
        if kind is not None:
            query = query.where(experiments.c.kind == kind)
        if champion is not None:
            query = query.where(experiments.c.champion == champion)
        with answering(), self._engine.connect() as connection:
            return [_experiment(row) for row in connection.execute(query)]


def _running(connection: Connection) -> Experiment | None:
    row = connection.execute(select(experiments).where(experiments.c.state == "running")).first()
    return None if row is None else _experiment(row)


def _details(connection: Connection, experiment_id: int) -> dict[str, Any]:
    query = select(experiments.c.details).where(experiments.c.id == experiment_id)
    details: dict[str, Any] = json.loads(connection.execute(query).scalar_one())
    return details


def _write(connection: Connection, experiment_id: int, changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Replace some details of an experiment; return all of them."""
    details = {**_details(connection, experiment_id), **changes}
    connection.execute(update(experiments).where(experiments.c.id == experiment_id).values(details=_text(details)))
    return details


def _experiment(row: Row[Any]) -> Experiment:
    values = dict(row._mapping)
    times = {name: None if values[name] is None else moment(values[name]) for name in ("started_at", "ended_at")}
    return Experiment(**values | times | {"details": json.loads(values["details"])})


def _text(details: Mapping[str, Any]) -> str:
    return json.dumps(details, allow_nan=False)
