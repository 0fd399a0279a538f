"""Load on one service in turns, with and without an experiment: the measurement of `shadow_load` and `split_load`."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.serving import CONNECTIONS, lua, served_project, serving, wrk
from churnops.experiments.experiment import start_experiment
from churnops.journal.experiments import Kind
from churnops.project import Project
from churnops.settings import load_settings

SECONDS = 5  # of load, in a round
FOLLOW_SECONDS = 15.0  # after the start or stop: the model is loaded, and a first look at the evidence taken


@dataclass(frozen=True)
class Rounds:
    """A measured number of each round: with the experiment (`on`), and without (`off`)."""

    on: list[float] = field(default_factory=list)
    off: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Median of the rounds' ratios."""
        return statistics.median(on / off for on, off in zip(self.on, self.off, strict=True))


def load_in_turns(
    kind: Kind, share: float, rounds: int, port: int, at_end: Callable[[Project], None] = lambda _: None
) -> tuple[Rounds, Rounds]:
    """Load one service with `POST /predict`; return requests a second, and 99th percentiles in ms.

    Parameters
    ----------
    at_end
        Called with the project after the last round.
    """
    rates, tails = Rounds(), Rounds()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "post.lua"
        script.write_text(lua(folder, served_project(folder)))
        settings = load_settings(folder / "config.yaml")
        with Project.open(settings) as project, serving(folder, port, "churnops.api.main:app") as (address, _):
            wrk(address, script, CONNECTIONS, seconds=2)
            for number in range(rounds):
                for running in (number % 2 == 0, number % 2 == 1):
                    with _experiment(project, kind, share, running=running):
                        time.sleep(FOLLOW_SECONDS)
                        rate, tail = wrk(address, script, CONNECTIONS, seconds=SECONDS)
                    (rates.on if running else rates.off).append(rate)
                    (tails.on if running else tails.off).append(tail)
            time.sleep(FOLLOW_SECONDS)
            at_end(project)
    return rates, tails


@contextmanager
def _experiment(project: Project, kind: Kind, share: float, *, running: bool) -> Iterator[None]:
    """Run an experiment of the deployed model with another threshold within the block, unless it is not to run."""
    if not running:
        yield
        return
    with project.folder.locked():
        challenger = replace(project.require_deployed(), threshold=0.4)
        started = start_experiment(project, kind, challenger, 2, share, "benchmark", "")
    try:
        yield
    finally:
        project.experiments.end(started.id, "stopped", "benchmark", "end of the round")
