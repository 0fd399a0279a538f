"""Texts of the Models page: periods in production, versions, and the gate's decisions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from churnops.evaluation.metrics import METRIC_LABELS
from churnops.journal import Deployment, RecordedDecision
from churnops.journal.deployment_log import InProduction
from churnops.retraining.document import SummaryDocument
from churnops.retraining.gain import round_up
from churnops.retraining.gate import VERDICT_LABELS
from churnops.untrusted import count, mapping, number, text
from churnops.words import capital

MAX_GUARDS = 10


@dataclass(frozen=True)
class Version:
    """A deployed or trained version; `first`, `last` and `total` are None if it was never in production."""

    version: int
    model: str
    state: str
    first: datetime | None
    last: datetime | None
    total: timedelta | None
    kept: bool


@dataclass(frozen=True)
class GuardShown:
    """A metric that must not get much worse for a challenger to be deployed."""

    name: str
    champion: float | None
    challenger: float | None
    tolerance: float | None
    held: bool


@dataclass(frozen=True)
class Comparison:
    """The gate's decision on a challenger, with texts as recorded; a number is None if it is not known.

    `values` are two values of the metric: the champion's and the challenger's.
    """

    at: datetime
    verdict: str
    reason: str
    champion: str
    challenger: str
    metric: str
    values: tuple[float | None, float | None]
    gain: float | None
    low: float | None
    high: float | None
    min_improvement: float | None
    confidence: float | None
    rows: int | None
    churned: int | None
    labels_needed: int | None
    guards: tuple[GuardShown, ...]

    @property
    def more_labels(self) -> int | None:
        """Estimated number of labels still missing for a verdict; None if not known or if none are missing."""
        if self.labels_needed is None or self.rows is None or self.labels_needed <= self.rows:
            return None
        return self.labels_needed - self.rows

    @property
    def sentence(self) -> str:
        """The verdict in words and the next step, without text from outside."""
        verdict = VERDICT_LABELS.get(
            self.verdict, "this version of churnops does not know the verdict: upgrade churnops"
        )
        sentence = f"{capital(verdict)}."
        if self.more_labels is not None:
            sentence += f" About {round_up(self.more_labels):,} more customers with known outcomes would decide it."
        elif self.verdict == "cannot tell":
            sentence += " Send more outcomes, and train again."
        broken = [guard.name for guard in self.guards if not guard.held]
        if broken and self.verdict != "deploy":
            sentence += f" The challenger is too much worse in {' and '.join(broken)}."
        return sentence


def model_name(deployment: Deployment) -> str:
    """Return the model's name as in the API's answers: family and first digits of the content hash.

    The family comes from the folder's name, `<time>-<family>-v<version>`.
    """
    return f"{deployment.folder.partition('-')[2].rpartition('-v')[0]}-{deployment.content_sha256[:12]}".lstrip("-")


def since_words(span: timedelta) -> str:
    """Return a duration in words.

    >>> [since_words(timedelta(seconds=s)) for s in (5, 60, 7300, 86400, 86400 * 40)]
    ['less than a minute', '1 minute', '2 hours', '1 day', '40 days']
    """
    for seconds, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        n = int(span.total_seconds() // seconds)
        if n >= 1:
            return f"{n:,} {unit}{'' if n == 1 else 's'}"
    return "less than a minute"


def clock(at: datetime | None) -> str:
    """Return a time in UTC for tables; it sorts as text.

    >>> clock(datetime(2026, 11, 24, 14, 5, tzinfo=UTC))
    '2026-11-24 14:05'
    """
    return "unknown" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def versions(
    periods: Sequence[InProduction], kept: Collection[str], summaries: Sequence[SummaryDocument], now: datetime
) -> list[Version]:
    """Return deployed versions and challengers of retraining runs, newest first.

    Parameters
    ----------
    periods
        Periods in production, oldest first; the last one is the deployed model's.
    kept
        Names of the folders that still exist.
    summaries
        Retraining runs. Their challengers are listed even if they were never in production.
    """
    by_model: dict[tuple[int, str], Version] = {}
    for period in periods:
        d = period.deployment
        key, until = (d.version, d.content_sha256), period.until or now
        before = by_model.get(key)
        span = max(until - d.at, timedelta())
        by_model[key] = Version(
            d.version,
            model_name(d),
            "in production now" if period.until is None else "was in production",
            before.first if before else d.at,
            until,
            (before.total or timedelta()) + span if before else span,
            d.folder in kept or (before is not None and before.kept),
        )
    names = {(v.version, v.model) for v in by_model.values()}
    for summary in summaries:
        if summary.version and summary.challenger and (summary.version, summary.challenger) not in names:
            names.add((summary.version, summary.challenger))
            key = (summary.version, summary.challenger)
            state = f"never in production ({summary.status})"
            by_model[key] = Version(summary.version, summary.challenger, state, None, None, None, False)
    return sorted(
        by_model.values(), key=lambda v: (v.version, v.first or datetime.min.replace(tzinfo=UTC)), reverse=True
    )


def known_models(periods: Sequence[InProduction], summaries: Sequence[SummaryDocument]) -> dict[str, str]:
    """Map the first 12 digits of each model's content hash to the model's name."""
    names = {s.challenger.rpartition("-")[2]: s.challenger for s in summaries if s.challenger}
    for period in periods:
        d = period.deployment
        names[d.content_sha256[:12]] = f"version {d.version} ({model_name(d)})"
    return names


def comparison(decision: RecordedDecision, names: Mapping[str, str]) -> Comparison:
    """Return a recorded decision for the page; details of an unexpected type are left out.

    Parameters
    ----------
    names
        Names of models, from `known_models`.
    """

    def name(sha256: str | None) -> str:
        return "none" if sha256 is None else names.get(sha256[:12], sha256[:12])

    details = mapping(decision.details)
    guards = details.get("guards")
    metric = text(details.get("metric"))
    return Comparison(
        at=decision.at,
        verdict=decision.verdict,
        reason=decision.reason,
        champion=name(decision.champion),
        challenger=name(decision.challenger),
        metric=METRIC_LABELS.get(metric, ""),
        values=(number(details.get("champion")), number(details.get("challenger"))),
        gain=number(details.get("gain")),
        low=number(details.get("low")),
        high=number(details.get("high")),
        min_improvement=number(details.get("min_improvement")),
        confidence=number(details.get("confidence")),
        rows=count(details.get("rows")),
        churned=count(details.get("churned")),
        labels_needed=count(details.get("labels_needed")),
        guards=tuple(_guard(mapping(guard)) for guard in guards[:MAX_GUARDS]) if isinstance(guards, list) else (),
    )


def _guard(details: Mapping[str, object]) -> GuardShown:
    name = text(details.get("name"))
    return GuardShown(
        METRIC_LABELS.get(name, "unknown metric"),
        number(details.get("champion")),
        number(details.get("challenger")),
        number(details.get("tolerance")),
        details.get("held") is True,
    )
