"""Deployment in five steps: save the bundle, log an intent, swap a link, move the aliases, close the intent.

Models may also be in an object store: then a small document there is swapped (see `registry.store_place`).

A process may die between any two steps. The swap is atomic: before it the old model is deployed, after it the new one.
The next process finishes or undoes a deployment whose intent is open. A rollback begins with the second step, because
the folder of the earlier model still exists.
"""

import getpass
import os
import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from churnops.errors import BundleError, RegistryError, reason_of
from churnops.model import Bundle
from churnops.registry.place import FOLDER_NAME, OvertakenError, Place

if TYPE_CHECKING:  # loading SQLAlchemy takes longer than scoring a small file
    from churnops.journal import Deployment, DeploymentLog
    from churnops.journal.deployment_log import Intent

MoveAliases = Callable[[str], None]
"""Moves MLflow's alias `production` to the version with this content hash. A repeated call changes nothing."""

_FOLDER_NAME = re.compile(FOLDER_NAME)
NEWEST = "one of the newest deployments"
"""Use of a version folder, unless it has a better one."""
NEXT = "the next `churnops serve` or deployment moves the aliases"
CLOSES = "the next `churnops serve` or deployment closes it"


class UnfinishedDeploymentError(RegistryError):
    """A step after the link swap failed. The new model is deployed, and the intent stays open."""


class AliasesBehindError(UnfinishedDeploymentError):
    """MLflow's aliases could not be moved."""


def who() -> str:
    """Return the user's name, or the user's number if there is no name.

    >>> who() != ""
    True
    """
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return f"user {os.getuid()}"


