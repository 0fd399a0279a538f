"""Check that every replica of the service answers with a new deployment, through the journal's table of replicas."""

import time
from dataclasses import replace
from datetime import timedelta

from churnops.journal.replicas import ReplicaStore
from churnops.registry.replicas import replicas_of, summary_of
from churnops.retraining.check import Check

PAUSE_SECONDS = 0.2


def check_replicas(store: ReplicaStore, deployed: str, seconds: float) -> Check:
    """Wait until every replica answers with the deployed model.

    The check fails at once if a replica refuses the model, and at the time limit if one still answers with another.
    A replica that is away, or that reports nothing during the check, may have been stopped: it is not the model's
    fault. So a killed replica, or a killed worker, is waited for only until it counts as away. The reason names it, and
    is empty without replicas.

    Parameters
    ----------
    deployed
        Name of the deployed version folder.
    seconds
        Time limit.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    started = time.monotonic()

    def check(passed: bool, reason: str) -> Check:
        return Check("passed" if passed else "failed", reason, 0, round(time.monotonic() - started, 3))

    while True:
        replicas = replicas_of(store.read(), deployed)
        elapsed = timedelta(seconds=time.monotonic() - started)
        if refusing := [replica.description for replica in replicas if replica.state == "refusing"]:
            return check(False, "; ".join(refusing))
        behind = [replica for replica in replicas if replica.state == "behind"]
        if not behind:
            return check(True, summary_of(replicas) if replicas else "")
        if elapsed.total_seconds() + PAUSE_SECONDS >= seconds:
            break
        time.sleep(PAUSE_SECONDS)
    if stuck := [replica.description for replica in behind if replica.silent < elapsed]:
        return check(False, f"{'; '.join(stuck)}, after {seconds:g} seconds")
    return check(True, summary_of([replace(one, state="away") if one in behind else one for one in replicas]))
