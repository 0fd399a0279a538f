"""Screen of the deployed model and the replicas that answer with it."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console

from churnops.screens.layout import line, plain, table_of, time_text

if TYPE_CHECKING:
    from churnops.registry.replicas import Replica

_STYLES = {"current": "green", "behind": "yellow", "refusing": "red", "away": "dim"}


def show_deployment(
    current: str | None, since: datetime | None, replicas: "Sequence[Replica]", console: Console | None = None
) -> None:
    """Print the deployed model, and each replica with its state and the model that it answers with."""
    console = console or Console()
    line(
        console,
        "Deployed",
        f": {current or 'none, type `churnops run`'}{f', since {since:%Y-%m-%d %H:%M:%S} UTC' if since else ''}",
    )
    if not replicas:
        console.print("No replica of the service has reported to this journal.")
        return
    table = table_of(left=("replica", "state", "answers with", "loaded (UTC)"), right=("workers", "last report"))
    for replica in replicas:
        process = replica.process
        table.add_row(
            plain(replica.name),
            plain(replica.state),
            plain(process.model_version or "no model"),
            time_text(process.loaded_at),
            str(replica.workers),
            f"{replica.silent.total_seconds():.0f} s ago",
            style=_STYLES[replica.state],
        )
    console.print(table)
    for replica in replicas:
        if replica.process.refused:
            line(console, replica.name, f": {replica.process.refused}", "red")
