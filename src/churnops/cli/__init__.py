"""The command line: one file for each group of commands. Commands import inside functions, so `--help` is fast."""

from churnops.cli import alerts, config, dashboard, deployments, init, journal, models, monitoring, retraining, service  # noqa: F401  (their commands join `main`)
from churnops.cli.root import main

__all__ = ["main"]