class DeploymentFolder:
    """The deployed models, and the log of deployments.

    Call methods that change the folder only inside `locked()`. Without `move_aliases`, intents stay open until a
    process with access to MLflow closes them.
    """

    def __init__(self, place: Place, log: "DeploymentLog", move_aliases: MoveAliases | None = None) -> None:
        self.place = place
        self.log = log
        self._move_aliases = move_aliases

    def locked(self) -> AbstractContextManager[None]:
        """Lock out decisions and deployments by other processes until the block ends. See `Place.locked`."""
        return self.place.locked()

    @property
    def folder(self) -> Path:
        """The folder of the models on this machine."""
        return self.place.folder

    @property
    def link(self) -> Path:
        """The link that serving reads."""
        return self.place.link

    @property
    def versions(self) -> Path:
        """The folder of version folders on this machine."""
        return self.place.versions

    def current(self) -> str | None:
        """Return the name of the deployed version folder; None if there is no deployed model."""
        return self.place.current()

    def production(self) -> Bundle | None:
        """Load the deployed bundle; return None if there is none. See `Place.production`."""
        return self.place.production()

    def deploy(self, bundle: Bundle, version: int, reason: str, by: str | None = None) -> Path:
        """Deploy `bundle`, which is registered as `version`; return its folder.

        Parameters
        ----------
        by
            Name for the log. Default: the user's.

        Raises
        ------
        RegistryError
            If `production` is not a link made by churnops.
        UnfinishedDeploymentError
            If the aliases could not be moved or the intent could not be closed. The bundle is deployed nevertheless.
        """
        from churnops.journal.deployment_log import Intent

        self.place.check_link()
        self._undo()
        name = self.add(bundle, version)
        self._put_into_production(Intent(name, version, bundle.content_sha256, self.current(), reason, by or who()))
        return self.versions / name

    def add(self, bundle: Bundle, version: int) -> str:
        """Write the version folder of `bundle`, which is registered as `version`; return its name. Nothing is deployed.

        Raises
        ------
        BundleError
            If the bundle cannot be loaded again.
        """
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{bundle.algorithm}-v{version}"
        Bundle.load(bundle.save(self.versions / name))
        self.place.publish(name, bundle.content_sha256)
        return name

    def rollback(self, folder_name: str | None, reason: str, by: str | None = None) -> Path:
        """Roll back to a model that was deployed earlier; return its folder.

        Parameters
        ----------
        folder_name
            Name of the model's folder below `versions`. None: the model that the deployed one replaced at its own
            deployment; rollbacks to it do not count. So a second rollback leads one deployment further back.
        by
            Name for the log. Default: the user's.

        Raises
        ------
        RegistryError
            If there is no such deployment, its folder was removed, or it is the deployed one. Nothing has changed.
        BundleError
            If the bundle is damaged. Nothing has changed.
        UnfinishedDeploymentError
            If the aliases could not be moved or the intent could not be closed. The rollback happened nevertheless.
        """
        from churnops.journal.deployment_log import Intent

        self.place.check_link()
        self._undo()
        target = self.rollback_target(folder_name)
        if target.folder == self.current():
            raise RegistryError(f"version {target.version} is deployed already, in {target.folder}")
        self._check_bundle(target)
        self._put_into_production(
            Intent(
                target.folder, target.version, target.content_sha256, self.current(), reason, by or who(), "rollback"
            )
        )
        return self.versions / target.folder

    def rollback_target(self, folder_name: str | None = None) -> "Deployment":
        """Return the deployment that `rollback` leads to.

        Raises
        ------
        RegistryError
            If there is none.
        """
        return self._replaced() if folder_name is None else self._deployment(folder_name)

    def folder_of(self, version: int) -> str:
        """Return the newest folder in which a version was deployed.

        Raises
        ------
        RegistryError
            If it was never deployed.
        """
        folders = [deployment.folder for deployment in self.answered() if deployment.version == version]
        if not folders:
            raise RegistryError(
                f"version {version} was never deployed, so there is no rollback to it: "
                f"`churnops promote {version}` deploys it"
            )
        names = self.place.names()
        return ([name for name in folders if name in names] or folders)[-1]

    def answered(self) -> "list[Deployment]":
        """Return the deployments that reached the link swap, open and closed, oldest first."""
        history, current = self.log.history(), self.current()
        successor = {later.previous: later.id for later in history}
        return [
            d
            for d in history
            if d.closed == "done" or (d.closed is None and (d.folder == current or successor.get(d.folder, -1) > d.id))
        ]

    def since(self) -> datetime | None:
        """Return the time of the last deployment or rollback; None if there is no deployed model."""
        answered = self.answered()
        return answered[-1].at if answered else None

    def recover(self) -> "list[Deployment]":
        """Finish open deployments whose link was swapped, close the others as undone, and return all of them.

        Raises
        ------
        AliasesBehindError
            If MLflow's aliases could not be moved. The remaining intents stay open for the next call.
        """
        undone = self._undo()
        if self._move_aliases is None:
            return undone
        finished = []
        for intent in self.log.open_intents():  # oldest first: the aliases move in the same order as the link
            try:
                self._move_aliases(intent.content_sha256)
            except RegistryError as error:
                raise AliasesBehindError(
                    f"{intent.folder} is deployed, but MLflow's aliases do not name it yet: {error}; {NEXT}"
                ) from None
            self.log.close(intent, "done")
            finished.append(replace(intent, closed="done"))
        return undone + finished

    def names(self) -> list[str]:
        """Return the names of the version folders, oldest deployment first.

        The log gives the order, because the time in a name may be wrong. Folders that it lacks come first.
        """
        order = self._order()
        return sorted(filter(_FOLDER_NAME.fullmatch, self.place.names()), key=lambda name: (order.get(name, 0), name))

    def in_use(self, keep: int) -> dict[str, str]:
        """Return the names of the version folders that must stay, each with the reason.

        Parameters
        ----------
        keep
            Number of newest deployments whose folders stay.
        """
        names, order, current = self.names(), self._order(), self.current()
        used = dict.fromkeys(names[max(len(names) - keep, 0) :], NEWEST)
        for name in names:  # another machine copies a new folder to the store before it writes the log
            if name not in order and name > (current or ""):
                used[name] = "newer than the deployed version"
        with suppress(RegistryError):  # a rollback has no target
            used[self._replaced().folder] = "target of `churnops rollback`"
        for intent in self.log.open_intents():
            for name in filter(None, (intent.folder, intent.previous)):
                used[name] = "its deployment is unfinished"
        if current is not None:
            used[current] = "deployed"
        return {name: reason for name, reason in used.items() if name in names}

    def remove(self, names: Collection[str]) -> int:
        """Remove version folders, and unfinished ones of killed processes; return the size of their files in bytes.

        Raises
        ------
        RegistryError
            If `versions` is a link.
        """
        if self.versions.is_symlink():
            raise RegistryError(f"{self.versions} is a link, and nothing is removed through a link: prune its target")
        return self.place.remove(names)

    def _order(self) -> dict[str, int]:
        """Return the place of each deployed folder in the log; rollbacks do not count."""
        return {deployment.folder: deployment.id for deployment in self.log.history() if deployment.kind == "deploy"}

    def _check_bundle(self, target: "Deployment") -> None:
        """Refuse a rollback to a folder that is missing, is damaged or contains another bundle."""
        folder, again = self.versions / target.folder, f"`churnops promote {target.version}` deploys it again"
        if target.folder not in self.place.names():
            raise RegistryError(f"version {target.version} was deployed, but its folder was removed: {again}")
        try:
            self.place.fetch(target.folder, target.content_sha256)
            bundle = Bundle.load(folder)
        except BundleError as error:
            raise BundleError(f"{error}; {again}") from None
        if bundle.content_sha256 != target.content_sha256:
            raise BundleError(f"bundle {folder} is refused: another bundle was deployed in this folder; {again}")

    def _replaced(self) -> "Deployment":
        """Return the deployment that the present model replaced when it was deployed, ignoring rollbacks to it."""
        current = self.current()
        if current is None:
            raise RegistryError("no model is deployed, so there is nothing to roll back: type `churnops run`")
        deployed = [d for d in self.answered() if d.folder == current and d.kind == "deploy"]
        if not deployed:
            raise RegistryError(
                f"the deployment log does not name the model that {current} replaced: choose a version with --to"
            )
        if deployed[-1].previous is None:
            raise RegistryError(
                f"version {deployed[-1].version} was the first deployed version, so there is no earlier "
                "model: `churnops promote VERSION` deploys another version"
            )
        return self._deployment(deployed[-1].previous)

    def _deployment(self, folder_name: str) -> "Deployment":
        for deployment in reversed(self.answered()):
            if deployment.folder == folder_name:
                return deployment
        raise RegistryError(f"{folder_name[:200]} is not in the deployment log: `churnops models` lists its entries")

    def _put_into_production(self, intent: "Intent") -> None:
        intent_id = self.log.open_intent(intent)
        try:
            self.place.swap(intent)
            self.recover()
        except UnfinishedDeploymentError:
            raise
        except OvertakenError:
            if self.current() != intent.folder:
                self.log.close(self.log.get(intent_id), "undone")
            raise
        except Exception as error:
            if self.current() != intent.folder:
                raise
            raise UnfinishedDeploymentError(
                f"{intent.folder} is deployed, but its log entry is open: {reason_of(error)}; {CLOSES}"
            ) from error

    def _undo(self) -> "list[Deployment]":
        """Close as undone each open intent whose link was not swapped; return these deployments."""
        swapped = {deployment.id for deployment in self.answered()}
        undone = [intent for intent in self.log.open_intents() if intent.id not in swapped]
        if undone:
            self.place.claim()
        for intent in undone:
            self.log.close(intent, "undone")
        return [replace(intent, closed="undone") for intent in undone]
