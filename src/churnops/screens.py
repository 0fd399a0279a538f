"""What the command line shows: progress while the main job runs, and readable tables at its end."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from churnops.evaluation.metrics import METRIC_LABELS

if TYPE_CHECKING:
    from churnops.evaluation.metrics import Interval
    from churnops.journal.deployment_log import InProduction
    from churnops.journal.keys import ApiKey
    from churnops.monitoring import MonitoringCycle, Report
    from churnops.monitoring.verdicts import ColumnDrift
    from churnops.pipelines.release import Release
    from churnops.pipelines.run_all import RunSummary
    from churnops.pipelines.run_monitoring import MonitoringSummary
    from churnops.registry import ModelVersion
    from churnops.retraining.gate import Decision
    from churnops.retraining.summary import RetrainingSummary
    from churnops.settings import Settings

MOST_COLUMNS, MOST_DEPLOYMENTS = 12, 20
CV_METRICS = ("log_loss", "roc_auc", "average_precision", "accuracy")


@contextmanager
def steps_progress(
    steps: Sequence[str], families: int, *, hidden: bool = False, console: Console | None = None
) -> Iterator[tuple[Callable[[str, str], None], Callable[[str], None]]]:
    """Show one line a step on standard error; yield what the runner and the training step report to."""
    display = Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=console or Console(stderr=True),
        disable=hidden,
    )
    training = steps[4]
    tasks = {
        step: display.add_task(step, total=families if step == training else 1, start=False, note="") for step in steps
    }

    def on_step(step: str, state: str) -> None:
        task = tasks[step]
        if state == "started":
            display.start_task(task)
        elif state == "finished":
            display.update(task, completed=display.tasks[task].total, note="")
        else:
            display.update(task, description=f"[red]{step}: failed")
            display.stop_task(task)
            for later in steps[steps.index(step) + 1 :]:
                display.update(tasks[later], visible=False)

    def on_family(family: str) -> None:
        display.update(tasks[training], advance=1, note=family)

    with display:
        yield on_step, on_family


@contextmanager
def rows_progress(
    name: str, *, hidden: bool = False, console: Console | None = None
) -> Iterator[tuple[Callable[[int, float], None], Callable[[str], None]]]:
    """Show on standard error, if it is a terminal, how far a file is and how fast; yield what its reader reports to."""
    console = console or Console(stderr=True)
    display = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]}"),
        TimeRemainingColumn(),
        console=console,
        disable=hidden or not console.is_terminal,
        transient=True,
    )
    task = display.add_task(name, total=1.0, rows="")
    start: list[tuple[float, int]] = []  # the first report tells what an earlier run had finished

    def on_rows(done: int, share: float) -> None:
        now = time.monotonic()
        if not start:
            start.append((now, done))
        rate = (done - start[0][1]) / max(now - start[0][0], 1e-9)
        display.update(task, completed=share, rows=f"{done:,} rows, {rate:,.0f} a second")

    def say(text: str) -> None:
        if not hidden:
            console.print(f"[dim]{text}", highlight=False, soft_wrap=True)

    with display:
        yield on_rows, say


def show_run(summary: "RunSummary", settings: "Settings", console: Console | None = None) -> None:
    """Print which model won, its numbers, where it is deployed, what monitoring found, and what to type next."""
    console = console or Console()
    found, metric = summary.evaluation, summary.trained.params["selection_metric"]
    console.print(f"[bold]Cross-validation on the training rows, chosen by {metric}", highlight=False)
    console.print(_families(summary))
    who = f"{found.rows} held-out customers, {found.positives} of whom left"
    console.print(f"[bold]{summary.evaluated.winner} on {who}", highlight=False)
    console.print(_held_out(summary))
    deployed = summary.deployed
    here = _relative(deployed.folder)
    color = "green" if deployed.status in ("deployed", "unchanged") else "yellow"
    which = f"version {deployed.version} ({deployed.model_version})"
    console.print(f"[{color}]{deployed.status}[/] {which}: {deployed.reason}", highlight=False)
    if deployed.warning:
        console.print(f"[yellow]warning[/] {deployed.warning}", highlight=False)
    console.print(f"[bold]in production[/] {here}", highlight=False, soft_wrap=True)
    auc = found.metrics["roc_auc"]
    if not auc.low > 0.5:  # also when it cannot be told
        doubt = (
            "[yellow]caution[/] on these rows the model cannot be told from chance: look at it before you rely on it"
        )
        console.print(doubt, highlight=False)
    if summary.cycle is not None:
        _first_cycle(summary.cycle, console)
    console.print(Text(_next(summary, settings), style="dim"))


def _first_cycle(cycle: "MonitoringCycle", console: Console) -> None:
    report = cycle.report
    told = f"{report.rows} later customers: {report.performance.decline.reason}; {report.feature_drift.reason}"
    monitored = f"{told}; {_advice(report)}" if report.rows else f"[yellow]cannot tell[/]: {report.source}"
    console.print(f"[bold]monitoring[/] {report.model_version}: {monitored}", highlight=False)
    for reason in report.recommendation.reasons:
        console.print(f"  - {reason}", highlight=False)
    console.print(f"[bold]report[/] {_relative(cycle.path)}", highlight=False, soft_wrap=True)


def show_cycle(summary: "MonitoringSummary", console: Console | None = None) -> None:
    """Print what a monitoring cycle found: the verdict, the four triggers, the columns that drifted, and the files."""
    console = console or Console()
    from churnops.monitoring.budget import TRIGGER_LABELS

    report, labels = summary.cycle.report, summary.cycle.report.performance.coverage
    console.print(f"[bold]{report.model_version}[/], {report.rows:,} customers: {report.source}", highlight=False)
    table = _table(left=("trigger", "fired", "why"))
    table.columns[2].no_wrap = False
    for trigger in report.recommendation.triggers:
        fired = {True: "[red]yes", False: "[green]no", None: "[yellow]cannot tell"}[trigger.fired]
        if trigger.big and trigger.fired is False:
            fired = "[yellow]not certain yet"
        table.add_row(TRIGGER_LABELS[trigger.name], fired, Text(trigger.reason))
    console.print(table)
    drifted = [column for column in report.feature_drift.columns if column.drifted]
    if drifted:
        console.print(_drifted(drifted))
    console.print(f"[bold]labels[/] {labels.labelled:,} of the {labels.due:,} that are due are known", highlight=False)
    console.print(f"[bold]verdict[/] {_advice(report)}; retraining: {summary.retraining}", highlight=False)
    for path in (summary.cycle.path, summary.cycle.page):
        console.print(f"[bold]report[/] {_relative(path)}", highlight=False, soft_wrap=True)
    for warning in summary.warnings:
        console.print(Text.assemble(("warning ", "yellow"), warning), soft_wrap=True)


def show_retraining(summary: "RetrainingSummary", path: Path | None, console: Console | None = None) -> None:
    """Print what a retraining compared and decided, and where its summary is."""
    console = console or Console()
    if (found := summary.retrained) is not None:
        rows = found.rows
        used = f"{rows['original']:,} original and {rows['production']:,} production customers"
        newest = f"chosen on the newest {rows['chosen_on']:,}; {rows['held_out']:,} newer ones are held out"
        console.print(f"[bold]trained[/] on {used}, {newest}", highlight=False)
        table = _table(left=("model",), right=("chosen by log loss", "log loss", "ROC-AUC"))
        for name, evaluation in found.evaluated.evaluations.items():
            model = found.trained.models.get(name)
            chosen = "" if model is None else f"{model.search.best.mean('log_loss'):.4f}"
            here = [_interval(evaluation.metrics[metric])[0] for metric in ("log_loss", "roc_auc")]
            won = name == found.trained.winner
            table.add_row(f"{name} ←" if won else name, chosen, *here, style="bold green" if won else None)
        console.print(table)
    color = "green" if summary.status in ("deployed", "kept") else "yellow"
    console.print(f"[{color}]{summary.status}[/]: {summary.reason}", highlight=False)
    if summary.check is not None:
        console.print(f"[bold]check[/] {summary.check.status}: {summary.check.reason}", highlight=False)
    if summary.warning:
        console.print(f"[yellow]warning[/] {summary.warning}", highlight=False)
    if path is not None:
        console.print(f"[bold]summary[/] {_relative(path)}", highlight=False, soft_wrap=True)


def show_models(
    name: str,
    versions: "Sequence[ModelVersion]",
    history: "Sequence[InProduction]",
    answers: str | None,
    console: Console | None = None,
) -> None:
    """Print the registered versions, what answers, and what was in production from when to when; newest first."""
    console = console or Console()
    if versions:
        table = _table(left=("version", "aliases", "model", "deployed"))
        deployed = {spell.deployment.content_sha256: spell.deployment.at for spell in history}
        for v in versions:
            model = f"{v.algorithm}-{v.content_sha256[:12]}"
            table.add_row(
                str(v.version), plain(", ".join(v.aliases)), plain(model), _time(deployed.get(v.content_sha256))
            )
        console.print(f"[bold]Registered model {name}")
        console.print(table)
    else:
        console.print("no model is registered yet: type `churnops run`")
    line = Text.assemble(("answers", "bold"), " ", plain(answers or "nothing: no model is deployed"))
    console.print(line, soft_wrap=True)
    if history:
        console.print("[bold]In production (UTC)")
        for spell in reversed(history[-MOST_DEPLOYMENTS:]):
            console.print(_in_production(spell), soft_wrap=True)
        if len(history) > MOST_DEPLOYMENTS:
            console.print(f"[dim]  and {len(history) - MOST_DEPLOYMENTS} before: --json", highlight=False)


def show_promotion(promotion: "Release", console: Console | None = None) -> None:
    """Print what the gate says about a version that was to be promoted, and what became of it."""
    console = console or Console()
    if promotion.decision is not None:
        show_gate(promotion.decision, console)
    style = "green" if promotion.status in ("deployed", "unchanged") else "red"
    which = f" version {promotion.version} ({promotion.model_version}): "
    console.print(Text.assemble((promotion.status, style), plain(which + promotion.reason)))


def show_gate(decision: "Decision", console: Console | None = None) -> None:
    """Print a gate's verdict, and the numbers behind it."""
    console = console or Console()
    style = {"deploy": "green", "keep": "yellow", "cannot tell": "yellow"}[decision.verdict]
    console.print(Text.assemble(("gate", "bold"), " ", (decision.verdict, style), plain(f": {decision.reason}")))
    if decision.champion is None or decision.challenger is None:
        return
    table = _table(left=("metric",), right=("production", "challenger", "challenger better by", "needed"))
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
    """Return a text from outside as it is to be shown: neither markup nor control characters do anything."""
    return Text("".join(character if character.isprintable() else " " for character in text))


