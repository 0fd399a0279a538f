"""Start: CPU time of the command line, and of importing a served model."""

import sys
from pathlib import Path

from benchmarks.harness import Claim, Result, median_usage, run_process

REPEATS = 5


def measure() -> Result:
    """Start each command in turn, `REPEATS` times after one that warms the file cache."""
    python = sys.executable
    commands = {
        "help": [str(Path(python).with_name("churnops")), "--help"],
        "model": [python, "-c", "import churnops.model"],
        "python": [python, "-c", "pass"],
        "numba": [python, "-c", "import numba"],
        "sklearn": [python, "-c", "import sklearn.ensemble"],
        "mlflow": [python, "-c", "import mlflow"],
    }
    runs = [{name: run_process(command) for name, command in commands.items()} for _ in range(REPEATS + 1)][1:]
    cpu = {name: median_usage([run[name] for run in runs]).cpu for name in commands}
    return Result(
        title="Starting",
        about=(
            f"CPU time (user and system) of a process from start to exit, median of {REPEATS}, each command in turn. "
            "A served model needs only `churnops.model`."
        ),
        claims=[
            Claim("`churnops --help`", cpu["help"], "s", 0.4, peer="`import mlflow`", peer_measured=cpu["mlflow"]),
            Claim(
                "`import churnops.model`",
                cpu["model"],
                "s",
                peer="`import sklearn.ensemble`",
                peer_measured=cpu["sklearn"],
            ),
            Claim("`import churnops.model`", cpu["model"], "s", peer="`import mlflow`", peer_measured=cpu["mlflow"]),
        ],
        notes=[
            f"`import churnops.model` includes Python itself, {cpu['python']:.2g} s, and `import numba`, which takes "
            f"{cpu['numba']:.2g} s with Python."
        ],
    )
