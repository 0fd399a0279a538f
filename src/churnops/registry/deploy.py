"""Deploying: a new folder, an intent in the log, one atomic link swap, the aliases, done.

A process may die between any two of these steps: until the link is swapped the old model answers, from then on the
new one, and whoever comes next finishes or undoes what the log says was begun.
"""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from churnops.errors import RegistryError
from churnops.files import file_lock, fsync_folder
from churnops.journal import Deployment, DeploymentLog
from churnops.model import Bundle

MoveAliases = Callable[[str], None]
"""Makes the registered version with this content hash the production one in MLflow. Repeating it changes nothing."""


class DeploymentFolder:
    """The folder of deployed models: `versions/` holds every one, the link `production` is the one that answers."""

    def __init__(self, folder: Path, log: DeploymentLog, move_aliases: MoveAliases) -> None:
        self.folder = folder
        self.log = log
        self._move_aliases = move_aliases

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes on this machine from deciding or deploying until the block ends."""
        return file_lock(self.folder / ".lock")

    @property
    def link(self) -> Path:
        """The link that serving reads."""
        return self.folder / "production"

    def current(self) -> str | None:
        """Return the name of the version folder in production, None if nothing is deployed."""
        return self.link.readlink().name if self.link.is_symlink() else None

    def production(self) -> Bundle | None:
        """Load the bundle in production.

        Raises
        ------
        BundleError
            If it is damaged.
        RegistryError
            If `production` is not the link that churnops makes.
        """
        self._check_link()
        return Bundle.load(self.link) if self.link.is_symlink() else None

    def deploy(self, bundle: Bundle, version: int, reason: str) -> Path:
        """Make `bundle`, registered as `version`, the one that answers; return its folder. Call it `locked`.

        Raises
        ------
        RegistryError
            If `production` is not the link that churnops makes.
        """
        self._check_link()
        self.recover()
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{bundle.algorithm}-v{version}"
        saved = bundle.save(self.folder / "versions" / name)
        Bundle.load(saved)  # what cannot be loaded must not answer
        intent = self.log.open_intent(
            folder=name, version=version, content_sha256=bundle.content_sha256, previous=self.current(), reason=reason, by="somebody"
        )
        self._swap(name)
        self._finish(self.log.get(intent))
        return saved

    def recover(self) -> None:
        """Finish the deployments whose link swap happened, undo (in the log) those whose did not. Call it `locked`."""
        for intent in self.log.open_intents():
            if self.current() == intent.folder:
                self._finish(intent)
            else:
                self.log.close(intent, "undone")

    def _check_link(self) -> None:
        if self.link.exists() and not self.link.is_symlink():
            raise RegistryError(f"{self.link} is not a link made by churnops: move it away first")

    def _swap(self, name: str) -> None:
        """Point the link to another version folder: readers see the old target or the new one, nothing between."""
        new = self.folder / f".production-{os.getpid()}"
        new.unlink(missing_ok=True)
        new.symlink_to(Path("versions", name))
        new.replace(self.link)
        fsync_folder(self.folder)

    def _finish(self, intent: Deployment) -> None:
        self._move_aliases(intent.content_sha256)
        self.log.close(intent, "done")
