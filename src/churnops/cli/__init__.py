"""The command line: one file for each group of commands. Commands import inside functions, so `--help` is fast."""

from churnops.cli import (  # noqa: F401  (their commands join `main`)
    alerts,
    call_lists,
    config,
    dashboard,
    decision,
    demo,
    deployments,
    doctor,
    features,
    init,
    journal,
    models,
    monitoring,
    predict,
    retraining,
    run,
    service,
    shadow,
    split,
)
from churnops.cli.root import main

__all__ = ["main"]
