"""Closed loop: from the first model, through drift, to a new model that is as good as the first was."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

from churnops.demo.feeder import Fed, Feeder
from churnops.demo.plan import DemoPlan
from churnops.demo.project import DemoProject, Process, alert_sink
from churnops.demo.timeline import Event, Timeline, first, read_answers, read_events, read_timeline
from churnops.demo.world import World
from churnops.errors import ChurnopsError
from churnops.evaluation.delong import AUC
from churnops.journal import Journal, open_database

LOOK_SECONDS = 1.0  # interval between two readings of the journal
LIVE_SECONDS = 6.0  # length of the window of newest known outcomes whose ROC-AUC is shown
FIRST_CYCLE_SECONDS = 120.0  # limit for the first monitoring cycle, on a busy machine


class Screen(Protocol):
    """Display of the loop's progress. Several threads call it."""

    def step(self, text: str) -> None:
        """Show the beginning of a step."""

    def event(self, event: Event) -> None:
        """Show an event of the journal."""

    def alert(self, title: str, message: str) -> None:
        """Show an alert as its channel received it."""

    def state(self, fed: Fed, auc: AUC, known: int) -> None:
        """Show the feeder's progress, and the ROC-AUC on the `known` newest outcomes."""


def run_loop(folder: Path, plan: DemoPlan, screen: Screen) -> Timeline:
    """Run the whole loop in the project in `folder` and return its timeline; train a model only if none is deployed.

    Raises
    ------
    ChurnopsError
        If a command fails, or a customer is not answered.
    """
    project = DemoProject(folder, plan)
    world = World(project.sources, project.settings.table, drift=plan.drift, seed=plan.seed)
    if not project.deployed:
        screen.step("churnops run: the first model, on the 2,666 customers of churn-80.csv (the longest step)")
        project.train()
    screen.step("churnops serve: the API, on a port of loopback")
    feeder = Feeder(world, plan, project.port)
    with alert_sink(screen.alert) as address, project.serving() as service:
        screen.step(f"customers arrive, {plan.rate:g} a second; outcomes follow {plan.label_horizon_seconds:g} s later")
        feeder.start()
        try:
            screen.step(f"churnops monitor --every {plan.cycle_seconds}s: it monitors and retrains automatically")
            with project.monitoring(address) as monitor, _Watch(project, feeder, screen, (service, monitor)) as watch:
                return _direct(plan, feeder, watch)
        finally:
            feeder.stop()


class _Watch:
    """Waits; while it waits, it checks the processes and shows new events of the journal."""

    def __init__(self, project: DemoProject, feeder: Feeder, screen: Screen, processes: tuple[Process, ...]) -> None:
        self.screen = screen
        self.began = datetime.now(UTC)
        settings = project.settings
        self.horizon = timedelta(days=settings.journal.label_horizon)
        self.engine = open_database(settings.database_url(settings.journal.url))
        self._journal = Journal(self.engine, label_horizon=self.horizon)
        self._feeder = feeder
        self._processes = processes
        self._shown = set[Event]()
        self.events: tuple[Event, ...] = ()

    def __enter__(self) -> "_Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.dispose()

    def rest(self, seconds: float) -> None:
        """Wait a number of seconds."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(LOOK_SECONDS, left))
            self.look()

    def until(self, happened: Callable[[], bool], seconds: float) -> bool:
        """Wait for a condition; return whether it was met in time."""
        end = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > end:
                return False
            time.sleep(LOOK_SECONDS)
            self.look()
        return True

    def look(self) -> None:
        """Check the processes, and show new events."""
        self._feeder.check()
        for process in self._processes:
            process.check()
        self.events = read_events(self.engine, self.began)
        for event in self.events:
            if event not in self._shown:
                self.screen.event(event)
                self._shown.add(event)
        known = datetime.now(UTC) - self.horizon
        newest = read_answers(self._journal, known - timedelta(seconds=LIVE_SECONDS), known).resolved()
        self.screen.state(self._feeder.fed(), newest.auc(), newest.at.size)


def _direct(plan: DemoPlan, feeder: Feeder, watch: _Watch) -> Timeline:
    """Wait, change the world, and wait for the recovery."""
    if not watch.until(lambda: first(watch.events, "cycle", watch.began) is not None, FIRST_CYCLE_SECONDS):
        raise ChurnopsError(f"no monitoring cycle finished within {FIRST_CYCLE_SECONDS:g} seconds: see monitor.log")
    watch.rest(plan.before_seconds)
    changed = feeder.change()
    known = plan.label_horizon_seconds + plan.label_delay_seconds
    if plan.drift == 0.0:
        watch.screen.step("drift begins, of size 0: nothing changes")
        watch.rest(plan.quiet_seconds + known)
    else:
        watch.screen.step(f"drift begins: {plan.drift:.0%} of the customers follow the reversed bill rule")
        new = watch.until(lambda: len(feeder.fed().models) > 1 and _over(watch.events, changed), plan.patience_seconds)
        if new:
            watch.screen.step("the alarm is over: the loop waits for more customers and their outcomes")
            watch.rest(plan.after_seconds + known)
        else:
            watch.screen.step(f"no new model ended the alarm within {plan.patience_seconds:g} s")
    feeder.stop()
    return read_timeline(
        watch.engine, label_horizon=watch.horizon, changed=changed, drift=plan.drift, size=plan.slice_customers
    )


def _over(events: tuple[Event, ...], changed: datetime) -> bool:
    """Return whether an alarm fired after the change and recovered later."""
    fired = first(events, "alert", changed, good=False, subject="performance")
    return fired is not None and first(events, "alert", fired.at, good=True, subject="performance") is not None
