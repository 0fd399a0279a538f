"""Price of a shadow: requests a second and the 99th percentile of `POST /predict`, with and without one."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from benchmarks.harness import Claim, Result
from benchmarks.serving import CONNECTIONS, lua, served_project, serving, wrk
from churnops.experiments.experiment import start_experiment
from churnops.journal.experiments import Kind
from churnops.project import Project
from churnops.settings import load_settings

ROUNDS = 10
SECONDS = 5
FOLLOW_SECONDS = 5.0  # until the service has followed the table of experiments
PORT = 8120


def measure() -> Result:
    """Load one service in turns, with and without a shadow of all customers, and compare medians."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    tails: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "post.lua"
        script.write_text(lua(folder, served_project(folder)))
        settings = load_settings(folder / "config.yaml")
        with Project.open(settings) as project, serving(folder, PORT, "churnops.api.main:app") as (address, _):
            wrk(address, script, CONNECTIONS, seconds=2)
            for number in range(ROUNDS):
                for shadowed in (number % 2 == 0, number % 2 == 1):
                    with experiment(project, "shadow", 1.0, running=shadowed):
                        time.sleep(FOLLOW_SECONDS)
                        rate, tail = wrk(address, script, CONNECTIONS, seconds=SECONDS)
                    rates[shadowed].append(rate)
                    tails[shadowed].append(tail)
            time.sleep(FOLLOW_SECONDS)
            answered = SECONDS * sum(rates[True])
            scored = sum(project.shadow_scores.count(shadow.id) for shadow in project.experiments.newest(ROUNDS))
    pairs = zip(rates[True], rates[False], strict=True)
    tail_pairs = zip(tails[True], tails[False], strict=True)
    return Result(
        title="Shadow: load",
        about=(
            "`POST /predict` as under Serving, with a shadow of all customers on and off in turns: "
            f"{SECONDS} s a round, {ROUNDS} rounds, median of the rounds' ratios. The challenger is as large as the "
            "deployed random forest, and service and challenger have the same core."
        ),
        claims=[
            Claim(
                "requests/s with a shadow, share of those without",
                statistics.median(on / off for on, off in pairs),
                "",
                0.85,
                at_least=True,
            ),
            Claim(
                f"p99 with a shadow, {CONNECTIONS} connections, multiple of that without",
                statistics.median(on / off for on, off in tail_pairs),
                "",
                1.3,
            ),
            Claim("answered customers that the challenger scored", 100 * scored / answered, "%"),
            Claim("requests/s with a shadow", statistics.median(rates[True]), "/s"),
            Claim("requests/s without", statistics.median(rates[False]), "/s"),
            Claim("p99 with a shadow", statistics.median(tails[True]), "ms"),
            Claim("p99 without", statistics.median(tails[False]), "ms"),
        ],
    )


@contextmanager
def experiment(project: Project, kind: Kind, share: float, *, running: bool) -> Iterator[None]:
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
