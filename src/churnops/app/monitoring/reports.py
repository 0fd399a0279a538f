"""A monitoring report for the dashboard: read within limits from a file that the journal names."""

import re
from dataclasses import dataclass
from pathlib import Path

from churnops.errors import DataError
from churnops.monitoring.document import IntervalPart, PerformancePart, ReportDocument
from churnops.untrusted import read_document
from churnops.words import percent

FILE_NAME = re.compile(r"monitoring_report_(\d{8}T\d{6}\.\d{6}Z)\.json")
MAX_BYTES = 32 * 2**20  # the report on 2,000 columns has 3 MB


@dataclass(frozen=True)
class ReportFile:
    """A report and the name of its file; all texts are from outside."""

    name: str
    report: ReportDocument

    @property
    def batch(self) -> str:
        """Name of the file with the customers of the report."""
        return self.name.replace("monitoring_report_", "production_batch_").removesuffix(".json") + ".csv"


def read_report(folder: Path, name: str) -> ReportFile:
    """Read a report by its file name in the journal.

    Raises
    ------
    DataError
        If the name is not a report's name, or the file is missing or damaged.
    """
    if not FILE_NAME.fullmatch(name):
        raise DataError(f"{name[:80]!r}, recorded in the journal, is not the name of a report: it is not opened")
    path = folder / name
    if not path.is_file():
        raise DataError(f"{name} is not in {folder} any more: only its numbers in the journal are shown")
    try:
        return ReportFile(name, ReportDocument.read(read_document(path, MAX_BYTES)))
    except ValueError as error:
        raise DataError(f"{name} cannot be shown: {error}; only its numbers in the journal are shown") from None


def interval_text(measured: IntervalPart, digits: int = 3) -> str:
    """Return a metric's interval in words.

    >>> interval_text(IntervalPart(value=0.9, low=0.85, high=0.95))
    'between 0.850 and 0.950'
    """
    if not measured.complete:
        return "interval not known"
    return f"between {measured.low:.{digits}f} and {measured.high:.{digits}f}"


def performance_sentence(performance: PerformancePart) -> str:
    """Compare ROC-AUC with its limit and with training. Only the sentence for "cannot tell" has text from outside."""
    metrics, line, promise = performance.known_metrics, performance.line, performance.promised_auc
    auc, accuracy = metrics.get("roc_auc"), metrics.get("accuracy")
    if auc is None or auc.value is None or performance.below is None:
        return f"The performance cannot be judged: {performance.reason or 'the report gives no reason'}."
    share = None if accuracy is None or accuracy.value is None else percent(1 - accuracy.value)
    wrong = f"{share} of predictions are wrong. " if share else ""
    against = "" if line is None else f", {'below' if performance.below else 'not below'} the limit of {line:.3f}"
    expected = "" if promise is None else f"; {promise:.3f} was expected"
    return f"{wrong}ROC-AUC is {auc.value:.3f} ({interval_text(auc)}){against}{expected}."


def coverage_sentence(performance: PerformancePart) -> str:
    """Describe how many outcomes are due and how many of these are known."""
    if performance.coverage is None:
        waiting = performance.labels.waiting_sentence or "outcomes are due one label horizon after their predictions"
        return f"No outcome is due yet: {waiting}."
    labels = performance.labels
    return f"{labels.labelled:,} of {labels.due:,} due outcomes are known ({percent(performance.coverage)})."


def recommendation_sentence(report: ReportDocument) -> str:
    """Describe whether retraining is recommended."""
    kind = f" The customers are {report.report_only}: no alert or retraining follows." if report.report_only else ""
    if report.recommend_retraining.value:
        return "Retraining is recommended." + kind
    verdicts = [trigger.fired for trigger in report.recommend_retraining.triggers]
    waiting = sum(trigger.big is True and trigger.fired is False for trigger in report.recommend_retraining.triggers)
    if verdicts and all(fired is None for fired in verdicts):
        return "The report cannot tell whether to retrain." + kind
    parts = ["Retraining is not recommended: no trigger fired"]
    if waiting:
        parts.append(f"{waiting} of {len(verdicts)} {'is' if waiting == 1 else 'are'} not certain yet")
    if None in verdicts:
        parts.append(f"{verdicts.count(None)} of {len(verdicts)} cannot be judged")
    return "; ".join(parts) + "." + kind
