"""Progress of a command in the terminal: one line for each step, or a bar for a file."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class RowsProgress(Protocol):
    """Receives the number of finished rows, their share of all, in [0, 1], and the number of workers."""

    def __call__(self, done: int, share: float, workers: int = 0) -> None:
        """Show the progress."""


@contextmanager
def steps_progress(
    steps: Sequence[str], families: int, *, hidden: bool = False, console: Console | None = None
) -> Iterator[tuple[Callable[[str, str], None], Callable[[str], None]]]:
    """Show a line for each step on standard error; yield callbacks for a step's state and for a trained family.

    Nothing is shown before the first step starts: until then the work may be refused.
    """
    display = Progress(
        _StateColumn(finished_text="[green]✓"),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[note]}"),
        console=console or Console(stderr=True),
        disable=hidden,
    )
    training = steps[4]
    tasks = {
        step: display.add_task(step, total=families if step == training else 1, start=False, note="", failed=False)
        for step in steps
    }

    def on_step(step: str, state: str) -> None:
        task = tasks[step]
        if state == "started":
            display.start()
            display.start_task(task)
        elif state == "finished":
            display.update(task, completed=display.tasks[task].total, note="")
        else:
            display.update(task, description=f"[red]{step}: failed")
            display.stop_task(task)

    def on_family(family: str) -> None:
        display.update(tasks[training], advance=1, note=family)

    try:
        yield on_step, on_family
    finally:
        for task in display.tasks:
            display.update(task.id, visible=task.started, failed=task.started and not task.finished)
        if display.live.is_started:
            display.stop()


class _StateColumn(SpinnerColumn):
    """A spinner, which ends as a tick or, for a failed step, as a cross."""

    def render(self, task: Task) -> RenderableType:
        return Text("✗", style="red") if task.fields["failed"] else super().render(task)


@contextmanager
def rows_progress(
    name: str, *, hidden: bool = False, console: Console | None = None
) -> Iterator[tuple[RowsProgress, Callable[[str], None]]]:
    """Show a file's progress if standard error is a terminal; yield callbacks for finished rows and for messages.

    The bar appears with the first call for finished rows: until then the file may be refused.
    """
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
    start: list[tuple[float, int]] = []  # time and rows at the first call: an earlier run finished these rows

    def on_rows(done: int, share: float, workers: int = 0) -> None:
        now = time.monotonic()
        display.start()
        if not start:
            start.append((now, done))
        rate = (done - start[0][1]) / max(now - start[0][0], 1e-9)
        by = f" by {workers} workers" if workers else ""
        display.update(task, completed=share, rows=f"{done:,} rows, {rate:,.0f} a second{by}")

    def on_message(text: str) -> None:
        if not hidden:
            console.print(f"[dim]{text}", highlight=False, soft_wrap=True)

    try:
        yield on_rows, on_message
    finally:
        if display.live.is_started:
            display.stop()
