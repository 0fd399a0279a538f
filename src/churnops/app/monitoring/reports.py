"""A monitoring report as the dashboard shows it: read within bounds from a file that the journal names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from churnops.app.shared.documents import count, mapping, moment, number, read_document, text
from churnops.app.shared.text import percent
from churnops.errors import DataError
from churnops.evaluation.metrics import METRIC_LABELS
from churnops.monitoring.budget import REASON_PREFIXES, TRIGGERS
from churnops.settings import LIVE
from churnops.words import capital

FILE_NAME = re.compile(r"monitoring_report_(\d{8}T\d{6}\.\d{6}Z)\.json")
MAX_BYTES = 32 * 2**20  # a table of 2,000 columns has a report of 3 MB
MAX_COLUMNS, MAX_HISTORY = 5000, 50


@dataclass(frozen=True)
class Measured:
    """A metric with its interval, as far as it is known."""

    value: float | None
    low: float | None
    high: float | None

    @property
    def told(self) -> bool:
        """Whether there is an interval to draw."""
        return None not in (self.value, self.low, self.high)


@dataclass(frozen=True)
class Performance:
    """How predictions came true; `line` is the ROC-AUC that it must not fall below, `promised` that of training."""

    reason: str
    below: bool | None
    line: float | None
    promised: float | None
    due: int | None
    labelled: int | None
    metrics: Mapping[str, Measured]

    @property
    def coverage(self) -> float | None:
        """Share of the outcomes due that are known."""
        return self.labelled / self.due if self.due and self.labelled is not None else None


@dataclass(frozen=True)
class Past:
    """ROC-AUC of an earlier window, with the outcomes that were known when the report was made."""

    since: datetime
    until: datetime
    labelled: int | None
    due: int | None
    roc_auc: Measured


@dataclass(frozen=True)
class Finding:
    """What a test says of a column."""

    name: str
    test: str
    effect: float | None
    p_value: float | None
    drifted: bool | None
    reason: str
    linked_to: str


@dataclass(frozen=True)
class Trigger:
    """A condition that recommends retraining; `big` and not `fired` is not certain yet."""

    name: str
    big: bool | None
    fired: bool | None
    reason: str

    @property
    def verdict(self) -> str:
        """The verdict in two words."""
        if self.fired is None:
            return "cannot tell"
        return "fired" if self.fired else "not certain yet" if self.big else "not fired"

    @property
    def why(self) -> str:
        """The reason as a sentence, without the trigger's name at its front."""
        start, _, rest = self.reason.partition(": ")
        return f"{capital(rest if start in REASON_PREFIXES.values() else self.reason)}."


@dataclass(frozen=True)
class ReportDetails:
    """Values of a report, of the expected types; all texts are from outside.

    `acts_as` is the source that it counts for, None if nothing follows from it.
    """

    file: str
    at: datetime | None
    model: str
    content_sha256: str
    source: str
    acts_as: str | None
    simulated: bool
    past: bool
    rows: int | None
    performance: Performance
    history: tuple[Past, ...]
    drift_rate: float | None
    drift_reason: str
    columns: tuple[Finding, ...]
    scores: Finding
    outcomes: Finding
    recommended: bool
    triggers: tuple[Trigger, ...]

    @property
    def aside(self) -> str:
        """Why nothing follows from it; empty if it acts for a source."""
        if self.acts_as is not None:
            return ""
        return "simulated" if self.simulated else "of the past" if self.past else "of a file without a source"

    @property
    def page(self) -> str:
        """Name of the page that was written beside it."""
        return self.file.removesuffix(".json") + ".html"

    @property
    def batch(self) -> str:
        """Name of the file of its customers."""
        return self.file.replace("monitoring_report_", "production_batch_").removesuffix(".json") + ".csv"


def read_report(folder: Path, name: str) -> ReportDetails:
    """Read a report by the name that the journal has for it.

    Raises
    ------
    DataError
        If that is no report's name, or the file is missing or damaged, in a sentence that says what is still there.
    """
    if not FILE_NAME.fullmatch(name):
        raise DataError(f"{name[:80]!r}, as the journal has it, is no report's name: it is not opened")
    path = folder / name
    if not path.is_file():
        raise DataError(f"{name} is not in {folder} any more: only what the journal has of it is shown")
    try:
        return parse_report(name, read_document(path, MAX_BYTES))
    except ValueError as error:
        raise DataError(f"{name} cannot be shown: {error}; only what the journal has of it is shown") from None


