"""Screen of a split: both arms with their outcomes, and what is still needed."""

from typing import TYPE_CHECKING

from rich.console import Console

from churnops.screens.layout import line, table_of, time_text
from churnops.words import customers_text

if TYPE_CHECKING:
    from churnops.experiments.split import ArmReport, SplitReport

_NAMES = ("model", "customers", "due", "outcome known", "churned", "churn rate", "at least", "at most")


def show_split(report: "SplitReport", console: Console | None = None) -> None:
    """Print the arms of a split, the answer so far, and what is still needed."""
    console = console or Console()
    e = report.experiment
    line(
        console,
        f"Split {e.id}",
        f": version {e.version} answers {customers_text(e.share)}. {e.state.capitalize()}",
    )
    line(console, "  started", f"  {time_text(e.started_at)} UTC by {e.by}" + (f": {e.why}" if e.why else ""))
    if e.ended_at is not None:
        line(console, "  ended", f"    {time_text(e.ended_at)} UTC by {e.ended_by}: {e.ended_why}")
    table = table_of(left=("",), right=("champion", "challenger"))
    for row in zip(_NAMES, _texts(report.champion), _texts(report.challenger), strict=True):
        table.add_row(*row)
    console.print(table)
    line(console, "Answer", f": {report.answer}", "bold")
    if report.needed:
        line(console, "Needed", f": {report.needed}")
    for sentence in report.cautions:
        line(console, "Note", f": {sentence}")


def _texts(arm: "ArmReport") -> list[str]:
    counts = [f"{count:,}" for count in (arm.customers, arm.due, arm.known, arm.churned)]
    shares = ["", "", ""] if arm.rate is None else [f"{share:.4f}" for share in (arm.rate, arm.low, arm.high)]
    return [arm.model_version, *counts, *shares]
