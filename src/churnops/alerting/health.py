"""Health of the deployed model: its state, the state's beginning, and the next step.

The state follows from three facts: newest monitoring cycles of this model, open alarms, and age of the newest report.
"Cannot tell" is an answer of its own and never reads like good news.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal

from churnops.journal import Deployment
from churnops.journal.alerts import Firing
from churnops.journal.cycles import Cycle
from churnops.model import Bundle
from churnops.monitoring.budget import TRIGGER_LABELS
from churnops.monitoring.messages import MESSAGES
from churnops.settings import LIVE, MonitoringSettings
from churnops.untrusted import mapping, number, text
from churnops.words import capital, percent

Level = Literal["good", "watch", "bad", "unknown"]

WORDS = {"good": "Healthy", "watch": "Look closer", "bad": "Act now", "unknown": "Cannot tell"}
MONITOR = "Type `churnops monitor`"
NO_CUSTOMERS = (
    "Score customers with `churnops serve`, which records them (`churnops predict` does not), or examine a file: "
    "`churnops monitor --batch FILE`"
)
"""Next step after a cycle without customers."""
_RANK = {"good": 0, "unknown": 1, "watch": 2, "bad": 3}


@dataclass(frozen=True)
class Health:
    """State of the deployed model.

    Attributes
    ----------
    sentence
        Main sentence; it may contain text from outside, to be escaped.
    todo
        Next step in Markdown, without text from outside; empty if there is none.
    since
        Beginning of the state; None if not known.
    also
        Sentences on other problems, with text from outside.
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


def health_of(
    bundle: Bundle | None,
    answered: Sequence[Deployment],
    cycles: Sequence[Cycle],
    firing: Sequence[Firing],
    settings: MonitoringSettings,
) -> Health:
    """Return the health of the deployed model at present; see `judge`.

    Parameters
    ----------
    answered
        Deployments that reached the link swap, oldest first.
    """
    model = None
    if bundle is not None:
        logged = bool(answered) and answered[-1].content_sha256 == bundle.content_sha256
        model = Production(bundle.content_sha256, answered[-1].at if logged else None)
    limits = Limits(settings.drift_rate_threshold, timedelta(days=settings.window_days))
    return judge(model, cycles, firing, limits, datetime.now(UTC))


@dataclass(frozen=True)
class Production:
    """The deployed model; `deployed_at` is None if the deployment log lacks it."""

    content_sha256: str
    deployed_at: datetime | None = None


@dataclass(frozen=True)
class Limits:
    """Limits from the settings: highest drift rate, and highest age of the newest report."""

    drift_rate: float
    age: timedelta


def judge(
    production: Production | None, cycles: Sequence[Cycle], firing: Sequence[Firing], limits: Limits, now: datetime
) -> Health:
    """Return the health of the deployed model.

    Parameters
    ----------
    cycles
        Cycles of all sources, newest first, with failed ones and without report-only ones. The main source is live
        traffic, or the newest cycle's source if live traffic has no cycle. The other sources add only failed cycles,
        alarms and uncertain changes.
    firing
        Open alarms. Those raised before this model was deployed are about another model, so they are ignored.
    """
    if production is None or not cycles:
        return _unmonitored(deployed=production is not None)
    examined = _with_customers(cycles) or cycles
    main = LIVE if any(cycle.source == LIVE for cycle in examined) else examined[0].source
    alarms = [f for f in firing if production.deployed_at is None or f.alert.at >= production.deployed_at]
    states: list[Health] = []
    reports: list[Cycle] = []
    for source in dict.fromkeys(cycle.source for cycle in cycles):
        all_cycles = [cycle for cycle in cycles if cycle.source == source]
        own = [c for c in all_cycles if c.status == "finished" and c.content_sha256 == production.content_sha256]
        unresolved = [alarm for alarm in alarms if _source(alarm, main) == source]
        problems = [*_failed(all_cycles), *_alarmed(unresolved, own, limits)]
        if source == main:
            reports = _with_customers(own) or own
        else:
            problems += _uncertain(own, limits) if own else []
            problems = [replace(health, sentence=f"Source {source}: {health.sentence}") for health in problems]
        states += problems
    if reports:
        states += [*_uncertain(reports, limits), *_old(reports[0], limits, now), *_unjudged(reports)]
    else:
        states.append(_new(production))
    worst, *others = sorted(states, key=lambda health: -_RANK[health.level]) or [_good(reports, limits)]
    also = [other.sentence for other in others]
    if main != LIVE:
        also.append(f"All reports are on the source {main}; no report is on the API's customers.")
    return replace(worst, also=tuple(also))


def _unmonitored(*, deployed: bool) -> Health:
    if not deployed:
        return Health("unknown", "No model is deployed, so there is nothing to monitor.", "Type `churnops run`.")
    sentence = "There is no monitoring report yet, so the model's health is unknown."
    return Health("unknown", sentence, f"{MONITOR} for the first report.")


def _new(production: Production) -> Health:
    return Health(
        "unknown",
        "The deployed model is new: no report covers it yet.",
        f"{MONITOR} after it has scored some customers.",
        production.deployed_at,
    )


def _with_customers(cycles: Sequence[Cycle]) -> list[Cycle]:
    """Return the cycles that had customers or outcomes to examine, and those that failed."""
    return [c for c in cycles if c.status == "failed" or c.summary.get("rows") or _performance(c).get("labelled")]


def _source(firing: Firing, main: str) -> str:
    """Return the source of an alarm; a failed retraining has none, so its alarm belongs to `main`."""
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
            f"The model is not monitored: the newest monitoring cycle failed ({why}).",
            f"{MONITOR} and follow its message.",
            since,
        )
    ]


