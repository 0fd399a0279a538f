"""Lines and tables that all screens share."""

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from churnops.evaluation.metrics import Interval


def plain(text: str) -> Text:
    """Return a text from outside without markup or control characters."""
    return Text("".join(character if character.isprintable() else " " for character in text))


def line(console: Console, label: str, text: str, style: str = "bold") -> None:
    """Print a label and a text; the text may come from outside."""
    console.print(Text.assemble((label, style), plain(text)))


def path_line(console: Console, label: str, path: Path) -> None:
    """Print a label and a path."""
    console.print(Text.assemble((label, "bold"), f" {relative(path)}"), soft_wrap=True)


def warn(console: Console, warning: str | None) -> None:
    """Print a warning, if there is one."""
    if warning:
        line(console, "warning", f" {warning}", "yellow")


def table_of(left: Sequence[str], right: Sequence[str] = (), wrapped: Sequence[str] = ()) -> Table:
    """Return an empty table with left-aligned columns, then right-aligned ones.

    In a narrow terminal, cells and headers of `wrapped` columns get more lines; those of others would be cut.
    """
    table = Table()
    for name in (*left, *right):
        table.add_column(name, justify="left" if name in left else "right", no_wrap=name not in wrapped)
    return table


def time_text(at: datetime | None) -> str:
    """Return a time to the minute; empty if there is none."""
    return f"{at:%Y-%m-%d %H:%M}" if at else ""


def relative(path: Path) -> str:
    """Return a path relative to the current folder if it is below that folder; otherwise unchanged."""
    try:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    except FileNotFoundError:  # the current folder was removed
        return str(path)


def interval(metric: "Interval") -> tuple[str, str]:
    """Return the value and the interval of a metric as texts."""
    if metric.value != metric.value:
        return "cannot tell", ""
    return f"{metric.value:.4f}", f"{metric.low:.4f} to {metric.high:.4f}"
