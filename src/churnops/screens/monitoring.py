"""Screen of a monitoring cycle."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from churnops.screens.layout import line, path_line, table_of, time_text, warn
from churnops.words import title, words

if TYPE_CHECKING:
    from churnops.journal.cycles import Cycle
    from churnops.monitoring import Report
    from churnops.monitoring.document import LabelsPart
    from churnops.monitoring.verdicts import ColumnDrift
    from churnops.pipelines.run_monitoring import MonitoringSummary
    from churnops.schema import Schema

MAX_COLUMNS = 12


def show_cycle(summary: "MonitoringSummary", schema: "Schema", console: Console | None = None) -> None:
    """Print a monitoring cycle: the verdict, the next step, the triggers, the drifted columns and the files."""
    from churnops.alerting.health import NO_CUSTOMERS

    console = console or Console()
    report = summary.cycle.report
    line(console, *advice(report, f": {report.model_version} on {report.rows:,} customers ({report.source})"))
    if not report.rows:
        line(console, "Next", f": {NO_CUSTOMERS}")
    if report.repeated_rows:
        rows = "row" if report.repeated_rows == 1 else "rows"
        line(console, "Left out", f": {report.repeated_rows:,} {rows}, copies of other rows")
    line(console, "Retraining", f": {summary.retraining}")
    if report.window and not report.past and report.window[1] < report.timestamp - timedelta(minutes=1):
        again = "; it was examined before, so it causes no alert and no retraining" if report.examined_before else ""
        line(console, "Window", f": the last one with predictions, which end on {time_text(report.window[1])}{again}")
    line(console, "Outcomes", f": {_outcomes(report.document().performance.labels)}")
    if summary.earlier is not None:
        _earlier(summary.earlier, summary.cycle.path.parent, console)
    else:
        console.print(_triggers(report))
        show_cautions(report, console)
    drifted = [column for column in report.feature_drift.columns if column.drifted]
    if drifted:
        console.print(_drifted(drifted, schema))
    for path in (summary.cycle.path, summary.cycle.page):
        path_line(console, "Report", path)
    for warning in summary.warnings:
        warn(console, warning)


def _triggers(report: "Report") -> Table:
    from churnops.monitoring.budget import TRIGGER_LABELS, reason_without_prefix

    table = table_of(left=("trigger", "fired", "why"))
    table.columns[2].no_wrap = False
    for trigger in report.recommendation.triggers:
        fired = {True: "[red]yes", False: "[green]no", None: "[yellow]cannot tell"}[trigger.fired]
        if trigger.big and trigger.fired is False:
            fired = "[yellow]not certain yet"
        table.add_row(TRIGGER_LABELS[trigger.name], fired, Text(reason_without_prefix(trigger.reason)))
    return table


def show_cautions(report: "Report", console: Console) -> None:
    """Print the findings that recommend no retraining."""
    from churnops.monitoring.messages import MESSAGES

    for caution in report.cautions:
        if caution.fired:
            line(console, MESSAGES[caution.name].event, f": {caution.reason}", "red")
        elif caution.name == "training_rows" and report.training_rows:
            line(console, "Training rows", f": {caution.reason}")


def _drifted(columns: "Sequence[ColumnDrift]", schema: "Schema") -> Table:
    from churnops.monitoring.drift.finding import TEST_LABELS

    table = table_of(left=("drifted column", "test"), right=("effect",))
    for column in sorted(columns, key=lambda column: -abs(column.effect or 0.0))[:MAX_COLUMNS]:
        name = title(schema.by_name[column.name]) if column.name in schema.by_name else words(column.name)
        table.add_row(name, TEST_LABELS[column.test], f"{column.effect:.3f}")
    if len(columns) > MAX_COLUMNS:
        table.add_row(f"and {len(columns) - MAX_COLUMNS} more: see the report", style="dim")
    return table


def _outcomes(labels: "LabelsPart") -> str:
    if labels.due or not labels.waiting:
        return f"{labels.labelled:,} of the {labels.due:,} due are known"
    return labels.waiting_sentence


def _earlier(cycle: "Cycle", folder: Path, console: Console) -> None:
    """Print the newest cycle with customers, because the present one has none."""
    advised = cycle.summary["recommend_retraining"]["value"]
    verdict = "retraining is recommended" if advised else "no reason to retrain"
    auc = cycle.summary["performance"]["metrics"].get("roc_auc", {}).get("value")
    measured = "" if auc is None else f", ROC-AUC {auc:.3f}"
    customers = f"{cycle.summary['rows']:,} customers of {cycle.source} on {time_text(cycle.at)}"
    line(console, "Newest report with customers", f": {customers}: {verdict}{measured}")
    path_line(console, "Report", (folder / str(cycle.report)).with_suffix(".html"))


def advice(report: "Report", subject: str) -> tuple[str, str, str]:
    """Return the verdict, its subject and its style, for `layout.line`."""
    from churnops.monitoring.report import NO_REASON

    return report.verdict, subject, "green" if report.verdict == NO_REASON else "yellow"