def _alarmed(alarms: Sequence[Firing], reports: Sequence[Cycle], limits: Limits) -> list[Health]:
    """Return the states from the triggers of the newest report and from open alarms, worst first."""
    begun = {f.alert.notice.subject: f.since for f in alarms if not _over(f, reports, limits)}
    states = []
    for name in (*MESSAGES, "retraining_failed"):
        level, sentence, todo = _trigger_message(name) if name in MESSAGES else _RETRAINING_FAILED
        if reports and _fired(reports[0], name) is True:
            since = _run(reports, partial(_fires, name))
            since = min(since, begun.get(name, since))
            states.append(Health(level, sentence.format(_measured(reports[0], name)), todo, since))
        elif name in begun:
            still = "" if name == "retraining_failed" else " No later report shows that the alarm has ended."
            states.append(Health(level, sentence.format("") + still, todo, begun[name]))
    return states


def _trigger_message(name: str) -> tuple[Level, str, str]:
    message = MESSAGES[name]
    return _LEVELS[message.severity], message.event + "{}.", message.todo


def _over(firing: Firing, reports: Sequence[Cycle], limits: Limits) -> bool:
    """Return whether the newest report clears an open alarm, although no recovery was sent for it."""
    name = firing.alert.notice.subject
    if not reports or reports[0].at < firing.alert.at:
        return False
    return _fired(reports[0], name) is False and name not in _waiting(reports[0], limits)


_LEVELS: Mapping[str, Level] = {"critical": "bad", "warning": "watch"}
_RETRAINING_FAILED: tuple[Level, str, str] = (
    "bad",
    "The last retraining failed.",
    "*Models* shows the reason and the deployed model. Then type `churnops retrain` and follow its message.",
)


def _measured(cycle: Cycle, name: str) -> str:
    if name == "performance":
        auc = number(mapping(mapping(_performance(cycle).get("metrics")).get("roc_auc")).get("value"))
        return "" if auc is None else f": ROC-AUC is {auc:.3f}"
    rate = number(cycle.summary.get("drift_rate"))
    return f": {percent(rate)} of the columns drifted" if name == "feature_drift" and rate is not None else ""


def _uncertain(reports: Sequence[Cycle], limits: Limits) -> list[Health]:
    """Return the state for changes that are large enough for an alarm but not certain."""
    waiting = _waiting(reports[0], limits)
    if not waiting:
        return []
    since = _run(reports, lambda cycle: bool(_waiting(cycle, limits)))
    doubts = _joined([MESSAGES[name].doubt for name in waiting])
    sentence = f"{capital(doubts)}, but there is not enough evidence yet."
    return [Health("watch", sentence, "No action yet: wait for the next reports.", since)]


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


def _unjudged(reports: Sequence[Cycle]) -> list[Health]:
    unjudged = [name for name in TRIGGER_LABELS if _fired(reports[0], name) is None]
    if not unjudged:
        return []
    since = _run(reports, lambda cycle: any(_fired(cycle, name) is None for name in TRIGGER_LABELS))
    if reports[0].summary.get("rows") == 0:
        return [Health("unknown", "No customer has been examined yet.", f"{NO_CUSTOMERS}.", since)]
    performance = _performance(reports[0])
    labelled, due = number(performance.get("labelled")), number(performance.get("due"))
    if set(unjudged) <= {"performance", "target_drift"}:
        known = f": {labelled:,.0f} of {due:,.0f} due outcomes are known" if due and labelled is not None else ""
        return [
            Health(
                "unknown",
                f"The performance is not known yet{known}.",
                "Send outcomes with `POST /labels` as customers leave or stay; without them, only drift is monitored.",
                since,
            )
        ]
    labels = _joined([TRIGGER_LABELS[name] for name in unjudged])
    return [
        Health(
            "unknown",
            f"There is too little data to judge {labels}.",
            "Wait for more customers, or use a longer window: `churnops monitor --window 30d`.",
            since,
        )
    ]


def _good(reports: Sequence[Cycle], limits: Limits) -> Health:
    def fine(cycle: Cycle) -> bool:
        return all(_fired(cycle, name) is False for name in TRIGGER_LABELS) and not _waiting(cycle, limits)

    since = _run(reports, fine)
    rate = number(reports[0].summary.get("drift_rate"))
    drifted = f" {percent(rate)} of the columns drifted, too few to act on." if rate else ""
    sentence = "The scores are reliable: performance is as expected, and customers are like those in training."
    return Health("good", sentence + drifted, "", since)


def _run(cycles: Sequence[Cycle], holds: Callable[[Cycle], bool]) -> datetime:
    """Return the time of the oldest cycle in the unbroken run of newest cycles for which `holds` is true."""
    since = cycles[0].at
    for cycle in cycles:
        if not holds(cycle):
            break
        since = cycle.at
    return since


def _fires(name: str, cycle: Cycle) -> bool:
    return _fired(cycle, name) is True


def _fired(cycle: Cycle, name: str) -> bool | None:
    """Return whether a trigger or caution fired; None if it could not be tested or is missing in the summary."""
    triggers = mapping(mapping(cycle.summary.get("recommend_retraining")).get("triggers"))
    fired = triggers.get(name, mapping(cycle.summary.get("cautions")).get(name))
    return fired if isinstance(fired, bool) else None


def _performance(cycle: Cycle) -> Any:
    return mapping(cycle.summary.get("performance"))


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
