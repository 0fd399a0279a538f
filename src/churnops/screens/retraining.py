"""Screen of a retraining run."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from churnops.screens.layout import interval, line, path_line, table_of, warn
from churnops.words import capital

if TYPE_CHECKING:
    from churnops.retraining.pipeline import Retrained
    from churnops.retraining.summary import RetrainingSummary


def show_retraining(summary: "RetrainingSummary", path: Path | None, console: Console | None = None) -> None:
    """Print a retraining's result, its numbers, and the path of its summary."""
    from churnops.retraining.outcome import STATUS_LABELS

    console = console or Console()
    style = "green" if summary.status in ("deployed", "kept") else "yellow"
    result = f": {STATUS_LABELS[summary.status]}. {capital(summary.reason)}"
    line(console, capital(summary.status), result, style)
    if summary.check is not None:
        line(console, "Check", f" through the API {summary.check.status}: {summary.check.reason}")
    warn(console, summary.warning)
    if (retrained := summary.retrained) is not None:
        _comparison(retrained, console)
    if path is not None:
        path_line(console, "Summary", path)


def _comparison(retrained: "Retrained", console: Console) -> None:
    rows = retrained.rows
    trained = f"{rows['original']:,} original and {rows['production']:,} production customers"
    chosen = f"the candidate was chosen on the newest {rows['chosen_on']:,} of them"
    console.print(f"\n[bold]Trained[/] on {trained}; {chosen}", highlight=False)
    console.print(f"[bold]Compared[/] on {rows['held_out']:,} newer customers", highlight=False)
    for sentence in retrained.skipped.sentences():
        line(console, "caution", f" {sentence}", "yellow")
    table = table_of(left=("model",), right=("log loss\nwhen chosen", "log loss\ncompared", "ROC-AUC\ncompared"))
    for name, evaluation in retrained.evaluated.evaluations.items():
        model = retrained.trained.models.get(name)
        chosen = "" if model is None else f"{model.search.best.mean('log_loss'):.4f}"
        compared = [interval(evaluation.metrics[metric])[0] for metric in ("log_loss", "roc_auc")]
        won = name == retrained.trained.winner
        table.add_row(f"{name} ←" if won else name, chosen, *compared, style="bold green" if won else None)
    console.print(table)
