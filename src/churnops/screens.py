"""Results of the commands in the terminal, as sentences and tables."""

import os
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from churnops.evaluation.metrics import METRIC_LABELS
from churnops.words import capital, title, words

if TYPE_CHECKING:
    from churnops.evaluation.metrics import Interval
    from churnops.journal.cycles import Cycle
    from churnops.journal.deployment_log import InProduction
    from churnops.journal.keys import ApiKey
    from churnops.monitoring import MonitoringCycle, Report
    from churnops.monitoring.document import LabelsPart
    from churnops.monitoring.verdicts import ColumnDrift
    from churnops.pipelines.release import Release
    from churnops.pipelines.run_all import RunSummary
    from churnops.pipelines.run_monitoring import MonitoringSummary
    from churnops.registry import ModelVersion
    from churnops.retraining.gate import Decision
    from churnops.retraining.pipeline import Retrained
    from churnops.retraining.summary import RetrainingSummary
    from churnops.schema import Schema
    from churnops.settings import Settings

MAX_COLUMNS, MAX_DEPLOYMENTS = 12, 20
CV_METRICS = ("log_loss", "roc_auc", "average_precision", "accuracy")


def show_run(summary: "RunSummary", settings: "Settings", console: Console | None = None) -> None:
    """Print the result of the main job, its numbers, the first monitoring cycle and the next commands."""
    console = console or Console()
    evaluation, released = summary.evaluation, summary.deployed
    _released(console, released)
    _path(console, "Deployed folder", released.folder)
    _warn(console, released.warning)
    if not evaluation.metrics["roc_auc"].low > 0.5:  # also if it is NaN
        doubt = " on held-out rows the model is not proven better than chance: check it before use"
        _line(console, "caution", doubt, "yellow")
    if summary.evaluated.leak_warning:
        _line(console, "caution", f" {summary.evaluated.leak_warning}", "yellow")
    for sentence in summary.skipped.sentences():
        _line(console, "caution", f" {sentence}", "yellow")
    metric = METRIC_LABELS[str(summary.trained.params["selection_metric"])]
    console.print(f"\n[bold]Candidates, cross-validated on the training rows and chosen by {metric}", highlight=False)
    console.print(_families(summary))
    rows = f"{evaluation.rows:,} held-out customers, {evaluation.positives:,} of whom churned"
    console.print(f"[bold]{summary.evaluated.winner} on {rows}", highlight=False)
    console.print(_held_out(summary))
    if summary.cycle is not None:
        _first_cycle(summary.cycle, console)
    console.print(Text(_next(summary, settings)), soft_wrap=True)


def _released(console: Console, release: "Release") -> None:
    style = "green" if release.status in ("deployed", "unchanged") else "yellow"
    _line(console, release.headline, f": {release.reason}", style)


def _first_cycle(cycle: "MonitoringCycle", console: Console) -> None:
    report = cycle.report
    subject = f"{report.model_version} on {report.rows:,} later customers" if report.rows else report.model_version
    _line(console, *_advice(report, f": {subject}"))
    for reason in report.reasons:
        _line(console, "", f"  - {reason}")
    _cautions(report, console)
    _path(console, "Report", cycle.page)


def show_cycle(summary: "MonitoringSummary", schema: "Schema", console: Console | None = None) -> None:
    """Print a monitoring cycle: the verdict, the next step, the triggers, the drifted columns and the files."""
    console = console or Console()
    report = summary.cycle.report
    _line(console, *_advice(report, f": {report.model_version} on {report.rows:,} customers ({report.source})"))
    if report.repeated_rows:
        rows = "row" if report.repeated_rows == 1 else "rows"
        _line(console, "Left out", f": {report.repeated_rows:,} {rows}, copies of other rows")
    _line(console, "Retraining", f": {summary.retraining}")
    if report.window and not report.past and report.window[1] < report.timestamp - timedelta(minutes=1):
        again = "; it was examined before, so it causes no alert and no retraining" if report.examined_before else ""
        _line(console, "Window", f": the last one with predictions, which end on {_time(report.window[1])}{again}")
    _line(console, "Outcomes", f": {_outcomes(report.document().performance.labels)}")
    if summary.earlier is not None:
        _earlier(summary.earlier, summary.cycle.path.parent, console)
    else:
        console.print(_triggers(report))
        _cautions(report, console)
    drifted = [column for column in report.feature_drift.columns if column.drifted]
    if drifted:
        console.print(_drifted(drifted, schema))
    for path in (summary.cycle.path, summary.cycle.page):
        _path(console, "Report", path)
    for warning in summary.warnings:
        _warn(console, warning)


def _triggers(report: "Report") -> Table:
    from churnops.monitoring.budget import TRIGGER_LABELS, reason_without_prefix

    table = _table(left=("trigger", "fired", "why"))
    table.columns[2].no_wrap = False
    for trigger in report.recommendation.triggers:
        fired = {True: "[red]yes", False: "[green]no", None: "[yellow]cannot tell"}[trigger.fired]
        if trigger.big and trigger.fired is False:
            fired = "[yellow]not certain yet"
        table.add_row(TRIGGER_LABELS[trigger.name], fired, Text(reason_without_prefix(trigger.reason)))
    return table


