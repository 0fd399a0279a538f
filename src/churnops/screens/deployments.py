"""Screen of the deployed model and the replicas that answer with it."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from churnops.screens.layout import line, plain, time_text

if TYPE_CHECKING:
    from churnops.registry.replicas import Replica

_STYLES = {"current": "green", "behind": "yellow", "refusing": "red", "away": "dim"}


def show_deployment(
    current: str | None, since: datetime | None, replicas: "Sequence[Replica]", console: Console | None = None
) -> None:
    """Print the deployed model, and each replica with its state and the model that it answers with."""
    console = console or Console()
    begin = f", since {since:%Y-%m-%d %H:%M:%S} UTC" if since else ""
    line(console, "Deployed", f": {current or 'none, type `churnops run`'}{begin}")
    if not replicas:
        console.print("No replica of the service has reported to this journal.")
    for replica in replicas:
        console.print(_in_words(replica), soft_wrap=True)


def _in_words(replica: "Replica") -> Text:
    process = replica.process
    model = f"{process.model_version or 'no model'} since {time_text(process.loaded_at)}".removesuffix(" since ")
    workers = "1 worker" if replica.workers == 1 else f"{replica.workers} workers"
    report = f"{workers}, last report {replica.silent.total_seconds():.0f} s ago"
    reason = f": {process.refused}" if process.refused else ""
    return Text.assemble(
        "  ",
        (f"{replica.state:<8}", _STYLES[replica.state]),
        plain(f"  {replica.name}  {model}  ({report}){reason}"),
    )
