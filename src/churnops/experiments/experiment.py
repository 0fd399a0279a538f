"""Start of an experiment: the challenger's files are placed beside the deployed model's."""

from datetime import UTC, datetime

from churnops.errors import RegistryError
from churnops.journal.experiments import Experiment, Kind
from churnops.model import Bundle
from churnops.project import Project

CONTACTS = (
    "Whatever contacts customers because of the champion's scores changes their outcomes, and this comparison does not "
    "correct for that."
)
"""Sentence of every report of an experiment."""


def start_experiment(
    project: Project, kind: Kind, challenger: Bundle, version: int, share: float, by: str, why: str
) -> Experiment:
    """Compare a registered version with the deployed model on live customers, from now on.

    A running experiment whose champion is no longer deployed ends. The caller holds the lock `project.folder.locked()`.

    Parameters
    ----------
    challenger
        The bundle that is registered as `version`.
    share
        Share of the customers that take part, in (0, 1].
    by, why
        Who starts it, and for what reason.

    Raises
    ------
    RegistryError
        If no model is deployed, the challenger is the deployed model or needs other inputs, or nothing is recorded.
    JournalError
        If an experiment is running, or the database does not answer.
    """
    champion = project.require_deployed()
    _check(project, champion, challenger, version)
    end_overtaken(project, champion, by)
    if (running := project.experiments.running()) is not None:
        project.experiments.refuse_second(running)
    return project.experiments.start(
        Experiment(
            kind=kind,
            champion=champion.content_sha256,
            challenger=challenger.content_sha256,
            champion_name=champion.version_name,
            challenger_name=challenger.version_name,
            version=version,
            folder=project.folder.add(challenger, version),
            share=share,
            started_at=datetime.now(UTC),
            by=by,
            why=why,
        )
    )


def end_overtaken(project: Project, deployed: Bundle, by: str) -> None:
    """End the running experiment if its champion is no longer the deployed model.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    running = project.experiments.running()
    if running is not None and running.champion != deployed.content_sha256:
        project.experiments.end(running.id, "stopped", by, f"{deployed.version_name} was deployed")


def _check(project: Project, champion: Bundle, challenger: Bundle, version: int) -> None:
    """Refuse a challenger that cannot be compared with the champion on recorded customers."""
    if challenger.content_sha256 == champion.content_sha256:
        raise RegistryError(f"version {version} has the same content as the deployed model: name another version")
    if not project.settings.journal.predictions:
        raise RegistryError("an experiment needs recorded predictions: set journal.predictions to true")
    for column in challenger.schema.model_inputs:
        given = champion.schema.by_name.get(column.name)
        if given is None or given.kind != column.kind:
            raise RegistryError(
                f"version {version} needs the column {column.name} ({column.kind}), which the deployed model's "
                "customers do not have: an experiment compares models of the same table"
            )
