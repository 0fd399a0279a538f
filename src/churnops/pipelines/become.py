"""Modules of pipelines that may be started like the scripts of old: `python -m churnops.pipelines.X [EXPERIMENT]`."""

import os
import sys


def become(command: str) -> None:
    """Become `churnops COMMAND`, with the experiment's id or name that may have been given."""
    given = sys.argv[1:]
    experiment = ("--experiment",) if given and not given[0].startswith("-") else ()
    arguments = [sys.executable, "-m", "churnops.cli", command, *experiment, *given]
    os.execv(sys.executable, arguments)  # noqa: S606