def parse_report(name: str, document: Mapping[str, Any]) -> ReportDetails:
    """Take what is shown out of a report's document.

    Raises
    ------
    ValueError
        If it is no report.
    """
    drift, recommended = mapping(document.get("feature_drift")), mapping(document.get("recommend_retraining"))
    if not drift or not recommended:
        raise ValueError("it is no monitoring report")
    performance = mapping(document.get("performance"))
    columns = [_finding(column) for column in _items(drift.get("columns"), MAX_COLUMNS)]
    return ReportDetails(
        file=name,
        at=moment(document.get("timestamp")),
        model=text(document.get("model_version")),
        content_sha256=text(document.get("content_sha256")),
        source=text(document.get("source")),
        acts_as=_acts_as(document),
        simulated=document.get("simulated") is True,
        past=document.get("past") is True,
        rows=count(document.get("rows")),
        performance=_performance(performance),
        history=tuple(filter(None, map(_past, _items(performance.get("history"), MAX_HISTORY)))),
        drift_rate=number(drift.get("drift_rate")),
        drift_reason=text(drift.get("reason")),
        columns=tuple(column for column in columns if column.name),
        scores=_finding(mapping(document.get("prediction_drift"))),
        outcomes=_finding(mapping(document.get("target_drift"))),
        recommended=recommended.get("value") is True,
        triggers=tuple(map(_trigger, _items(recommended.get("triggers"), TRIGGERS))),
    )


def _acts_as(document: Mapping[str, Any]) -> str | None:
    """Return the source of a report; those written before there were sources counted as live traffic."""
    if "acts_as" in document:
        return text(document["acts_as"]) or None
    return None if True in (document.get("simulated"), document.get("past")) else LIVE


def interval_text(measured: Measured, digits: int = 3) -> str:
    """Return a metric's interval in words.

    >>> interval_text(Measured(0.9, 0.85, 0.95))
    'between 0.850 and 0.950'
    """
    return (
        f"between {measured.low:.{digits}f} and {measured.high:.{digits}f}" if measured.told else "interval not known"
    )


def performance_sentence(found: Performance) -> str:
    """Say how good the model is against its line and its promise; holds text from outside only where it cannot tell."""
    auc = found.metrics.get("roc_auc")
    if auc is None or auc.value is None or found.below is None:
        return f"Whether predictions come true cannot be told: {found.reason or 'the report does not say why'}."
    against = "" if found.line is None else f", {'below' if found.below else 'not below'} the line of {found.line:.3f}"
    promise = "" if found.promised is None else f"; {found.promised:.3f} was promised when it was trained"
    return f"ROC-AUC is {auc.value:.3f} ({interval_text(auc)}){against}{promise}."


def coverage_sentence(found: Performance) -> str:
    """Say how many outcomes are known of those that are due."""
    if not found.due or found.labelled is None or found.coverage is None:
        return "No outcome is due yet: a customer counts only after the label horizon has passed."
    return f"{found.labelled:,} of {found.due:,} outcomes due are known ({percent(found.coverage)})."


def recommendation_sentence(details: ReportDetails) -> str:
    """Say whether retraining is recommended, and what follows."""
    kind = f" The customers are {details.aside}, so nothing follows from it." if details.aside else ""
    if details.recommended:
        return "Retraining is recommended." + kind
    fired = [trigger.fired for trigger in details.triggers]
    waiting = sum(trigger.big is True and trigger.fired is False for trigger in details.triggers)
    if fired and all(one is None for one in fired):
        return "Whether to retrain cannot be told." + kind
    parts = ["Retraining is not recommended: no condition for it is met"]
    if waiting:
        parts.append(f"{waiting} of {len(fired)} would be, but {'is' if waiting == 1 else 'are'} not certain yet")
    if None in fired:
        parts.append(f"{fired.count(None)} of {len(fired)} cannot be told")
    return "; ".join(parts) + "." + kind


def _performance(found: Mapping[str, Any]) -> Performance:
    labels, metrics = mapping(found.get("labels")), mapping(found.get("metrics"))
    return Performance(
        reason=text(found.get("reason")),
        below={"below": True, "not below": False}.get(text(found.get("verdict"))),
        line=number(found.get("line")),
        promised=number(mapping(found.get("promised")).get("roc_auc")),
        due=count(labels.get("due")),
        labelled=count(labels.get("labelled")),
        metrics={name: _measured(mapping(metrics[name])) for name in METRIC_LABELS if name in metrics},
    )


def _measured(found: Mapping[str, Any]) -> Measured:
    return Measured(number(found.get("value")), number(found.get("low")), number(found.get("high")))


def _past(found: Mapping[str, Any]) -> Past | None:
    window, labels = mapping(found.get("window")), mapping(found.get("labels"))
    since, until = moment(window.get("since")), moment(window.get("until"))
    if since is None or until is None:
        return None
    return Past(since, until, count(labels.get("labelled")), count(labels.get("due")), _measured(found))


def _finding(found: Mapping[str, Any]) -> Finding:
    return Finding(
        text(found.get("name")),
        text(found.get("test")),
        number(found.get("effect")),
        number(found.get("p_value")),
        _verdict(found.get("drifted")),
        text(found.get("reason")),
        text(found.get("linked_to")),
    )


def _trigger(found: Mapping[str, Any]) -> Trigger:
    name = text(found.get("name"))
    return Trigger(name, _verdict(found.get("big")), _verdict(found.get("fired")), text(found.get("reason")))


def _verdict(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _items(value: object, most: int) -> list[Mapping[str, Any]]:
    return [mapping(item) for item in value[:most]] if isinstance(value, list) else []