def _cautions(report: "Report", console: Console) -> None:
    from churnops.monitoring.messages import MESSAGES

    for caution in report.cautions:
        if caution.fired:
            _line(console, MESSAGES[caution.name].event, f": {caution.reason}", "red")
        elif caution.name == "training_rows" and report.training_rows:
            _line(console, "Training rows", f": {caution.reason}")


def show_retraining(summary: "RetrainingSummary", path: Path | None, console: Console | None = None) -> None:
    """Print a retraining's result, its numbers, and the path of its summary."""
    from churnops.retraining.outcome import STATUS_LABELS

    console = console or Console()
    style = "green" if summary.status in ("deployed", "kept") else "yellow"
    result = f": {STATUS_LABELS[summary.status]}. {capital(summary.reason)}"
    _line(console, capital(summary.status), result, style)
    if summary.check is not None:
        _line(console, "Check", f" through the API {summary.check.status}: {summary.check.reason}")
    _warn(console, summary.warning)
    if (retrained := summary.retrained) is not None:
        _comparison(retrained, console)
    if path is not None:
        _path(console, "Summary", path)


def _comparison(retrained: "Retrained", console: Console) -> None:
    rows = retrained.rows
    trained = f"{rows['original']:,} original and {rows['production']:,} production customers"
    chosen = f"the candidate was chosen on the newest {rows['chosen_on']:,} of them"
    console.print(f"\n[bold]Trained[/] on {trained}; {chosen}", highlight=False)
    console.print(f"[bold]Compared[/] on {rows['held_out']:,} newer customers", highlight=False)
    for sentence in retrained.skipped.sentences():
        _line(console, "caution", f" {sentence}", "yellow")
    table = _table(left=("model",), right=("log loss when chosen", "log loss compared", "ROC-AUC compared"))
    for name, evaluation in retrained.evaluated.evaluations.items():
        model = retrained.trained.models.get(name)
        chosen = "" if model is None else f"{model.search.best.mean('log_loss'):.4f}"
        compared = [_interval(evaluation.metrics[metric])[0] for metric in ("log_loss", "roc_auc")]
        won = name == retrained.trained.winner
        table.add_row(f"{name} ←" if won else name, chosen, *compared, style="bold green" if won else None)
    console.print(table)


def show_models(
    name: str,
    versions: "Sequence[ModelVersion]",
    history: "Sequence[InProduction]",
    current: str | None,
    console: Console | None = None,
) -> None:
    """Print the deployed model, the registered versions and the deployment history, newest first."""
    console = console or Console()
    _line(console, "Deployed", f": {current or 'none, type `churnops run`'}")
    if versions:
        table = _table(left=("version", "aliases", "model", "deployed"))
        deployed = {period.deployment.content_sha256: period.deployment.at for period in history}
        for v in versions:
            model = f"{v.algorithm}-{v.content_sha256[:12]}"
            table.add_row(
                str(v.version), plain(", ".join(v.aliases)), plain(model), _time(deployed.get(v.content_sha256))
            )
        console.print(f"[bold]Registered model {name}")
        console.print(table)
    else:
        console.print("No model is registered yet: type `churnops run`")
    if history:
        console.print("[bold]Deployments (UTC)")
        for period in reversed(history[-MAX_DEPLOYMENTS:]):
            console.print(_in_production(period), soft_wrap=True)
        if len(history) > MAX_DEPLOYMENTS:
            console.print(f"[dim]  and {len(history) - MAX_DEPLOYMENTS} earlier ones: see --json", highlight=False)


def show_promotion(promotion: "Release", console: Console | None = None) -> None:
    """Print a promotion's result if the model is deployed, and the gate's verdict if the gate ran."""
    console = console or Console()
    if promotion.status in ("deployed", "unchanged"):
        _released(console, promotion)
    if promotion.decision is not None:
        show_gate(promotion.decision, console)


def show_gate(decision: "Decision", console: Console | None = None) -> None:
    """Print the gate's verdict and its numbers."""
    from churnops.retraining.gate import VERDICT_LABELS

    console = console or Console()
    style = "green" if decision.deploy else "yellow"
    console.print(Text.assemble(("gate", "bold"), " ", (VERDICT_LABELS[decision.verdict], style)))
    if decision.champion is None or decision.challenger is None:
        return
    table = _table(left=("metric",), right=("deployed", "challenger", "challenger better by", "required"))
    gain = "cannot tell" if decision.gain is None else f"{decision.gain:+.4f}"
    if decision.low is not None and decision.high is not None:
        gain += f" ({decision.low:+.4f} to {decision.high:+.4f})"
    name = METRIC_LABELS[decision.metric]
    numbers = (f"{decision.champion:.4f}", f"{decision.challenger:.4f}")
    table.add_row(name, *numbers, gain, f"more than {decision.min_improvement:g}")
    for guard in decision.guards:
        row = (METRIC_LABELS[guard.name], f"{guard.champion:.4f}", f"{guard.challenger:.4f}")
        better = f"{guard.champion - guard.challenger:+.4f}"
        table.add_row(*row, better, f"at least {-guard.tolerance:g}", style=None if guard.held else "red")
    console.print(table)


