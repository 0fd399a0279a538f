"""Deploying and going back: a bundle's folder, an intent in the log, one atomic link swap, the aliases, done.

A process may die between any two of these steps: until the link is swapped the old model answers, from then on the
new one, and whoever comes next finishes or undoes what the log says was begun. Going back is the same without the
first step: the folder of a model that answered before is there already.
"""

import getpass
import os
import re
import shutil
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from churnops.errors import BundleError, RegistryError, reason_of
from churnops.files import file_lock, fsync_folder
from churnops.model import Bundle
from churnops.model.deployed import LINK, deployed, deployed_version

if TYPE_CHECKING:  # loading SQLAlchemy takes longer than scoring a small file
    from churnops.journal import Deployment, DeploymentLog
    from churnops.journal.deployment_log import Intent

MoveAliases = Callable[[str], None]
"""Makes the registered version with this content hash the production one in MLflow. Repeating it changes nothing."""

FOLDER_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-[a-z_]{1,40}-v\d{1,10}")
NEXT = "the next `churnops serve` or deployment moves them"
CLOSES = "the next `churnops serve` or deployment closes it"
_UNFINISHED, _REMOVED = ".unfinished-", ".removed-"  # of what a killed process was writing, or removing


class UnfinishedDeploymentError(RegistryError):
    """The link is swapped, so the deployment answers; what follows the swap failed. The intent stays open."""


class AliasesBehindError(UnfinishedDeploymentError):
    """MLflow's aliases could not follow."""


@dataclass(frozen=True)
class Pruned:
    """Version folders that were removed, oldest first, and the bytes that all their files had."""

    folders: tuple[str, ...]
    bytes: int


def who() -> str:
    """Return the name of the user, or the number where there is no name.

    >>> who() != ""
    True
    """
    with suppress(OSError, KeyError, ImportError):
        return getpass.getuser()
    return f"user {os.getuid()}"


