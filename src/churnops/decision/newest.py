"""The table of each customer's newest score, brought up to date before a list is made."""

import time
from typing import TYPE_CHECKING

from churnops.decision.policy import DecisionPolicy

if TYPE_CHECKING:
    from churnops.journal import Engine
    from churnops.journal.newest_scores import NewestState

PARTS = 25
"""Parts that are read before a list of the dashboard or the API, in a few seconds; a service reads the others."""

PAUSE_SECONDS = 0.01  # between two parts, for other writers


def bring_up_to_date(
    engine: "Engine", policy: DecisionPolicy, *, rebuild: bool = False, parts: int | None = None
) -> "NewestState":
    """Read new predictions into the table of newest scores; return its state.

    Parameters
    ----------
    rebuild
        Whether to read all predictions again, from the oldest.
    parts
        Limit of the parts of 2,000 predictions that are read; None: all.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    from churnops.journal.newest_scores import begin_again, follow_predictions, newest_state

    if rebuild:
        begin_again(engine, policy.value_column)
    read = 0
    while follow_predictions(engine, policy.value_column) and (parts is None or read < parts):
        read += 1
        time.sleep(PAUSE_SECONDS)
    return newest_state(engine)