def plain(text: str) -> Text:
    """Return a text from outside without markup or control characters."""
    return Text("".join(character if character.isprintable() else " " for character in text))


def show_keys(keys: "Sequence[ApiKey]", console: Console | None = None) -> None:
    """Print API keys, oldest first."""
    console = console or Console()
    if not keys:
        console.print("There is no API key yet: type `churnops keys add NAME --scope predict`")
        return
    table = _table(left=("name", "id", "scopes", "created", "revoked"))
    for key in keys:
        made, revoked = (f"{at:%Y-%m-%d}" if at else "" for at in (key.created_at, key.revoked_at))
        scopes = "admin" if "admin" in key.scopes else ", ".join(sorted(key.scopes))  # admin implies the others
        table.add_row(Text(key.name), key.id, scopes, made, revoked)
    console.print(table)


def _in_production(period: "InProduction") -> Text:
    d = period.deployment
    until = _time(period.until) if period.until else "now"
    from churnops.journal.deployment_log import KIND_LABELS

    did = KIND_LABELS[d.kind] + (f" by {d.by}" if d.by else "")
    return Text.assemble(f"  {_time(d.at)} to {until:<16}  version {d.version} ", plain(f"{did}: {d.reason}"))


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


def _drifted(columns: "Sequence[ColumnDrift]", schema: "Schema") -> Table:
    from churnops.monitoring.drift.finding import TEST_LABELS

    table = _table(left=("drifted column", "test"), right=("effect",))
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
    customers = f"{cycle.summary['rows']:,} customers of {cycle.source} on {_time(cycle.at)}"
    _line(console, "Newest report with customers", f": {customers}: {verdict}{measured}")
    _path(console, "Report", (folder / str(cycle.report)).with_suffix(".html"))


def _advice(report: "Report", subject: str) -> tuple[str, str, str]:
    """Return the verdict, its subject and its style, for `_line`."""
    from churnops.monitoring.report import NO_REASON

    return report.verdict, subject, "green" if report.verdict == NO_REASON else "yellow"


def _line(console: Console, label: str, text: str, style: str = "bold") -> None:
    """Print a label and a text; the text may come from outside."""
    console.print(Text.assemble((label, style), plain(text)))


def _path(console: Console, label: str, path: Path) -> None:
    console.print(Text.assemble((label, "bold"), f" {_relative(path)}"), soft_wrap=True)


def _warn(console: Console, warning: str | None) -> None:
    if warning:
        _line(console, "warning", f" {warning}", "yellow")


def _families(summary: "RunSummary") -> Table:
    table = _table(left=("family",), right=(*(METRIC_LABELS[name] for name in CV_METRICS), "trials"))
    for name, model in summary.trained.models.items():
        won = name == summary.trained.winner
        scores = [f"{model.search.best.mean(key):.4f}" for key in CV_METRICS]
        row = (f"{name} ←" if won else name, *scores, str(len(model.search.trials)))
        table.add_row(*row, style="bold green" if won else None)
    return table


def _held_out(summary: "RunSummary") -> Table:
    evaluation = summary.evaluation
    table = _table(left=("metric",), right=("value", f"{evaluation.confidence:.0%} interval"))
    for key, label in METRIC_LABELS.items():
        table.add_row(label, *_interval(evaluation.metrics[key]))
    return table


def _interval(metric: "Interval") -> tuple[str, str]:
    if metric.value != metric.value:
        return "cannot tell", ""
    return f"{metric.value:.4f}", f"{metric.low:.4f} to {metric.high:.4f}"


def _table(left: Sequence[str], right: Sequence[str] = ()) -> Table:
    table = Table()
    for name in (*left, *right):
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    return table


def _next(summary: "RunSummary", settings: "Settings") -> str:
    """Return the closing lines: pages and commands for the next steps, each with its use."""
    here = "" if settings.root == Path.cwd() else f" (run it in {settings.root})"
    lines = [
        ("churnops run --deploy", "deploy the challenger without the gate"),
        ("evaluation page", _relative(summary.evaluation_page) if summary.evaluation_page else ""),
        ("churnops predict", "scores for a file of customers"),
        ("churnops serve", "predictions with reasons over HTTP"),
        ("churnops dashboard", "predictions, monitoring and models in the browser"),
        ("mlflow ui", f"every run{here}, at {summary.runs_page}" if summary.runs_page else ""),
    ]
    chosen = lines if summary.deployed.status == "challenger" else lines[1:]
    return "\n".join(["Next:", *(f"  {name:<23}{use}" for name, use in chosen if use)])


def _relative(path: Path) -> str:
    """Return a path relative to the current folder if it is below that folder; otherwise unchanged."""
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except FileNotFoundError:  # the current folder was removed
        return str(path)
