"""States of the replicas of the service, compared with the deployed model."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Literal

from churnops.journal.replicas import REPORT_SECONDS, ReplicaProcess

AWAY = timedelta(seconds=3 * REPORT_SECONDS)
"""Time without a report after which a process counts as away: three reports are missing."""

FOLLOW = timedelta(seconds=30)
"""Time in which every replica should answer with a new deployment."""

State = Literal["current", "behind", "refusing", "away"]
_WORST_FIRST: Sequence[State] = ("refusing", "behind", "current", "away")


@dataclass(frozen=True)
class Replica:
    """One replica: the workers of one `churnops serve`.

    Attributes
    ----------
    process
        The worker that decides the state: of those that are not away, the first that does not answer with the deployed
        model.
    state
        `current`: every worker answers with the deployed model. `refusing`: a worker refuses it. `behind`: a worker
        answers with another model, or with none. `away`: no worker has reported for 15 seconds.
    workers
        Number of workers that are not away; of an away replica, the number of its last workers.
    silent
        Time since the last report of `process`.
    """

    process: ReplicaProcess
    state: State
    workers: int
    silent: timedelta

    @property
    def name(self) -> str:
        """Host and address, such as `api-1 0.0.0.0:8000`."""
        return f"{self.process.host} {self.process.address}".strip()

    @property
    def description(self) -> str:
        """The name, and the reason why it does not answer with the deployed model."""
        answering = f"answers with {self.process.model_version or 'no model'}"
        reason = f": {self.process.refused}" if self.process.refused else ""
        return {
            "current": f"{self.name} {answering}",
            "behind": f"{self.name} {answering}{reason}",
            "refusing": f"{self.name} refuses it{reason}",
            "away": f"{self.name} last reported {self.silent.total_seconds():.0f} s ago",
        }[self.state]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        process = self.process
        names = ("host", "address", "pid", "churnops", "folder", "model_version", "content_sha256", "refused")
        return {
            "state": self.state,
            "workers": self.workers,
            **{name: getattr(process, name) for name in names},
            "loaded_at": process.loaded_at.isoformat() if process.loaded_at else None,
            "started_at": process.started_at.isoformat(),
            "silent_seconds": round(self.silent.total_seconds(), 3),
        }


def replicas_of(processes: Iterable[tuple[ReplicaProcess, timedelta]], deployed: str | None) -> list[Replica]:
    """Return each replica and its state, from the processes by host and address.

    Parameters
    ----------
    deployed
        Name of the deployed version folder; None if no model is deployed.
    """
    groups = groupby(processes, lambda one: (one[0].host, one[0].address))
    return [_replica(list(group), deployed) for _, group in groups]


def _replica(processes: Sequence[tuple[ReplicaProcess, timedelta]], deployed: str | None) -> Replica:
    states = [(_state(process, silent, deployed), silent, process) for process, silent in processes]
    present = [one for one in states if one[0] != "away"] or states
    state, silent, process = min(present, key=lambda one: (_WORST_FIRST.index(one[0]), one[1]))
    return Replica(process, state, len(present), silent)


def _state(process: ReplicaProcess, silent: timedelta, deployed: str | None) -> State:
    if silent >= AWAY:
        return "away"
    if process.folder == deployed:
        return "current"
    return "refusing" if process.refused and process.followed == deployed else "behind"


def late(replicas: Iterable[Replica], since: datetime | None, now: datetime) -> list[Replica]:
    """Return the replicas that should answer with the deployed model by now, and do not.

    Parameters
    ----------
    since
        Time of the last deployment; None if it is unknown.
    """
    if since is not None and now - since < FOLLOW:
        return []
    return [replica for replica in replicas if replica.state in ("behind", "refusing")]


def summary_of(replicas: Sequence[Replica]) -> str:
    """Return in one line how many replicas answer with the deployed model, and why the others do not."""
    if not replicas:
        return "no replica of the service has reported to the journal"
    current = sum(replica.state == "current" for replica in replicas)
    others = [replica.description for replica in replicas if replica.state != "current"]
    return "; ".join([f"replicas that answer with it: {current} of {len(replicas)}", *others])
