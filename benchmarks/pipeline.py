"""Main job: wall time, memory, and MLflow's share of them."""

import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.harness import ROOT, Claim, Result, Usage, median_usage, run_process

REPEATS = 3
QUOTED_SECONDS = 189.0


def measure() -> Result:
    """Run the job in a new folder: once to create the stores, then warm, in turn with the untracked steps."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in ("config.yaml", "run_all.py"):
            shutil.copy(ROOT / file, folder)
        shutil.copytree(ROOT / "data", folder / "data")
        job = [sys.executable, str(folder / "run_all.py")]
        steps = [sys.executable, "-m", "benchmarks.untracked", str(folder / "config.yaml")]
        first = run_process(job, folder=folder)
        tracked, untracked = [], []
        for _ in range(REPEATS):
            tracked.append(run_process(job, folder=folder))
            untracked.append(run_process(steps))
    shares = sorted(job.cpu - steps.cpu for job, steps in zip(tracked, untracked, strict=True))
    return _result(first, median_usage(tracked), median_usage(untracked), shares)


def _result(first: Usage, job: Usage, steps: Usage, shares: Sequence[float]) -> Result:
    quoted = "a public implementation (quoted)"
    return Result(
        title="The main job",
        about=(
            "`python run_all.py` in a fresh copy of the project: all seven steps, with a search over four families, "
            f"tracking, registration and monitoring. Medians of {REPEATS} warm runs (the stores exist), which "
            "alternate with runs of the same steps without tracking. MLflow's share is the difference in CPU time; it "
            "includes the import of MLflow. The brackets show its smallest and its largest value."
        ),
        claims=[
            Claim("`run_all.py`, warm, wall", job.wall, "s", 30, peer=quoted, peer_measured=QUOTED_SECONDS),
            Claim(
                "`run_all.py`, warm, peak memory",
                job.peak,
                "MiB",
                700,
                peer="the steps without MLflow",
                peer_measured=steps.peak,
            ),
            Claim("MLflow's share, CPU", median(shares), "s", 6, low=shares[0], high=shares[-1]),
            Claim("`run_all.py`, warm, CPU", job.cpu, "s", peer="the steps without MLflow", peer_measured=steps.cpu),
            Claim("`run_all.py`, first run, wall", first.wall, "s"),
        ],
        notes=[
            f"The {QUOTED_SECONDS:.0f} s of the public implementation (the same seven steps on the same table, with "
            "scikit-learn, shap and pickle) are quoted from an earlier measurement on two cores, because this "
            "implementation cannot be installed here. So the ratio is rough.",
            "The first run also creates the two databases. It is a single measurement.",
        ],
    )