class DeploymentFolder:
    """The folder of deployed models: `versions/` holds every one, the link `production` is the one that answers.

    Whatever changes something is to be called `locked`. Without `move_aliases`, MLflow is not at hand: a deployment's
    intent then stays open for the next one who has it.
    """

    def __init__(self, folder: Path, log: "DeploymentLog", move_aliases: MoveAliases | None = None) -> None:
        self.folder = folder
        self.log = log
        self._move_aliases = move_aliases

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes on this machine from deciding or deploying until the block ends."""
        return file_lock(self.folder / ".lock")

    @property
    def link(self) -> Path:
        """The link that serving reads."""
        return self.folder / LINK

    @property
    def versions(self) -> Path:
        """The folder with a folder for each deployment."""
        return self.folder / "versions"

    def current(self) -> str | None:
        """Return the name of the version folder in production, None if nothing is deployed."""
        return deployed_version(self.folder)

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
        return deployed(self.folder)

    def deploy(self, bundle: Bundle, version: int, reason: str, by: str | None = None) -> Path:
        """Make `bundle`, registered as `version`, the one that answers; return its folder.

        Parameters
        ----------
        by
            Who does it. Default: the user.

        Raises
        ------
        RegistryError
            If `production` is not the link that churnops makes.
        UnfinishedDeploymentError
            If MLflow's aliases could not be moved, or the intent not be closed. The bundle answers all the same.
        """
        from churnops.journal.deployment_log import Intent

        self._check_link()
        self._undo()
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{bundle.algorithm}-v{version}"
        saved = bundle.save(self.versions / name)
        Bundle.load(saved)  # what cannot be loaded must not answer
        self._put_into_production(Intent(name, version, bundle.content_sha256, self.current(), reason, by or who()))
        return saved

    def rollback(self, folder_name: str | None, reason: str, by: str | None = None) -> Path:
        """Make a model that answered before the one that answers; return its folder.

        Parameters
        ----------
        folder_name
            Its folder below `versions`. None: the model that answered when the present one was deployed, so that
            going back twice goes two back.
        by
            Who does it. Default: the user.

        Raises
        ------
        RegistryError
            If there is no such deployment, or its folder was removed, or it answers already. Nothing has changed.
        BundleError
            If it is damaged. Nothing has changed.
        UnfinishedDeploymentError
            If MLflow's aliases could not be moved, or the intent not be closed. The older model answers all the same.
        """
        from churnops.journal.deployment_log import Intent

        self._check_link()
        self._undo()
        target = self.way_back(folder_name)
        if target.folder == self.current():
            raise RegistryError(f"version {target.version} answers already, from {target.folder}")
        folder = self.versions / target.folder
        again = f"`churnops promote {target.version}` deploys it again"
        if not _is_folder(folder):
            raise RegistryError(f"version {target.version} was deployed, and its folder was removed: {again}")
        try:
            bundle = Bundle.load(folder)
        except BundleError as error:
            raise BundleError(f"{error}; {again}") from None
        if bundle.content_sha256 != target.content_sha256:
            raise BundleError(f"bundle {folder} is refused: it is not the one that was deployed there; {again}")
        self._put_into_production(
            Intent(
                target.folder, target.version, target.content_sha256, self.current(), reason, by or who(), "rollback"
            )
        )
        return folder

    def way_back(self, folder_name: str | None = None) -> "Deployment":
        """Return the deployment that `rollback` leads to.

        Raises
        ------
        RegistryError
            If there is none.
        """
        return self._before_this() if folder_name is None else self._deployment(folder_name)

    def folder_of(self, version: int) -> str:
        """Return the newest folder that a version answered from.

        Raises
        ------
        RegistryError
            If it never answered.
        """
        found = [deployment.folder for deployment in self.answered() if deployment.version == version]
        if not found:
            raise RegistryError(
                f"version {version} never was in production, so there is no way back to it: "
                f"`churnops promote {version}` deploys it"
            )
        there = [name for name in found if _is_folder(self.versions / name)]
        return (there or found)[-1]

    def answered(self) -> "list[Deployment]":
        """Return the deployments that got as far as the link swap, oldest first, whether they are closed or not."""
        history, current = self.log.history(), self.current()
        left = {later.previous: later.id for later in history}
        return [
            d
            for d in history
            if d.closed == "done" or (d.closed is None and (d.folder == current or left.get(d.folder, -1) > d.id))
        ]

    def since(self) -> datetime | None:
        """Return when the model in production was put there, None if nothing is deployed."""
        answered = self.answered()
        return answered[-1].at if answered else None

    def recover(self) -> "list[Deployment]":
        """Finish the deployments whose link swap happened, undo (in the log) those whose did not; return both.

        Raises
        ------
        AliasesBehindError
            If MLflow's aliases could not be moved. The rest stays open, for the next time.
        """
        undone = self._undo()
        if self._move_aliases is None:
            return undone
        finished = []
        for intent in self.log.open_intents():  # oldest first: the aliases go the way that the link went
            try:
                self._move_aliases(intent.content_sha256)
            except RegistryError as error:
                raise AliasesBehindError(
                    f"{intent.folder} answers, and MLflow's aliases do not say so yet: {error}; {NEXT}"
                ) from None
            self.log.close(intent, "done")
            finished.append(replace(intent, closed="done"))
        return undone + finished

    def prune(self, keep: int, protected: Collection[str] = ()) -> Pruned:
        """Remove the oldest version folders, and what killed processes left unfinished.

        Never removed are the model in production, the one that a rollback leads to, and what an open intent names.

        Parameters
        ----------
        keep
            How many of the newest folders stay.
        protected
            Names of more folders that stay.

        Raises
        ------
        RegistryError
            If `versions` is a link: nothing is removed through one.
        """
        if self.versions.is_symlink():
            raise RegistryError(f"{self.versions} is a link, and nothing is removed through one: prune where it leads")
        if not self.versions.is_dir():
            return Pruned((), 0)
        order = {deployment.folder: deployment.id for deployment in self.log.history() if deployment.kind == "deploy"}
        entries = [entry.name for entry in self.versions.iterdir() if _is_folder(entry)]
        # By the log, as a name holds the time of a clock that may have been ahead; folders from before it come first.
        names = sorted(filter(FOLDER_NAME.fullmatch, entries), key=lambda name: (order.get(name, 0), name))
        stay = {*names[max(len(names) - keep, 0) :], *protected, self.current()}
        with suppress(RegistryError):  # no way back: nothing more to protect
            stay.add(self._before_this().folder)
        for intent in self.log.open_intents():
            stay |= {intent.folder, intent.previous}
        gone = [name for name in names if name not in stay]
        for name in gone:  # hidden at once and whole, then deleted: a killed process leaves no half of a bundle
            (self.versions / name).rename(self.versions / (_REMOVED + name))
        fsync_folder(self.versions)
        freed = 0
        for entry in self.versions.iterdir():
            if entry.name.startswith((_REMOVED, _UNFINISHED)) and _is_folder(entry):
                freed += sum(file.lstat().st_size for file in entry.rglob("*") if not file.is_dir())
                shutil.rmtree(entry)
        return Pruned(tuple(gone), freed)

    def _check_link(self) -> None:
        if self.link.exists() and not self.link.is_symlink():
            raise RegistryError(f"{self.link} is not a link made by churnops: move it away first")

    def _before_this(self) -> "Deployment":
        """Return what answered when the present model was deployed (not when it was gone back to)."""
        current = self.current()
        if current is None:
            raise RegistryError("no model is deployed, so there is nothing to go back from: type `churnops run`")
        deployed = [d for d in self.answered() if d.folder == current and d.kind == "deploy"]
        if not deployed:
            raise RegistryError(
                f"the deployment log does not say what answered before {current}: name a version with --to"
            )
        if deployed[-1].previous is None:
            raise RegistryError(
                f"version {deployed[-1].version} was the first to be deployed, so there is nothing to go back to: "
                "`churnops promote VERSION` deploys another"
            )
        return self._deployment(deployed[-1].previous)

    def _deployment(self, folder_name: str) -> "Deployment":
        for deployment in reversed(self.answered()):
            if deployment.folder == folder_name:
                return deployment
        raise RegistryError(f"the deployment log knows no {folder_name[:200]}: `churnops models` lists what it knows")

    def _put_into_production(self, intent: "Intent") -> None:
        self.log.open_intent(intent)
        try:
            self._swap(intent.folder)
            self.recover()
        except UnfinishedDeploymentError:
            raise
        except Exception as error:
            if self.current() != intent.folder:
                raise
            raise UnfinishedDeploymentError(
                f"{intent.folder} answers, and its deployment is not closed: {reason_of(error)}; {CLOSES}"
            ) from error

    def _undo(self) -> "list[Deployment]":
        """Close the open intents whose link swap did not happen."""
        swapped = {deployment.id for deployment in self.answered()}
        undone = [intent for intent in self.log.open_intents() if intent.id not in swapped]
        for intent in undone:
            self.log.close(intent, "undone")
        return [replace(intent, closed="undone") for intent in undone]

    def _swap(self, name: str) -> None:
        """Point the link to another version folder: readers see the old target or the new one, nothing between."""
        new = self.folder / ".production-new"
        new.unlink(missing_ok=True)
        new.symlink_to(Path("versions", name))
        new.replace(self.link)
        fsync_folder(self.folder)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
