"""Terminal output of the loop: a line for each event, and a live line at the end."""

import math
import time
from threading import Lock
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from churnops.demo.feeder import Fed
from churnops.demo.timeline import Event, Timeline
from churnops.evaluation.delong import AUC

BARS: Final = "▁▂▃▄▅▆▇█"
LOW, HIGH = 0.5, 1.0  # ROC-AUC of the lowest and the highest bar
SHOWN = 40  # bars
_STYLES: Final = {True: "green", False: "red", None: "yellow"}
_NAMES: Final = {"alert": "alert", "retrain": "retrain?", "gate": "deploy?", "deployment": "deployed", "cycle": "cycle"}


class Quiet:
    """A `churnops.demo.loop.Screen` that shows nothing."""

    def step(self, text: str) -> None:
        """Show nothing."""

    def event(self, event: Event) -> None:
        """Show nothing."""

    def alert(self, title: str, message: str) -> None:
        """Show nothing."""

    def state(self, fed: Fed, auc: AUC, known: int) -> None:
        """Show nothing."""


class Terminal:
    """A `churnops.demo.loop.Screen` on a console. The live line is shown only on a terminal."""

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
        """Print the beginning of a step."""
        self._line(Text(text, style="bold"))

    def event(self, event: Event) -> None:
        """Print an event of the journal; skip a cycle with the same verdict as the one before."""
        if event.kind == "alert":
            return  # shown on arrival
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
        """Renew the live line."""
        self._bars = [*self._bars, auc.value][-SHOWN:]
        value = "not known yet" if math.isnan(auc.value) else f"{auc.value:.3f} on the newest {known} outcomes"
        self._live.update(
            Text.assemble(
                (f"{self._seconds():5.0f} s  ", "dim"),
                f"{fed.sent:,} customers, {fed.labelled:,} outcomes  ROC-AUC ",
                (value, "bold"),
                "  ",
                (sparkline(self._bars), "cyan"),
                (f"  {' '.join(fed.models[-1:])}", "dim"),
            )
        )

    def summary(self, timeline: Timeline) -> None:
        """Print the conclusions."""
        for line in conclusions(timeline):
            self._console.print(line, highlight=False, soft_wrap=True)

    def _line(self, text: Text) -> None:
        with self._lock:
            self._console.print(Text.assemble((f"{self._seconds():5.0f} s  ", "dim"), text), soft_wrap=True)

    def _seconds(self) -> float:
        return time.monotonic() - self._began


def sparkline(values: list[float]) -> str:
    """Return a bar for each value, and a blank for NaN.

    Examples
    --------
    >>> sparkline([math.nan, 0.3, 0.75, 1.0])
    ' ▁▅█'
    """
    steps = len(BARS)
    places = (None if math.isnan(v) else min(max(int((v - LOW) / (HIGH - LOW) * steps), 0), steps - 1) for v in values)
    return "".join(" " if place is None else BARS[place] for place in places)


def conclusions(timeline: Timeline) -> list[str]:
    """Return the result of the demonstration in sentences."""
    firing = [e for e in timeline.events if e.kind == "alert" and e.good is False]
    swaps = [e for e in timeline.events if e.kind == "deployment" and e.at > timeline.began]
    lines = [
        f"{timeline.customers:,} customers were scored; {len(firing) or 'no'} alarm{'s' * (len(firing) != 1)} fired, "
        f"{len(swaps) or 'no'} new model{'s' * (len(swaps) != 1)} {'was' if len(swaps) == 1 else 'were'} deployed"
    ]
    recovery = timeline.recovery
    if recovery is not None:
        seconds = (recovery.at - timeline.changed).total_seconds()
        lines += [
            f"{recovery.customers:,} customers arrived between the change and the new model ({seconds:.0f} s)",
            f"ROC-AUC {_value(recovery.before)} before the change, {_value(recovery.meanwhile)} until the new model, "
            f"{_value(recovery.after)} since then, on {recovery.measured:,} customers who arrived after it",
        ]
    return lines


def _value(auc: AUC) -> str:
    """Format a ROC-AUC without an interval, which repeated rows would make too narrow."""
    return "not known" if math.isnan(auc.value) else f"{auc.value:.3f}"
