"""Screen of the main job."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from churnops.evaluation.metrics import METRIC_LABELS
from churnops.evaluation.threshold import threshold_in_words
from churnops.screens.layout import interval, line, path_line, relative, table_of, warn
from churnops.screens.models import released_line
from churnops.screens.monitoring import advice, show_cautions

if TYPE_CHECKING:
    from churnops.monitoring import MonitoringCycle
    from churnops.pipelines.run_all import RunSummary
    from churnops.settings import Settings

CV_METRICS = ("log_loss", "roc_auc", "average_precision", "accuracy")


def show_run(summary: "RunSummary", settings: "Settings", console: Console | None = None) -> None:
    """Print the result of the main job, its numbers, the first monitoring cycle and the next commands."""
    console = console or Console()
    evaluation, released = summary.evaluation, summary.deployed
    released_line(console, released)
    if released.folder is not None:
        path_line(console, "Deployed folder", released.folder)
    warn(console, released.warning)
    if not evaluation.metrics["roc_auc"].low > 0.5:  # also if it is NaN
        doubt = " the model is not proven better than chance: check it before use"
        line(console, "caution", doubt, "yellow")
    if summary.evaluated.leak_warning:
        line(console, "caution", f" {summary.evaluated.leak_warning}", "yellow")
    for sentence in summary.skipped.sentences():
        line(console, "caution", f" {sentence}", "yellow")
    metric = METRIC_LABELS[str(summary.trained.params["selection_metric"])]
    console.print(f"\n[bold]Candidates, cross-validated on the training rows and chosen by {metric}", highlight=False)
    console.print(_families(summary))
    rows = f"{evaluation.customers}, {evaluation.positives:,} of whom churned"
    console.print(f"[bold]{summary.evaluated.winner} on {rows}", highlight=False)
    console.print(_evaluated(summary))
    chosen = threshold_in_words(settings.evaluation)
    console.print(f"A customer is flagged from a probability of {evaluation.threshold:.3g}: {chosen}.", highlight=False)
    if summary.evaluated.claim:
        console.print(f"{summary.evaluated.claim}.", highlight=False)
    if summary.cycle is not None:
        _first_cycle(summary.cycle, console)
    console.print(Text(_next(summary, settings)), soft_wrap=True)


def _first_cycle(cycle: "MonitoringCycle", console: Console) -> None:
    report = cycle.report
    subject = f"{report.model_version} on {report.rows:,} later customers" if report.rows else report.model_version
    line(console, *advice(report, f": {subject}"))
    for reason in report.reasons:
        line(console, "", f"  - {reason}")
    show_cautions(report, console)
    path_line(console, "Report", cycle.page)


def _families(summary: "RunSummary") -> Table:
    table = table_of(left=("family",), right=(*(METRIC_LABELS[name] for name in CV_METRICS), "trials"))
    for name, model in summary.trained.models.items():
        won = name == summary.trained.winner
        scores = [f"{model.search.best.mean(key):.4f}" for key in CV_METRICS]
        row = (f"{name} ←" if won else name, *scores, str(len(model.search.trials)))
        table.add_row(*row, style="bold green" if won else None)
    return table


def _evaluated(summary: "RunSummary") -> Table:
    evaluation = summary.evaluation
    table = table_of(left=("metric",), right=("value", f"{evaluation.confidence:.0%} interval"))
    for key, label in METRIC_LABELS.items():
        table.add_row(label, *interval(evaluation.metrics[key]))
    return table


def _next(summary: "RunSummary", settings: "Settings") -> str:
    """Return the closing lines: pages and commands for the next steps, each with its use."""
    here = "" if settings.root == Path.cwd() else f" (run it in {settings.root})"
    released, deployed = summary.deployed, summary.deployed.folder
    may_force = released.status == "challenger" and not released.unaccepted_leaks
    approve = f"churnops promote {released.version}"
    lines = [
        ("churnops run --deploy", "deploy the challenger without the gate" if may_force else ""),
        (approve, "deploy the challenger (with --reason TEXT)" if released.status == "held" else ""),
        ("evaluation page", relative(summary.evaluation_page) if summary.evaluation_page else ""),
        ("churnops predict", "scores for a file of customers" if deployed else ""),
        ("churnops serve", "predictions with reasons over HTTP" if deployed else ""),
        ("churnops dashboard", "predictions, monitoring and models in the browser"),
        ("mlflow ui", f"every run{here}, at {summary.runs_page}" if summary.runs_page else ""),
    ]
    return "\n".join(["Next:", *(f"  {name:<23}{use}" for name, use in lines if use)])