def show_keys(keys: "Sequence[ApiKey]", console: Console | None = None) -> None:
    """Print API keys, oldest first."""
    console = console or Console()
    if not keys:
        console.print("there is no API key yet: type `churnops keys add NAME --scope predict`")
        return
    table = _table(left=("name", "id", "scopes", "made", "revoked"))
    for key in keys:
        made, revoked = (f"{at:%Y-%m-%d}" if at else "" for at in (key.created_at, key.revoked_at))
        scopes = "admin" if "admin" in key.scopes else ", ".join(sorted(key.scopes))  # admin implies the others
        table.add_row(Text(key.name), key.id, scopes, made, revoked)
    console.print(table)


def _in_production(spell: "InProduction") -> Text:
    d = spell.deployment
    until = _time(spell.until) if spell.until else "now"
    from churnops.journal.deployment_log import KIND_LABELS

    did = KIND_LABELS[d.kind] + (f" by {d.by}" if d.by else "")
    return Text.assemble(f"  {_time(d.at)} to {until:<16}  version {d.version} ", plain(f"{did}: {d.reason}"))


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


def _drifted(columns: "Sequence[ColumnDrift]") -> Table:
    from churnops.monitoring.drift.finding import TEST_LABELS

    table = _table(left=("drifted column", "test"), right=("effect", "adjusted p"))
    for column in sorted(columns, key=lambda column: -abs(column.effect or 0.0))[:MOST_COLUMNS]:
        p_value = column.p_value if column.adjusted_p_value is None else column.adjusted_p_value
        table.add_row(column.name, TEST_LABELS[column.test], f"{column.effect:.3f}", f"{p_value:.2g}")
    if len(columns) > MOST_COLUMNS:
        table.add_row(f"and {len(columns) - MOST_COLUMNS} more: see the report", style="dim")
    return table


