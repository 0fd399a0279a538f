"""A finding, and the opened parts of a project that checks read."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from churnops.journal import DeploymentLog, Engine
from churnops.registry.folder import DeploymentFolder
from churnops.registry.place import Place
from churnops.settings import Settings


@dataclass(frozen=True)
class ProjectFinding:
    """One thing that is wrong, or worth knowing.

    Attributes
    ----------
    message
        What is wrong, in one sentence without a full stop.
    command
        The command that mends it, for a shell in the project's folder.
    wrong
        False for a note, which leaves the exit code 0.
    """

    message: str
    command: str
    wrong: bool = True


class NotCheckedError(Exception):
    """A check needs the journal, which cannot be read."""


@dataclass(frozen=True)
class Parts:
    """The parts of a project, opened for reading only.

    Attributes
    ----------
    engine
        The journal; None if there is none, or it cannot be read, or its tables have another version.
    version
        Version of the journal's tables; None if it has none, or cannot be read.
    problem
        Reason why the journal cannot be read; None if it can.
    """

    settings: Settings
    engine: Engine | None = None
    version: str | None = None
    problem: str | None = None

    def journal(self) -> Engine | None:
        """Return the journal; None if there is none yet.

        Raises
        ------
        NotCheckedError
            If it cannot be read, or its tables have another version.
        """
        if self.engine is None and (self.problem or self.version):
            raise NotCheckedError
        return self.engine

    @cached_property
    def place(self) -> Place:
        """The folder of models on this machine, also if the models are in an object store."""
        return Place(self.settings.models)

    def deployments(self) -> DeploymentFolder | None:
        """Return the deployed models with their log; None without a readable journal."""
        return None if self.engine is None else DeploymentFolder(self.place, DeploymentLog(self.engine))


Check = Callable[[Parts], Iterable[ProjectFinding]]
"""Yields the findings about one part of a project. An error that it raises becomes a finding."""
