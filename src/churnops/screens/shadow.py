"""Screen of a shadow and its evidence."""

from rich.console import Console

from churnops.screens.layout import line, table_of, time_text
from churnops.wire import ShadowAnswer, ShadowLook
from churnops.words import customers_text

_STYLES = {"running": "bold", "success": "green", "futility": "yellow", "stopped": "yellow"}


def show_shadow(shadow: ShadowAnswer, console: Console | None = None) -> None:
    """Print a shadow, its evidence, and what is still needed."""
    console = console or Console()
    models = f"version {shadow.version} ({shadow.challenger}) beside {shadow.champion}"
    line(console, f"Shadow {shadow.id}", f": {models}, {customers_text(shadow.share)}", _STYLES[shadow.state])
    why = f": {shadow.why}" if shadow.why else ""
    line(console, "  started", f" {time_text(shadow.started_at)} UTC by {shadow.by}{why}")
    if shadow.ended_at is not None:
        by = f"by {shadow.ended_by}" + (f": {shadow.ended_why}" if shadow.state == "stopped" else "")
        line(console, "  ended", f"   {time_text(shadow.ended_at)} UTC, {shadow.state}, {by}")
    look = shadow.look
    if look is None:
        return
    line(console, f"{look.verdict.capitalize()}", f": {look.reason}", "green" if look.verdict == "better" else "bold")
    if look.gain is not None:
        _show_numbers(look, console)
    if look.labels_needed is not None:
        console.print(
            f"A gain of this size needs about {look.labels_needed:,} more outcomes ({look.days_needed:,} days)."
        )
    dropped = f", {shadow.dropped:,} not scored by the challenger" if shadow.dropped else ""
    console.print(f"{look.scored:,} predictions scored by both{dropped}. {_counts(look)}", soft_wrap=True)
    console.print(shadow.note, soft_wrap=True)


def _counts(look: ShadowLook) -> str:
    counts = f"{look.due:,} customers are due, and {look.labelled:,} of their outcomes are known"
    late = f"; {look.late:,} came or were corrected over a day late, and count on their day" if look.late else ""
    without = f"; {look.without_id:,} requests without an id count as customers" if look.without_id else ""
    return f"{counts}{late}{without}."


def _show_numbers(look: ShadowLook, console: Console) -> None:
    table = table_of(
        left=(f"{look.labelled:,} customers",),
        right=("deployed", "challenger", "better by", "at least", "at most", "required"),
    )
    numbers = (look.champion_log_loss, look.challenger_log_loss)
    gains = (look.gain, look.low, look.high)
    texts = [f"{number:.4f}" for number in numbers] + [f"{number:+.4f}" for number in gains]
    table.add_row("log loss", *texts, f"{look.required_gain:g}")
    console.print(table)
