"""A monitoring report as the dashboard shows it: read within bounds from a file that the journal names."""

import re
from dataclasses import dataclass
from pathlib import Path

from churnops.app.shared.documents import read_document
from churnops.app.shared.text import percent
from churnops.errors import DataError
from churnops.monitoring.document import IntervalPart, PerformancePart, ReportDocument

FILE_NAME = re.compile(r"monitoring_report_(\d{8}T\d{6}\.\d{6}Z)\.json")
MAX_BYTES = 32 * 2**20  # a table of 2,000 columns has a report of 3 MB


@dataclass(frozen=True)
class ReportFile:
    """A report and the name of its file; all texts are from outside."""

    name: str
    report: ReportDocument

    @property
    def batch(self) -> str:
        """Name of the file of its customers."""
        return self.name.replace("monitoring_report_", "production_batch_").removesuffix(".json") + ".csv"


def read_report(folder: Path, name: str) -> ReportFile:
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
        return ReportFile(name, ReportDocument.read(read_document(path, MAX_BYTES)))
    except ValueError as error:
        raise DataError(f"{name} cannot be shown: {error}; only what the journal has of it is shown") from None


def interval_text(measured: IntervalPart, digits: int = 3) -> str:
    """Return a metric's interval in words.

    >>> interval_text(IntervalPart(value=0.9, low=0.85, high=0.95))
    'between 0.850 and 0.950'
    """
    if not measured.complete:
        return "interval not known"
    return f"between {measured.low:.{digits}f} and {measured.high:.{digits}f}"


def performance_sentence(found: PerformancePart) -> str:
    """Say how good the model is against its line and its promise; holds text from outside only where it cannot tell."""
    auc = found.known_metrics.get("roc_auc")
    if auc is None or auc.value is None or found.below is None:
        return f"Whether predictions come true cannot be told: {found.reason or 'the report does not say why'}."
    against = "" if found.line is None else f", {'below' if found.below else 'not below'} the line of {found.line:.3f}"
    promise = "" if found.promised_auc is None else f"; {found.promised_auc:.3f} was promised when it was trained"
    return f"ROC-AUC is {auc.value:.3f} ({interval_text(auc)}){against}{promise}."


def coverage_sentence(found: PerformancePart) -> str:
    """Say how many outcomes are known of those that are due."""
    if found.coverage is None:
        return "No outcome is due yet: a customer counts only after the label horizon has passed."
    return f"{found.labels.labelled:,} of {found.labels.due:,} outcomes due are known ({percent(found.coverage)})."


def recommendation_sentence(report: ReportDocument) -> str:
    """Say whether retraining is recommended, and what follows."""
    kind = f" The customers are {report.report_only}, so nothing follows from it." if report.report_only else ""
    if report.recommend_retraining.value:
        return "Retraining is recommended." + kind
    fired = [trigger.fired for trigger in report.recommend_retraining.triggers]
    waiting = sum(trigger.big is True and trigger.fired is False for trigger in report.recommend_retraining.triggers)
    if fired and all(one is None for one in fired):
        return "Whether to retrain cannot be told." + kind
    parts = ["Retraining is not recommended: no condition for it is met"]
    if waiting:
        parts.append(f"{waiting} of {len(fired)} would be, but {'is' if waiting == 1 else 'are'} not certain yet")
    if None in fired:
        parts.append(f"{fired.count(None)} of {len(fired)} cannot be told")
    return "; ".join(parts) + "." + kind
