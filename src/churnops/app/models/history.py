"""What the Models page says: what was in production when, which versions there are, and what the gate decided."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from churnops.app.shared.documents import count, mapping, number, text
from churnops.evaluation.metrics import METRIC_LABELS
from churnops.journal import Deployment, RecordedDecision
from churnops.journal.deployment_log import InProduction
from churnops.retraining.document import SummaryDocument
from churnops.retraining.gain import round_up
from churnops.retraining.gate import VERDICT_LABELS
from churnops.words import capital

MOST_GUARDS = 10


@dataclass(frozen=True)
class Version:
    """A version that was in production or was trained to be; `first`, `last` and `total` are None if it never was."""

    version: int
    model: str
    state: str
    first: datetime | None
    last: datetime | None
    total: timedelta | None
    kept: bool


@dataclass(frozen=True)
class GuardShown:
    """A metric that may not get much worse, whatever else is gained."""

    name: str
    champion: float | None
    challenger: float | None
    tolerance: float | None
    held: bool


@dataclass(frozen=True)
class Comparison:
    """A decision of the gate on a challenger; None is what it could not tell. Texts are as they were recorded."""

    at: datetime
    verdict: str
    reason: str
    champion: str
    challenger: str
    metric: str
    worth: tuple[float | None, float | None]
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
        """Labels that are missing for a verdict, about."""
        if self.labels_needed is None or self.rows is None or self.labels_needed <= self.rows:
            return None
        return self.labels_needed - self.rows

    @property
    def sentence(self) -> str:
        """The verdict in words, and what to do; all of it ours."""
        verdict = VERDICT_LABELS.get(self.verdict, "this verdict is not known to this version of churnops")
        said = f"{capital(verdict)}."
        if self.more_labels is not None:
            said += f" About {round_up(self.more_labels):,} more customers with known outcomes would settle it."
        elif self.verdict == "cannot tell":
            said += " Send more outcomes, and train again."
        broken = [guard.name for guard in self.guards if not guard.held]
        if broken and self.verdict != "deploy":
            said += f" The challenger is too much worse in {' and '.join(broken)}."
        return said


def model_name(deployment: Deployment) -> str:
    """Return the model's name as answers give it: family and the first digits of its content's hash.

    The family is that of the folder's name, `<time>-<family>-v<version>`.
    """
    return f"{deployment.folder.partition('-')[2].rpartition('-v')[0]}-{deployment.content_sha256[:12]}".lstrip("-")


def since_words(span: timedelta) -> str:
    """Return how long something lasted, as one says it.

    >>> [since_words(timedelta(seconds=s)) for s in (5, 60, 7300, 86400, 86400 * 40)]
    ['less than a minute', '1 minute', '2 hours', '1 day', '40 days']
    """
    for seconds, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        n = int(span.total_seconds() // seconds)
        if n >= 1:
            return f"{n:,} {unit}{'' if n == 1 else 's'}"
    return "less than a minute"


def clock(at: datetime | None) -> str:
    """Return a time as tables show it, in UTC; it sorts as text.

    >>> clock(datetime(2026, 11, 24, 14, 5, tzinfo=UTC))
    '2026-11-24 14:05'
    """
    return "unknown" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def versions(
    spells: Sequence[InProduction], kept: Collection[str], summaries: Sequence[SummaryDocument], now: datetime
) -> list[Version]:
    """Return the versions that were in production or were trained to be, newest first.

    Parameters
    ----------
    spells
        What was in production from when to when, oldest first; the last one answers now.
    kept
        Names of the folders that are still there.
    summaries
        Retrainings: their challengers are listed too if they never were in production.
    """
    found: dict[tuple[int, str], Version] = {}
    for spell in spells:
        d = spell.deployment
        key, until = (d.version, d.content_sha256), spell.until or now
        before = found.get(key)
        span = max(until - d.at, timedelta())
        found[key] = Version(
            d.version,
            model_name(d),
            "answers now" if spell.until is None else "was in production",
            before.first if before else d.at,
            until,
            (before.total or timedelta()) + span if before else span,
            d.folder in kept or (before is not None and before.kept),
        )
    names = {(v.version, v.model) for v in found.values()}
    for summary in summaries:
        if summary.version and summary.challenger and (summary.version, summary.challenger) not in names:
            names.add((summary.version, summary.challenger))
            key = (summary.version, summary.challenger)
            state = f"never in production ({summary.status})"
            found[key] = Version(summary.version, summary.challenger, state, None, None, None, False)
    return sorted(found.values(), key=lambda v: (v.version, v.first or datetime.min.replace(tzinfo=UTC)), reverse=True)


def known_models(spells: Sequence[InProduction], summaries: Sequence[SummaryDocument]) -> dict[str, str]:
    """Return names of models by the first 12 digits of their content's hash."""
    found = {s.challenger.rpartition("-")[2]: s.challenger for s in summaries if s.challenger}
    for spell in spells:
        d = spell.deployment
        found[d.content_sha256[:12]] = f"version {d.version} ({model_name(d)})"
    return found


def comparison(decision: RecordedDecision, names: Mapping[str, str]) -> Comparison:
    """Return a recorded decision on a deployment as the page shows it, whatever its details are.

    Parameters
    ----------
    names
        Of models, as `known_models` returns them.
    """

    def name(sha256: str | None) -> str:
        return "none" if sha256 is None else names.get(sha256[:12], sha256[:12])

    said = mapping(decision.details)
    guards = said.get("guards")
    metric = text(said.get("metric"))
    return Comparison(
        at=decision.at,
        verdict=decision.verdict,
        reason=decision.reason,
        champion=name(decision.champion),
        challenger=name(decision.challenger),
        metric=METRIC_LABELS.get(metric, ""),
        worth=(number(said.get("champion")), number(said.get("challenger"))),
        gain=number(said.get("gain")),
        low=number(said.get("low")),
        high=number(said.get("high")),
        min_improvement=number(said.get("min_improvement")),
        confidence=number(said.get("confidence")),
        rows=count(said.get("rows")),
        churned=count(said.get("churned")),
        labels_needed=count(said.get("labels_needed")),
        guards=tuple(_guard(mapping(guard)) for guard in guards[:MOST_GUARDS]) if isinstance(guards, list) else (),
    )


def _guard(said: Mapping[str, object]) -> GuardShown:
    name = text(said.get("name"))
    return GuardShown(
        METRIC_LABELS.get(name, "a metric that is not known here"),
        number(said.get("champion")),
        number(said.get("challenger")),
        number(said.get("tolerance")),
        said.get("held") is True,
    )
