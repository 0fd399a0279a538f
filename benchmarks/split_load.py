"""Price of a split: requests a second and the 99th percentile of `POST /predict`, with and without one.

`SPLIT_ROUNDS` changes the number of rounds.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.harness import Claim, Result
from benchmarks.serving import CONNECTIONS, lua, served_project, serving, wrk
from benchmarks.shadow_load import FOLLOW_SECONDS, SECONDS, experiment
from churnops.project import Project
from churnops.settings import load_settings

ROUNDS = int(os.environ.get("SPLIT_ROUNDS", 10))
SHARE = 0.2
PORT = 8121


def measure() -> Result:
    """Load one service in turns, with and without a split, and compare medians."""
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
                for split in (number % 2 == 0, number % 2 == 1):
                    with experiment(project, "split", SHARE, running=split):
                        time.sleep(FOLLOW_SECONDS)
                        rate, tail = wrk(address, script, CONNECTIONS, seconds=SECONDS)
                    rates[split].append(rate)
                    tails[split].append(tail)
    ratios, tail_ratios = (
        [on / off for on, off in zip(values[True], values[False], strict=True)] for values in (rates, tails)
    )
    return Result(
        title="Split: load",
        about=(
            f"`POST /predict` as under Serving, with a split of share {SHARE:g} on and off in turns: {SECONDS} s a "
            f"round, {ROUNDS} rounds, median of the rounds' ratios. The challenger is as large as the deployed model."
        ),
        claims=[
            Claim(
                "requests/s with a split, share of those without", statistics.median(ratios), "", 0.95, at_least=True
            ),
            Claim(f"p99 with a split, {CONNECTIONS} connections, multiple", statistics.median(tail_ratios), "", 1.1),
            Claim("requests/s with a split", statistics.median(rates[True]), "/s"),
            Claim("requests/s without", statistics.median(rates[False]), "/s"),
        ],
    )
