"""The deployment log: periods of each model in production, and deployments that a killed process left open."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Connection, Engine, func, insert, select
from sqlalchemy.exc import IntegrityError

from churnops.journal.clock import in_utc, settle
from churnops.journal.database import answering
from churnops.journal.tables import cycles, deployments, microseconds, moment

Kind = Literal["deploy", "rollback"]
KIND_LABELS: Mapping[str, str] = {"deploy": "deployed", "rollback": "restored"}


@dataclass(frozen=True)
class Intent:
    """A deployment that is about to begin; attributes as in `Deployment`."""

    folder: str
    version: int
    content_sha256: str
    previous: str | None
    reason: str
    by: str
    kind: Kind = "deploy"


_INTENT = tuple(field.name for field in fields(Intent))


@dataclass(frozen=True)
class Deployment:
    """One deployment: the folder below `models/versions`, the registered version, and the reason.

    `at` is never in the future. A future time is replaced by the time of the next deployment. If the newest deployment
    has a future time, it gets the time of the first cycle that monitored it, or the present.
    `closed` is None while the intent is open, then "done" or "undone". `previous` is the folder deployed before.
    `kind` is "rollback" if the folder was deployed earlier; `by` is the user's name, None in rows of older versions.
    """

    id: int
    at: datetime
    folder: str
    version: int
    content_sha256: str
    previous: str | None
    reason: str
    kind: Kind
    by: str | None
    closed: str | None


@dataclass(frozen=True)
class InProduction:
    """A model's time in production, until the next deployment; `until` is None for the deployed model."""

    deployment: Deployment
    until: datetime | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        d, until = self.deployment, self.until
        return {
            "since": d.at.isoformat(),
            "until": until.isoformat() if until else None,
            "version": d.version,
            "folder": d.folder,
            "content_sha256": d.content_sha256,
            "kind": d.kind,
            "by": d.by,
            "reason": d.reason,
        }


def in_production(answered: Sequence[Deployment]) -> list[InProduction]:
    """Return each deployed model's time in production, oldest first.

    Parameters
    ----------
    answered : sequence of Deployment
        Deployments whose model answered requests, oldest first, from `registry.DeploymentFolder.answered`.
    """
    ends: list[datetime | None] = [*(deployment.at for deployment in answered[1:]), None]
    return [InProduction(deployment, until) for deployment, until in zip(answered, ends, strict=False)]


class DeploymentLog:
    """Append-only log of deployments. Safe for several processes: every call is one transaction."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def open_intent(self, intent: Intent) -> int:
        """Record a deployment that is about to begin; return the intent's id."""
        row = asdict(intent) | {"event": "intent", "reason": intent.reason[:2000], "by": intent.by[:200]}
        with answering():
            return self._append(row)

    def close(self, intent: Deployment, outcome: str) -> None:
        """Record that an intent was carried out ("done") or given up ("undone"). Repeating changes nothing."""
        row = {name: getattr(intent, name) for name in _INTENT}
        with answering(), suppress(IntegrityError):  # already closed, perhaps by another process
            self._append(row | {"event": outcome, "intent": intent.id})

    def get(self, intent_id: int) -> Deployment:
        """Return one deployment by its intent's id."""
        return next(deployment for deployment in self.history() if deployment.id == intent_id)

    def open_intents(self) -> list[Deployment]:
        """Return the unfinished deployments, oldest first."""
        return [deployment for deployment in self.history() if deployment.closed is None]

    def history(self) -> list[Deployment]:
        """Return every deployment, oldest first."""
        closing = deployments.alias()
        query = (
            select(deployments, closing.c.event.label("closed"))
            .outerjoin(closing, closing.c.intent == deployments.c.id)
            .where(deployments.c.event == "intent")
            .order_by(deployments.c.id)
        )
        with answering(), self._engine.connect() as connection:
            history = [_deployment(row) for row in connection.execute(query).mappings()]
            now = datetime.now(UTC)
            if history and history[-1].at > now:
                history[-1] = replace(history[-1], at=_first_watched(connection, history[-1].content_sha256, now))
        times = settle((microseconds(deployment.at) for deployment in reversed(history)), microseconds(now))
        return [replace(d, at=moment(at)) if d.at > now else d for d, at in zip(history, reversed(times), strict=True)]

    def _append(self, row: Mapping[str, Any]) -> int:
        with self._engine.begin() as connection:
            result = connection.execute(insert(deployments).values(at=datetime.now(UTC), **row))
            key = result.inserted_primary_key
            assert key is not None
            return int(key[0])


def _first_watched(connection: Connection, content_sha256: str, now: datetime) -> datetime:
    """Return the time of a model's first cycle after the last cycle of other models; now if there is none."""
    same, other = cycles.c.content_sha256 == content_sha256, cycles.c.content_sha256 != content_sha256
    before = select(func.coalesce(func.max(cycles.c.id), 0)).where(other).scalar_subquery()
    query = select(func.min(cycles.c.at)).where(same, cycles.c.id > before, cycles.c.at <= microseconds(now))
    first = connection.execute(query).scalar()
    return now if first is None else moment(first)


def _deployment(row: Mapping[Any, Any]) -> Deployment:
    return Deployment(at=in_utc(row["at"]), **{name: row[name] for name in ("id", *_INTENT, "closed")})
