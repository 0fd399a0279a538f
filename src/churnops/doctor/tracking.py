"""Checks of MLflow's store: whether it answers, its version, and runs of killed processes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shlex import quote
from urllib.error import HTTPError
from urllib.request import urlopen

from churnops.doctor.finding import Parts, ProjectFinding
from churnops.errors import first_line, redact
from churnops.process import has_ended
from churnops.registry.registered import registered_versions
from churnops.tracking.ending import PROCESS_TAG
from churnops.tracking.runner import tracking_uri
from churnops.tracking.schema import known_revisions, newest_revision, stored_revision

_TIMEOUT = 2.0
_COMMANDS = {"ChurnPrediction-Pipeline": "churnops run", "ChurnPrediction-Retraining": "churnops retrain"}


def mlflow(parts: Parts) -> Iterator[ProjectFinding]:
    """Check MLflow's store without MLflow, which takes seconds to load."""
    uri = tracking_uri(parts.settings)
    if uri.startswith("http"):
        yield from _server(uri)
    elif uri.startswith("sqlite:///"):
        yield from _file(Path(uri.removeprefix("sqlite:///")), parts)
    else:
        yield ProjectFinding(
            "MLflow's store is a database server, which is not checked", "churnops models", wrong=False
        )


def _server(uri: str) -> Iterator[ProjectFinding]:
    try:
        with urlopen(f"{uri.rstrip('/')}/health", timeout=_TIMEOUT):  # noqa: S310
            pass
    except HTTPError:  # an answer all the same: it may ask for a name and a password
        pass
    except (OSError, ValueError) as error:
        message = f"the MLflow server {redact(uri)} does not answer: {first_line(error)}"
        yield ProjectFinding(message, "churnops models")


def _file(path: Path, parts: Parts) -> Iterator[ProjectFinding]:
    if not path.is_file():
        if parts.place.current() is not None:
            yield ProjectFinding(
                f"a model is deployed, but the MLflow store {path} is missing", f"cp BACKUP {quote(str(path))}"
            )
        return
    try:
        revision = stored_revision(path)
        if revision != newest_revision():
            known = revision in known_revisions()
            message = f"the tables of the MLflow store {path} have version {revision}, and MLflow here needs"
            command = "churnops upgrade" if known else "python -m pip install --upgrade mlflow-skinny"
            yield ProjectFinding(f"{message} {newest_revision()}", command)
            return
        yield from _unregistered(path, parts)
        yield from _abandoned(path)
    except sqlite3.Error as error:
        yield ProjectFinding(f"the MLflow store {path} cannot be read: {error}", f"cp BACKUP {quote(str(path))}")


def _unregistered(path: Path, parts: Parts) -> Iterator[ProjectFinding]:
    """Check that the deployed version is registered, so that it can be promoted and compared again."""
    folder = parts.deployments()
    answered = folder.answered() if folder is not None else []
    if answered and answered[-1].version not in registered_versions(parts.settings):
        message = f"version {answered[-1].version} is deployed, but the MLflow store {path} does not have it"
        yield ProjectFinding(message, f"cp BACKUP {quote(str(path))}")


def _abandoned(path: Path) -> Iterator[ProjectFinding]:
    """Look for runs whose process has ended: the next run of the same pipeline closes them."""
    query = (
        "SELECT experiments.name, tags.value FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid AND tags.key = ? "
        "JOIN experiments ON experiments.experiment_id = runs.experiment_id WHERE runs.status = 'RUNNING'"
    )
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as store:
        rows = store.execute(query, (PROCESS_TAG,)).fetchall()
    for name in sorted({name for name, process in rows if has_ended(process)}):
        command = _COMMANDS.get(name, f"churnops monitor --no-retrain --experiment {quote(name)}")
        yield ProjectFinding(f"MLflow shows a run of a killed process in {name} as running", command, wrong=False)