def _advice(report: "Report") -> str:
    if report.recommendation.value:
        return "[yellow]retraining recommended[/]"
    if all(trigger.fired is None for trigger in report.recommendation.triggers):
        return "[yellow]cannot tell[/]"
    return "[green]no reason to retrain[/]"


def _families(summary: "RunSummary") -> Table:
    table = _table(left=("family",), right=(*(METRIC_LABELS[name] for name in CV_METRICS), "trials"))
    for name, model in summary.trained.models.items():
        won = name == summary.trained.winner
        scores = [f"{model.search.best.mean(key):.4f}" for key in CV_METRICS]
        row = (f"{name} ←" if won else name, *scores, str(len(model.search.trials)))
        table.add_row(*row, style="bold green" if won else None)
    return table


def _held_out(summary: "RunSummary") -> Table:
    found = summary.evaluation
    table = _table(left=("metric",), right=("value", f"{found.confidence:.0%} interval"))
    for key, label in METRIC_LABELS.items():
        table.add_row(label, *_interval(found.metrics[key]))
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
    lines = ["churnops predict IN.csv OUT.csv", "churnops models"]
    if summary.deployed.status == "challenger":
        lines.insert(0, "churnops run --deploy   (puts the winner into production)")
    if summary.tracking_uri.startswith("sqlite"):
        place = "" if settings.root == Path.cwd() else f"   (in {settings.root})"
        lines.append(f"mlflow ui{place}")
    return "next: " + "\n      ".join(lines)


def _relative(path: Path) -> str:
    """Return the path as it would be typed from here, if it lies below."""
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except FileNotFoundError:  # the current folder was removed
        return str(path)
