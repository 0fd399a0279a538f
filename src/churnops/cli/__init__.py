"""The command line, a file for each group of commands. They import what they need when they run: `--help` is fast."""

from churnops.cli import config, dashboard, journal, models, monitoring, retraining, service  # noqa: F401  (their commands join `main`)
from churnops.cli.root import main

__all__ = ["main"]
