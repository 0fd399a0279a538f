"""Health at a glance: can the model in production still be believed, since when, and what to do about it.

It follows from three things: how the newest monitoring cycles of this model ended, which alarms are not over, and when
somebody looked last. "Cannot tell" is an answer of its own, and never reads like good news.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

from churnops.app.shared.documents import mapping, number, text
from churnops.app.shared.text import percent
from churnops.journal.alerts import Firing
from churnops.journal.cycles import Cycle
from churnops.monitoring.budget import TRIGGER_LABELS
from churnops.monitoring.messages import MESSAGES
from churnops.settings import LIVE
from churnops.words import capital

Level = Literal["good", "watch", "bad", "untold"]

WORDS = {"good": "Healthy", "watch": "Look closer", "bad": "Act now", "untold": "Cannot tell"}
MONITOR = "Type `churnops monitor`"
_RANK = {"good": 0, "untold": 1, "watch": 2, "bad": 3}


@dataclass(frozen=True)
class Health:
    """The state of the model in production.

    Attributes
    ----------
    sentence
        Holds text from outside: to be escaped.
    todo
        What to do, in Markdown of our own; empty for nothing.
    since
        None if that is not known.
    also
        Sentences on what else is wrong, with text from outside.
    """

    level: Level
    sentence: str
    todo: str = ""
    since: datetime | None = None
    also: tuple[str, ...] = ()

    @property
    def word(self) -> str:
        """One word for the level, beside its colour."""
        return WORDS[self.level]


@dataclass(frozen=True)
class Production:
    """The model that answers, and since when; `deployed_at` is None if the log does not say."""

    content_sha256: str
    deployed_at: datetime | None = None


@dataclass(frozen=True)
class Limits:
    """What the settings call too much."""

    drift_rate: float
    age: timedelta


def judge(
    production: Production | None, cycles: Sequence[Cycle], firing: Sequence[Firing], limits: Limits, now: datetime
) -> Health:
    """Say how the model in production is.

    Parameters
    ----------
    cycles
        Newest first, failed ones too, of all sources, without those that nothing follows from. The state is that of
        live traffic, or of the newest cycle's source if nobody has looked at live traffic yet. Of others alarms count.
    firing
        Alarms that are not over. Those that were told before this model answered are about another one.
    """
    if production is None:
        return Health("untold", "No model is deployed, so there is nothing to watch.", "Type `churnops run`.")
    if not cycles:
        return Health(
            "untold",
            "Nobody has looked yet whether the model works in production.",
            f"{MONITOR}: it writes the first report.",
        )
    sources = {cycle.source: None for cycle in cycles}  # in this order
    examined = _with_customers(cycles) or cycles
    main = LIVE if any(cycle.source == LIVE for cycle in examined) else examined[0].source
    alarms = [f for f in firing if production.deployed_at is None or f.alert.at >= production.deployed_at]
    found: list[Health] = []
    mine: list[Cycle] = []
    for source in sources:
        theirs = [cycle for cycle in cycles if cycle.source == source]
        looked = [c for c in theirs if c.status == "finished" and c.content_sha256 == production.content_sha256]
        unresolved = [alarm for alarm in alarms if _source(alarm, main) == source]
        wrong = [*_failed(theirs), *_alarmed(unresolved, looked, limits)]
        if source == main:
            mine = _with_customers(looked) or looked
        else:
            wrong += _uncertain(looked, limits) if looked else []
            wrong = [replace(health, sentence=f"Source {source}: {health.sentence}") for health in wrong]
        found += wrong
    if mine:
        found += [*_uncertain(mine, limits), *_old(mine[0], limits, now), *_untold(mine)]
    else:
        found.append(
            Health(
                "untold",
                "The model in production is new: no report is about it yet.",
                f"{MONITOR} once it has answered some customers.",
                production.deployed_at,
            )
        )
    worst, *others = sorted(found, key=lambda health: -_RANK[health.level]) or [_good(mine, limits)]
    also = [other.sentence for other in others]
    if main != LIVE:
        also.append(f"All reports are of the source {main}: nobody has looked at what the API answers.")
    return replace(worst, also=tuple(also))


def _with_customers(cycles: Sequence[Cycle]) -> list[Cycle]:
    """Return the cycles that had customers or outcomes to examine, and those that failed."""
    return [c for c in cycles if c.status == "failed" or c.summary.get("rows") or _performance(c).get("labelled")]


def _source(firing: Firing, main: str) -> str:
    """Return whose customers an alarm is about; one that is about none, such as a failed retraining, concerns all."""
    notice = firing.alert.notice
    return main if notice.subject == "retraining_failed" else notice.source


def _failed(cycles: Sequence[Cycle]) -> list[Health]:
    if cycles[0].status != "failed":
        return []
    since = _run(cycles, lambda cycle: cycle.status == "failed")
    why = text(cycles[0].summary.get("error")) or "no reason is recorded"
    return [
        Health(
            "bad",
            f"The model is not watched: the newest monitoring cycle failed ({why}).",
            f"{MONITOR} by hand and follow what it says.",
            since,
        )
    ]


def _alarmed(alarms: Sequence[Firing], mine: Sequence[Cycle], limits: Limits) -> list[Health]:
    """Return what the triggers of the newest report and the open alarms say; worst first."""
    begun = {f.alert.notice.subject: f.since for f in alarms if not _over(f, mine, limits)}
    found = []
    for name in (*MESSAGES, "retraining_failed"):
        level, sentence, todo = _trigger_message(name) if name in MESSAGES else _RETRAINING_FAILED
        if mine and _fired(mine[0], name) is True:
            since = _run(mine, partial(_fires, name))
            since = min(since, begun.get(name, since))
            found.append(Health(level, sentence.format(_measured(mine[0], name)), todo, since))
        elif name in begun:
            still = "" if name == "retraining_failed" else " No report since says that it is over."
            found.append(Health(level, sentence.format("") + still, todo, begun[name]))
    return found


def _trigger_message(name: str) -> tuple[Level, str, str]:
    message = MESSAGES[name]
    return _LEVELS[message.severity], message.event + "{}.", message.todo


def _over(firing: Firing, mine: Sequence[Cycle], limits: Limits) -> bool:
    """Whether a later report says that there is nothing to an alarm, though nobody could be told that it is over."""
    name = firing.alert.notice.subject
    if not mine or mine[0].at < firing.alert.at:
        return False
    return _fired(mine[0], name) is False and name not in _waiting(mine[0], limits)


_LEVELS: Mapping[str, Level] = {"critical": "bad", "warning": "watch"}
_RETRAINING_FAILED: tuple[Level, str, str] = (
    "bad",
    "The last retraining failed.",
    "*Models* says why, and which model answers. Then type `churnops retrain` and follow what it says.",
)


def _measured(cycle: Cycle, name: str) -> str:
    if name == "performance":
        auc = number(mapping(mapping(_performance(cycle).get("metrics")).get("roc_auc")).get("value"))
        return "" if auc is None else f": ROC-AUC is {auc:.3f}"
    rate = number(cycle.summary.get("drift_rate"))
    return f": {percent(rate)} of the columns drifted" if name == "feature_drift" and rate is not None else ""


def _uncertain(mine: Sequence[Cycle], limits: Limits) -> list[Health]:
    """Return what is as big as an alarm asks, and not certain."""
    waiting = _waiting(mine[0], limits)
    if not waiting:
        return []
    since = _run(mine, lambda cycle: bool(_waiting(cycle, limits)))
    what = _joined([MESSAGES[name].doubt for name in waiting])
    sentence = f"{capital(what)}, but the evidence is not enough to act on yet."
    return [Health("watch", sentence, "Nothing yet: the next reports will tell.", since)]


def _waiting(cycle: Cycle, limits: Limits) -> list[str]:
    rate = number(cycle.summary.get("drift_rate"))
    big = {
        "performance": _performance(cycle).get("verdict") == "below",
        "feature_drift": rate is not None and rate > limits.drift_rate,
        "prediction_drift": mapping(cycle.summary.get("prediction_drift")).get("drifted") is True,
        "target_drift": mapping(cycle.summary.get("target_drift")).get("drifted") is True,
    }
    return [name for name, is_big in big.items() if is_big and _fired(cycle, name) is not True]


def _old(newest: Cycle, limits: Limits, now: datetime) -> list[Health]:
    age = now - newest.at
    if age <= limits.age:
        return []
    return [
        Health(
            "watch",
            f"The newest report on customers of this model is {age.days} days old.",
            f"{MONITOR}, or let `churnops monitor --every 1d` run; check that predictions reach the journal.",
            newest.at + limits.age,
        )
    ]


def _untold(mine: Sequence[Cycle]) -> list[Health]:
    untold = [name for name in TRIGGER_LABELS if _fired(mine[0], name) is None]
    if not untold:
        return []
    since = _run(mine, lambda cycle: any(_fired(cycle, name) is None for name in TRIGGER_LABELS))
    seen = _performance(mine[0])
    labelled, due = number(seen.get("labelled")), number(seen.get("due"))
    if set(untold) <= {"performance", "target_drift"}:
        known = "" if labelled is None or due is None else f": {labelled:,.0f} of {due:,.0f} outcomes due are known"
        return [
            Health(
                "untold",
                f"Whether predictions come true cannot be told yet{known}.",
                "Send outcomes to the API as customers leave or stay; without them only drift is watched.",
                since,
            )
        ]
    what = _joined([TRIGGER_LABELS[name] for name in untold])
    return [
        Health(
            "untold",
            f"There is too little to judge by: {what} cannot be told.",
            "Wait for more customers, or look further back with `churnops monitor --window 30d`.",
            since,
        )
    ]


def _good(mine: Sequence[Cycle], limits: Limits) -> Health:
    def fine(cycle: Cycle) -> bool:
        return all(_fired(cycle, name) is False for name in TRIGGER_LABELS) and not _waiting(cycle, limits)

    since = _run(mine, fine)
    rate = number(mine[0].summary.get("drift_rate"))
    drifted = f" {percent(rate)} of the columns drifted, which is too few to act on." if rate else ""
    sentence = "The model can be believed: it performs as it must, and customers are like those it was trained on."
    return Health("good", sentence + drifted, "", since)


def _run(cycles: Sequence[Cycle], holds: Callable[[Cycle], bool]) -> datetime:
    """Return since when something has held without a break, as of the newest cycle."""
    since = cycles[0].at
    for cycle in cycles:
        if not holds(cycle):
            break
        since = cycle.at
    return since


def _fires(name: str, cycle: Cycle) -> bool:
    return _fired(cycle, name) is True


def _fired(cycle: Cycle, name: str) -> bool | None:
    """Return whether a trigger fired; None if it cannot be told, or the summary does not say."""
    fired = mapping(mapping(cycle.summary.get("recommend_retraining")).get("triggers")).get(name)
    return fired if isinstance(fired, bool) else None


def _performance(cycle: Cycle) -> Any:
    return mapping(cycle.summary.get("performance"))


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
