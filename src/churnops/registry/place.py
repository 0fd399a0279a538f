"""Place of the deployed models: a folder with `versions/` and the link `production`."""

import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from churnops.errors import RegistryError
from churnops.files import file_lock, fsync_folder
from churnops.model import Bundle
from churnops.model.deployed import LINK, deployed, deployed_version
from churnops.registry.reference import reference_path
from churnops.registry.trained_on import trained_on_path

if TYPE_CHECKING:
    from churnops.journal.deployment_log import Intent

FOLDER_NAME = r"\d{8}T\d{6}\.\d{6}Z-[a-z_]{1,40}-v\d{1,10}"
"""Pattern of the name of a version folder."""
UNFINISHED, REMOVED = ".unfinished-", ".removed-"
"""Prefixes of folders that a process is writing or deleting."""


class OvertakenError(RegistryError):
    """Another machine has deployed since this deployment began. Nothing was changed."""


class Place:
    """A folder of deployed models on this machine. Its link `production` decides which model is deployed.

    `StorePlace` keeps the models in an object store, and such a folder as their local copy. `DeploymentFolder` and all
    readers use the local folder; the methods that do nothing here keep the store equal to it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock out decisions and deployments by other processes on this machine until the block ends."""
        with file_lock(self.folder / ".lock"):
            yield

    @property
    def link(self) -> Path:
        """The link that serving reads."""
        return self.folder / LINK

    @property
    def versions(self) -> Path:
        """The folder of version folders, one for each deployment."""
        return self.folder / "versions"

    def current(self) -> str | None:
        """Return the name of the deployed version folder; None if there is no deployed model."""
        return deployed_version(self.folder)

    def production(self) -> Bundle | None:
        """Load the deployed bundle; return None if there is none.

        Raises
        ------
        BundleError
            If it is damaged.
        RegistryError
            If `production` is not a link made by churnops.
        """
        self.check_link()
        return deployed(self.folder)

    @property
    def refused(self) -> str | None:
        """Name of the deployed version folder if it is damaged in an object store; None otherwise."""
        return None

    def refresh(self) -> None:
        """Update the local folder, if the models are elsewhere; a failure is only logged."""

    def publish(self, name: str, content_sha256: str) -> None:
        """Copy a version folder to where the models are, if that is elsewhere."""

    def fetch(self, name: str, content_sha256: str) -> None:
        """Copy a version folder to this machine, if it is elsewhere and not here yet."""

    def share_customers(self, content_sha256: str) -> None:
        """Copy the files on a model's training customers to where the models are, if that is elsewhere."""

    def fetch_customers(self, content_sha256: str) -> None:
        """Copy the files on a model's training customers to this machine, if they are elsewhere and not here yet."""

    def swap(self, intent: "Intent") -> None:
        """Deploy a version folder: readers see either the old one or the new one."""
        self._point_to(intent.folder)

    def claim(self) -> None:
        """Make sure that no earlier process can still swap, before its intent is closed as undone."""

    def names(self) -> set[str]:
        """Return the names of the version folders."""
        entries = self.versions.iterdir() if self.versions.is_dir() else ()
        return {entry.name for entry in entries if is_folder(entry)}

    def remove(self, names: Collection[str]) -> int:
        """Remove version folders, and unfinished ones of killed processes; return the size of their files."""
        if not self.versions.is_dir():
            return 0
        for name in names:  # renamed first, so that a killed process never leaves half of a bundle
            (self.versions / name).rename(self.versions / (REMOVED + name))
        fsync_folder(self.versions)
        freed = 0
        for entry in self.versions.iterdir():
            if entry.name.startswith((REMOVED, UNFINISHED)) and is_folder(entry):
                freed += sum(file.lstat().st_size for file in entry.rglob("*") if not file.is_dir())
                shutil.rmtree(entry)
        return freed

    def customer_files(self, content_sha256: str) -> list[Path]:
        """Return the paths of the files on a model's training customers, which need not exist."""
        return [trained_on_path(self.folder, content_sha256), reference_path(self.folder, content_sha256)]

    def remove_customers(self, content_sha256: str) -> int:
        """Remove the files on a model's training customers; return their size in bytes."""
        files = [path for path in self.customer_files(content_sha256) if path.is_file()]
        freed = sum(path.stat().st_size for path in files)
        for path in files:
            path.unlink()
        return freed

    def check_link(self) -> None:
        """Raise `RegistryError` if `production` is not a link made by churnops."""
        if self.link.exists() and not self.link.is_symlink():
            raise RegistryError(f"{self.link} is not a link made by churnops: move it away first")

    def _point_to(self, name: str) -> None:
        """Point the link to another version folder, atomically."""
        new = self.folder / ".production-new"
        new.unlink(missing_ok=True)
        new.symlink_to(Path("versions", name))
        new.replace(self.link)
        fsync_folder(self.folder)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, and not a link to one."""
    return path.is_dir() and not path.is_symlink()
