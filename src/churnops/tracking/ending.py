"""End of MLflow's runs: with the state of the work, also after a failure, an interruption or a kill."""

import contextlib
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

from churnops.errors import first_line
from churnops.process import has_ended
from churnops.tracking.answers import interrupted

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROCESS_TAG = "churnops.process"
"""Tag of a run: the process that executes it."""


@contextlib.contextmanager
def closing(client: "MlflowClient", run_id: str, ended: int | None = None) -> Iterator[None]:
    """End a run as FINISHED, or as FAILED or KILLED if the block raises; always raise the block's own error.

    A finished run ends at `ended`, in milliseconds since 1970, by default now.

    Nested runs that an interruption left open are ended too.
    """
    try:
        yield
        client.set_terminated(run_id, "FINISHED", ended)
    except BaseException as error:
        state = "KILLED" if interrupted(error) else "FAILED"
        if state == "KILLED":
            traceback.clear_frames(error.__traceback__)  # a cursor of an interrupted call would lock the store
        with noted(error):
            client.set_terminated(run_id, state)
            experiment = client.get_run(run_id).info.experiment_id
            below = f"tags.`mlflow.parentRunId` = '{run_id}' and attributes.status = 'RUNNING'"
            for child in client.search_runs([experiment], below):
                client.set_terminated(child.info.run_id, state)
        raise


@contextlib.contextmanager
def noted(error: BaseException) -> Iterator[None]:
    """Turn a failure to track `error` (disk full, server gone) into a note on `error`, so that `error` is raised."""
    try:
        yield
    except Exception as untracked:
        error.add_note(f"MLflow could not record this failure: {first_line(untracked)}")


def end_abandoned_runs(client: "MlflowClient", experiment_id: str) -> None:
    """End the runs of killed processes of this machine as KILLED."""
    for run in client.search_runs([experiment_id], "attributes.status = 'RUNNING'"):
        if has_ended(run.data.tags.get(PROCESS_TAG, "")):
            client.set_terminated(run.info.run_id, "KILLED")
