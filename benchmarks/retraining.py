"""Retraining: its duration on two cores, and the API's throughput during it.

`RETRAINING_ROUNDS` changes the number of rounds.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import ROOT, Claim, Result, run_process
from benchmarks.recovery import answer
from benchmarks.serving import CONNECTIONS, lua, served_project, serving, wrk
from churnops.demo.world import World
from churnops.model import Bundle
from churnops.settings import load_settings

ROUNDS = int(os.environ.get("RETRAINING_ROUNDS", 5))
CUSTOMERS = 1667  # customers of the API with known outcomes
SECONDS = 3  # length of one measurement of load
BEFORE = 4  # measurements before the retraining, and after it
PORT = 8105
COMMAND = (str(Path(sys.executable).with_name("churnops")), "retrain")


@dataclass(frozen=True)
class Round:
    """Seconds of a retraining alone and beside the API; requests a second without a retraining and during one."""

    alone: float
    loaded: float
    quiet: float
    during: float


def measure() -> Result:
    """Retrain in copies of one project, alone and beside a service under load."""
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    with tempfile.TemporaryDirectory() as name:
        first = Path(name, "first")
        first.mkdir()
        key, script = _filled(first), Path(name, "post.lua")
        script.write_text(lua(first, key))
        rounds = [_round(first, Path(name, f"round-{number}"), script) for number in range(ROUNDS)]
    share = [one.during / one.quiet for one in rounds]
    alone = [one.alone for one in rounds]
    loaded = [one.loaded for one in rounds]
    return Result(
        title="Retraining",
        about=(
            f"`churnops retrain` with the default settings: 3,333 customers of the raw tables and {CUSTOMERS:,} of the "
            "journal, random forest and XGBoost on all, recent and recency-weighted rows, comparison and tracking. The "
            "command may use both cores. The API's worker is on core 0, and `wrk` on core 1 loads it fully over "
            f"{CONNECTIONS} connections. Median of {ROUNDS} rounds, each with a new copy of the project."
        ),
        claims=[
            Claim("a retraining alone", statistics.median(alone), "s", 30, low=min(alone), high=max(alone)),
            Claim(
                "a retraining beside the API under full load",
                statistics.median(loaded),
                "s",
                low=min(loaded),
                high=max(loaded),
            ),
            Claim(
                "requests/s during it, share of those without it",
                statistics.median(share),
                "",
                0.8,
                at_least=True,
                low=min(share),
                high=max(share),
            ),
            Claim("requests/s without it", statistics.median([one.quiet for one in rounds]), "/s"),
            Claim("requests/s during it", statistics.median([one.during for one in rounds]), "/s"),
        ],
        notes=("Limits are the smallest and the largest value of the rounds.",),
    )


def _filled(folder: Path) -> str:
    """Make a project with a model, a key and customers with known outcomes; return the key."""
    key = served_project(folder)
    settings = load_settings(folder / "config.yaml", environment={})
    world = World([ROOT / "data/production/churn-later.csv"], settings.table, drift=0.0, seed=1)
    answer(settings, Bundle.load(folder / "models" / "production"), world.arrivals(CUSTOMERS))
    return key


def _round(first: Path, folder: Path, script: Path) -> Round:
    quiet = _copy(first, folder.with_name(f"{folder.name}-alone"))
    alone = run_process(COMMAND, folder=quiet).wall
    shutil.rmtree(quiet)
    _copy(first, folder)
    with serving(folder, PORT, "churnops.api.main:app") as (address, _):
        wrk(address, script, CONNECTIONS, SECONDS)  # warm
        before = [wrk(address, script, CONNECTIONS, SECONDS)[0] for _ in range(BEFORE)]
        began = time.perf_counter()
        with (folder / "retrain.log").open("wb") as log:
            process = subprocess.Popen(COMMAND, cwd=folder, stdout=log, stderr=log)
            during: list[float] = []
            while True:
                rate = wrk(address, script, CONNECTIONS, SECONDS)[0]
                if process.poll() is not None:  # it ended during this measurement
                    break
                during.append(rate)
            # The summary's time is more exact than the measurements.
            loaded = _ended(folder, began)
        if process.returncode:
            raise SystemExit(f"churnops retrain: {(folder / 'retrain.log').read_text()[-500:]}")
        after = [wrk(address, script, CONNECTIONS, SECONDS)[0] for _ in range(BEFORE)]
    shutil.rmtree(folder)
    return Round(alone, loaded, statistics.mean([*before, *after]), statistics.mean(during))


def _ended(folder: Path, began: float) -> float:
    """Return the seconds from `began`, on the performance counter, until the retraining's summary was written."""
    (summary,) = folder.glob("monitoring/retraining_summary_*.json")
    return summary.stat().st_mtime - (time.time() - (time.perf_counter() - began))


def _copy(first: Path, folder: Path) -> Path:
    return Path(shutil.copytree(first, folder, symlinks=True))
