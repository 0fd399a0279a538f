"""Entry point of pipeline modules: `python -m churnops.pipelines.X [EXPERIMENT]` runs a command of `churnops`."""

import os
import sys


def run_command(command: str) -> None:
    """Replace this process by `churnops COMMAND`; a first argument without a dash names the MLflow experiment."""
    arguments = sys.argv[1:]
    experiment = ("--experiment",) if arguments and not arguments[0].startswith("-") else ()
    os.execv(sys.executable, [sys.executable, "-m", "churnops.cli", command, *experiment, *arguments])  # noqa: S606
