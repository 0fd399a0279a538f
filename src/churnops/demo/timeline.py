"""Timeline of a demonstration, read from the journal: predictions and outcomes, cycles, alerts, decisions, deployments.

Only the time of the change comes from the demonstration itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from churnops.evaluation.delong import AUC, delong
from churnops.journal import DeploymentLog, Engine, Journal
from churnops.journal.alerts import AlertLog
from churnops.journal.cycles import CycleLog
from churnops.journal.decisions import DecisionLog

LIMIT = 1000  # cycles, decisions and alerts read, far more than a demonstration has

Kind = Literal["cycle", "alert", "retrain", "gate", "deployment"]


@dataclass(frozen=True)
class Answered:
    """Customers in the order of their arrival, with prediction and outcome.

    Attributes
    ----------
    at, score, churned
        Shape (n,): seconds since 1970, probabilities, and 1 churned, 0 stayed, NaN not known.
    model
        Version name of the model that scored each customer.
    """

    at: NDArray[np.float64]
    model: tuple[str, ...]
    score: NDArray[np.float64]
    churned: NDArray[np.float64]

    def between(self, since: datetime, until: datetime | None = None) -> "Answered":
        """Return the customers who arrived from `since` on and before `until`."""
        end = np.inf if until is None else until.timestamp()
        return self._chosen((self.at >= since.timestamp()) & (self.at < end))

    def resolved(self) -> "Answered":
        """Return the customers with a known outcome."""
        return self._chosen(~np.isnan(self.churned))

    def of(self, model: str) -> "Answered":
        """Return the customers scored by one model."""
        return self._chosen(np.array([one == model for one in self.model], dtype=np.bool_))

    def auc(self) -> AUC:
        """Return the ROC-AUC on the customers with a known outcome."""
        known = self.resolved()
        return delong(known.churned, known.score)

    def _chosen(self, chosen: NDArray[np.bool_]) -> "Answered":
        model = tuple(one for one, kept in zip(self.model, chosen.tolist(), strict=True) if kept)
        return Answered(self.at[chosen], model, self.score[chosen], self.churned[chosen])


@dataclass(frozen=True)
class Slice:
    """Consecutive customers of one model with known outcomes."""

    since: datetime
    until: datetime
    model: str
    customers: int
    auc: AUC


@dataclass(frozen=True)
class Event:
    """Event of the journal. `good` is None if it is neither good nor bad news."""

    at: datetime
    kind: Kind
    text: str
    good: bool | None = None
    subject: str = ""


@dataclass(frozen=True)
class Recovery:
    """Recovery from a change.

    Attributes
    ----------
    model
        Version name of the new model.
    at
        Time of its first prediction.
    customers
        Customers who arrived between the change and that time.
    before, meanwhile, after
        ROC-AUC on the customers before the change, in between, and after the new model's first prediction.
    measured
        Customers that `after` is measured on.
    """

    model: str
    at: datetime
    customers: int
    before: AUC
    meanwhile: AUC
    after: AUC
    measured: int


@dataclass(frozen=True)
class Timeline:
    """A whole demonstration. `began` is the first arrival; `recovery` is None if no new model was deployed."""

    began: datetime
    ended: datetime
    changed: datetime
    drift: float
    slices: tuple[Slice, ...]
    events: tuple[Event, ...]
    recovery: Recovery | None
    customers: int

    def seconds(self, at: datetime) -> float:
        """Return the seconds from the first arrival until `at`."""
        return (at - self.began).total_seconds()


def read_timeline(engine: Engine, *, label_horizon: timedelta, changed: datetime, drift: float, size: int) -> Timeline:
    """Read the timeline from the journal of a finished demonstration.

    Parameters
    ----------
    size
        Customers in a slice; a model's last slice has up to half more or less.
    """
    now = datetime.now(UTC)
    everyone = read_answers(Journal(engine, label_horizon=label_horizon), datetime.fromtimestamp(0, UTC), now)
    return Timeline(
        began=_moment(everyone.at[0]),
        ended=_moment(everyone.at[-1]),
        changed=changed,
        drift=drift,
        slices=cut(everyone, changed, size),
        events=read_events(engine),
        recovery=measure_recovery(everyone, changed),
        customers=everyone.at.size,
    )


def read_answers(journal: Journal, since: datetime, until: datetime) -> Answered:
    """Read the predictions from `since` on and before `until`, with the outcomes that are known now."""
    rows = list(journal.resolved(since, until, datetime.now(UTC)))
    return Answered(
        at=np.array([one.row.at.timestamp() for one in rows], dtype=np.float64),
        model=tuple(one.row.layout.model_version for one in rows),
        score=np.array([one.row.churn_probability for one in rows], dtype=np.float64),
        churned=np.array([np.nan if one.churned is None else one.churned for one in rows], dtype=np.float64),
    )


def cut(answered: Answered, changed: datetime, size: int) -> tuple[Slice, ...]:
    """Cut customers with known outcomes into slices of `size`, each of one model and one side of the change.

    A part smaller than half a slice is left out: its ROC-AUC would be too uncertain.

    Examples
    --------
    >>> at = np.arange(400.0)
    >>> churned = np.tile([0.0, 1.0, np.nan, 0.0], 100)
    >>> made = Answered(at, ("a",) * 200 + ("b",) * 200, np.linspace(0.1, 0.9, 400), churned)
    >>> [(one.model, one.customers) for one in cut(made, datetime.fromtimestamp(100, UTC), 60)]
    [('a', 75), ('a', 75), ('b', 60), ('b', 60), ('b', 30)]
    """
    known = answered.resolved()
    sides = [(model, at >= changed.timestamp()) for model, at in zip(known.model, known.at.tolist(), strict=True)]
    slices: list[Slice] = []
    start = 0
    for (model, _), part in groupby(sides):
        end = start + sum(1 for _ in part)
        edges = list(range(start, end, size))
        if len(edges) > 1 and end - edges[-1] < size / 2:
            edges.pop()
        for first, last in zip(edges, [*edges[1:], end], strict=True):
            if last - first >= size / 2:
                auc = delong(known.churned[first:last], known.score[first:last])
                times = _moment(known.at[first]), _moment(known.at[last - 1])
                slices.append(Slice(*times, model, last - first, auc))
        start = end
    return tuple(slices)


def measure_recovery(answered: Answered, changed: datetime) -> Recovery | None:
    """Compare the times before the change, until the last model's start and after it; None if no model is new.

    The customer of its first prediction is left out of `after`: it was drawn before the new model was known.
    """
    before, later = answered.between(_moment(0.0), changed), answered.between(changed)
    models = list(dict.fromkeys(later.model))
    if not models or models[-1] in before.model:
        return None
    first = later.model.index(models[-1])
    at = _moment(later.at[first])
    since = later.of(models[-1]).between(at + timedelta(microseconds=1))
    meanwhile = later.between(changed, at)
    return Recovery(models[-1], at, first, before.auc(), meanwhile.auc(), since.auc(), since.resolved().at.size)


def read_events(engine: Engine, after: datetime | None = None) -> tuple[Event, ...]:
    """Read cycles, alerts, decisions and finished deployments after a time, oldest first."""
    events = [
        Event(
            cycle.at,
            "cycle",
            "retraining recommended" if _recommended(cycle.summary) else "nothing to do",
            cycle.status == "finished" and not _recommended(cycle.summary),
        )
        for cycle in CycleLog(engine).newest(LIMIT)
    ]
    for decision in DecisionLog(engine).newest(LIMIT):
        kind: Kind = "retrain" if decision.subject == "retrain" else "gate"
        good = {"deploy": True, "keep": None, "cannot tell": None, "yes": True, "no": None}.get(decision.verdict)
        events.append(Event(decision.at, kind, f"{decision.verdict}: {decision.reason}", good, decision.verdict))
    for done in DeploymentLog(engine).history():
        if done.closed == "done":
            events.append(Event(done.at, "deployment", f"{done.folder}: {done.reason}", True, done.folder))
    for alert in (logged.alert for logged in AlertLog(engine).newest(LIMIT)):
        notice = alert.notice
        good = notice.state == "recovered" if notice.state != "event" else None
        events.append(Event(alert.at, "alert", notice.title, good, notice.subject))
    if after is not None:
        events = [event for event in events if event.at > after]
    return tuple(sorted(events, key=lambda event: event.at))


def first(events: Sequence[Event], kind: Kind, since: datetime, **wanted: object) -> Event | None:
    """Return the first event of a kind since a time with the wanted attributes; None if there is none."""
    return next(
        (
            event
            for event in events
            if event.kind == kind and event.at >= since and all(getattr(event, k) == v for k, v in wanted.items())
        ),
        None,
    )


def _recommended(summary: object) -> bool:
    return isinstance(summary, dict) and bool(summary.get("recommend_retraining", {}).get("value"))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)
