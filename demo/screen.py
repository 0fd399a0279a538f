"""What the terminal shows while the loop runs: a line for whatever happens, and one that lives."""

import math
import time
from threading import Lock
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from churnops.evaluation.delong import AUC
from demo.feeder import Fed
from demo.timeline import Event, Timeline

BARS: Final = "▁▂▃▄▅▆▇█"
LOW, HIGH = 0.5, 1.0  # ROC-AUC of the lowest and the highest bar
SHOWN = 40  # bars
_STYLES: Final = {True: "green", False: "red", None: "yellow"}
_NAMES: Final = {"alert": "alert", "retrain": "retrain?", "gate": "deploy?", "deployment": "deployed", "cycle": "cycle"}


class Quiet:
    """A `demo.loop.Screen` that shows nothing."""

    def step(self, text: str) -> None:
        """Show nothing."""

    def event(self, event: Event) -> None:
        """Show nothing."""

    def alert(self, title: str, message: str) -> None:
        """Show nothing."""

    def state(self, fed: Fed, auc: AUC, known: int) -> None:
        """Show nothing."""


class Terminal:
    """A `demo.loop.Screen` on a console. What is no terminal gets the lines, and not the one that lives."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._began = time.monotonic()
        self._bars = list[float]()
        self._verdict = ""
        self._lock = Lock()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def step(self, text: str) -> None:
        """Print that something begins."""
        self._line(Text(text, style="bold"))

    def event(self, event: Event) -> None:
        """Print what the product wrote down; of cycles only those that say something else than the one before."""
        if event.kind == "alert":
            return  # shown as it arrives
        if event.kind == "cycle":
            if event.text == self._verdict:
                return
            self._verdict = event.text
        self._line(Text.assemble((f"{_NAMES[event.kind]:9}", _STYLES[event.good]), event.text))

    def alert(self, title: str, message: str) -> None:
        """Print an alert."""
        style = "green" if title.startswith(("[recovered]", "[info]")) else "red"
        self._line(
            Text.assemble((f"{'alert':9}", style), (title, "bold"), ("\n" + message).replace("\n", "\n" + " " * 18))
        )

    def state(self, fed: Fed, auc: AUC, known: int) -> None:
        """Renew the line that lives."""
        self._bars = [*self._bars, auc.value][-SHOWN:]
        told = "not known yet" if math.isnan(auc.value) else f"{auc.value:.3f} on the newest {known} known"
        self._live.update(
            Text.assemble(
                (f"{self._seconds():5.0f} s  ", "dim"),
                f"{fed.asked:,} customers, {fed.labelled:,} outcomes  ROC-AUC ",
                (told, "bold"),
                "  ",
                (sparkline(self._bars), "cyan"),
                (f"  {' '.join(fed.models[-1:])}", "dim"),
            )
        )

    def summary(self, timeline: Timeline) -> None:
        """Print what came of it."""
        for line in conclusions(timeline):
            self._console.print(line, highlight=False)

    def _line(self, text: Text) -> None:
        with self._lock:
            self._console.print(Text.assemble((f"{self._seconds():5.0f} s  ", "dim"), text))

    def _seconds(self) -> float:
        return time.monotonic() - self._began


def sparkline(values: list[float]) -> str:
    """Return a bar for each value; nothing where it is not known.

    Examples
    --------
    >>> sparkline([math.nan, 0.3, 0.75, 1.0])
    ' ▁▅█'
    """
    steps = len(BARS)
    places = (None if math.isnan(v) else min(max(int((v - LOW) / (HIGH - LOW) * steps), 0), steps - 1) for v in values)
    return "".join(" " if place is None else BARS[place] for place in places)


def conclusions(timeline: Timeline) -> list[str]:
    """Say in sentences what came of it."""
    firing = [e for e in timeline.events if e.kind == "alert" and e.good is False]
    swaps = [e for e in timeline.events if e.kind == "deployment" and e.at > timeline.began]
    lines = [
        f"{timeline.customers:,} customers were answered; {len(firing) or 'no'} alarm{'s' * (len(firing) != 1)} fired, "
        f"{len(swaps) or 'no'} new model{'s' * (len(swaps) != 1)} went into production"
    ]
    found = timeline.recovery
    if found is not None:
        seconds = (found.at - timeline.changed).total_seconds()
        lines += [
            f"{found.customers:,} customers arrived between the change and the new model ({seconds:.0f} s)",
            f"ROC-AUC {_told(found.before)} before the change, {_told(found.meanwhile)} until the new model, "
            f"{_told(found.after)} since then, on {found.measured:,} customers who arrived after it",
        ]
    return lines


def _told(auc: AUC) -> str:
    """Return the value alone: rows come again in a phase, so that an interval would be too narrow."""
    return "not known" if math.isnan(auc.value) else f"{auc.value:.3f}"
