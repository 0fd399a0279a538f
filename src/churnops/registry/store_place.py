"""Deployed models in an object store, with a verified local copy that all readers use.

The store has the version folders as `versions/NAME/…` and one small document, `production.json`, which decides which
model is deployed. A deployment replaces the document on the condition that nobody else has replaced it since the
deployment began, so of several machines that deploy at once one succeeds.
"""

import logging
import secrets
import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from churnops.errors import BundleError, RegistryError, StoreError
from churnops.files import close_to_others, file_lock, fsync_folder
from churnops.model import Bundle
from churnops.model.bundle_folder import DOCUMENT, ESTIMATOR, REFERENCE
from churnops.objects import ObjectStore
from churnops.registry.place import UNFINISHED, Place, is_folder
from churnops.registry.production_document import PRODUCTION, ProductionDocument, ProductionObject

if TYPE_CHECKING:
    from churnops.journal.deployment_log import Intent

log = logging.getLogger("churnops.registry")

BUNDLE_FILES = (DOCUMENT, ESTIMATOR, REFERENCE)
MAX_FILE_BYTES = 2**30
FRESH_SECONDS, PAUSE_SECONDS = 2.0, 30.0
"""Times without a question by `refresh`, after an answer of the store and after none."""


class StorePlace(Place):
    """Deployed models in an object store; `folder` is their local copy.

    Safe for several threads and processes. If the store does not answer, readers continue with the local copy.
    """

    def __init__(self, store: ObjectStore, folder: Path) -> None:
        super().__init__(folder)
        self.store = store
        self._production = ProductionObject(store)
        self._adopted: str | None = None  # etag of the document that the local link follows
        self._damaged: tuple[str, BundleError] | None = None  # deployed version in the store, and the damage
        self._deploying = False
        self._next_refresh = float("-inf")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock out this machine's other processes, and fail if another machine deploys before the block ends.

        Raises
        ------
        StoreError
            If the store does not answer: a deployment must begin from the model that is deployed there.
        """
        with super().locked():
            with suppress(BundleError):  # a deployment replaces the damaged version
                self.follow()
            self._deploying = True
            try:
                yield
            finally:
                self._deploying = False

    @property
    def refused(self) -> str | None:
        """Name of the deployed version folder if it is damaged in the store, so that it could not be copied."""
        return self._damaged[0] if self._damaged else None

    def current(self) -> str | None:
        """Return the name of the deployed version folder, also if it is damaged in the store; see `Place.current`."""
        return self.refused or super().current()

    def production(self) -> Bundle | None:
        """Load the deployed bundle; raise `BundleError` if it is damaged in the store. See `Place.production`."""
        if self._damaged:
            raise self._damaged[1]
        return super().production()

    def refresh(self) -> None:
        """Follow the store, unless that was done just now or this process deploys; log a failure."""
        if self._deploying or time.monotonic() < self._next_refresh:
            return
        pause = FRESH_SECONDS
        try:
            self.follow()
        except (StoreError, BundleError, RegistryError) as error:
            log.warning("the local copy of the deployed model may be outdated: %s", error)
            pause = PAUSE_SECONDS
        self._next_refresh = time.monotonic() + pause

    def follow(self) -> None:
        """Copy the deployed version to this machine if it changed, check it, and point the local link to it.

        Raises
        ------
        StoreError
            If the store does not answer, or has lost its document.
        BundleError
            If the version is damaged. The local link stays.
        """
        with self._copying():
            document = self._production.read()
            if document is None or document.folder is None:
                if super().current() is not None:
                    raise StoreError(
                        f"{self.store.address} has no deployed model, but its copy {self.folder} has one: restore "
                        f"{PRODUCTION} in the store, or remove the copy"
                    )
                return
            if self._adopted != self._production.etag or not is_folder(self.versions / document.folder):
                try:
                    self._fetch(document.folder, document.content_sha256 or "")
                except BundleError as error:
                    self._damaged = document.folder, error
                    raise
                self._adopted = self._production.etag
            self._damaged = None
            if super().current() != document.folder:
                self._point_to(document.folder)

    def publish(self, name: str, content_sha256: str) -> None:
        """Copy a version folder, and the files on its training customers, to the store."""
        for file in BUNDLE_FILES:
            self._upload(self.versions / name / file)
        self.share_customers(content_sha256)

    def share_customers(self, content_sha256: str) -> None:
        """Copy the files on a model's training customers to the store: another machine may compare or promote it."""
        for path in self.customer_files(content_sha256):
            if path.is_file():
                self._upload(path)

    def fetch_customers(self, content_sha256: str) -> None:
        """Copy the files on a model's training customers from the store, unless they are here or nowhere."""
        for path in self.customer_files(content_sha256):
            if path.is_file():
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            close_to_others(path.parent)
            unfinished = path.with_name(f".{path.name}.unfinished")
            if self._download(str(path.relative_to(self.folder)), unfinished):
                close_to_others(unfinished)
                unfinished.replace(path)

    def fetch(self, name: str, content_sha256: str) -> None:
        """Copy a version folder from the store, unless it is here; upload it if another machine has pruned it.

        Raises
        ------
        BundleError
            If the version in the store is damaged, lacks a file or is another model. Nothing has changed.
        StoreError
            If the store does not answer.
        """
        with self._copying():
            self._fetch(name, content_sha256)
        in_store = {entry.name.rpartition("/")[2] for entry in self.store.entries(f"versions/{name}")}
        if not in_store.issuperset(BUNDLE_FILES):
            self.publish(name, content_sha256)

    def _fetch(self, name: str, content_sha256: str) -> None:
        folder = self.versions / name
        if is_folder(folder) and _holds(folder, content_sha256):
            return
        unfinished = self.versions / f"{UNFINISHED}{secrets.token_hex(8)}"
        unfinished.mkdir(parents=True)
        try:
            self._download_bundle(name, content_sha256, unfinished)
            self.fetch_customers(content_sha256)
            if folder.is_symlink():
                folder.unlink()
            elif folder.exists():  # damaged
                shutil.rmtree(folder)
            unfinished.rename(folder)
            fsync_folder(self.versions)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _download_bundle(self, name: str, content_sha256: str, folder: Path) -> None:
        """Copy a version's files into a folder, and check them; the error of a damaged version names the store."""
        try:
            for file in BUNDLE_FILES:
                if not self._download(f"versions/{name}/{file}", folder / file):
                    raise BundleError(f"{file} is missing")
            if Bundle.load(folder).content_sha256 != content_sha256:
                raise BundleError(f"{PRODUCTION} names another model in this folder")
        except BundleError as error:
            reason = str(error).rpartition(" is refused: ")[2]
            raise BundleError(f"bundle {self.store.address}/versions/{name} is refused: {reason}") from None

    def swap(self, intent: "Intent") -> None:
        """Replace the store's document, then point the local link to the version.

        Raises
        ------
        OvertakenError
            If another machine has deployed since `locked` began.
        StoreError
            If the store does not answer.
        """
        with self._copying():
            self._production.write(
                ProductionDocument(
                    turn=secrets.token_hex(8),
                    folder=intent.folder,
                    version=intent.version,
                    content_sha256=intent.content_sha256,
                    previous=intent.previous,
                )
            )
            self._point_to(intent.folder)
            self._adopted = self._production.etag
            self._damaged = None

    def claim(self) -> None:
        """Write the document again with a new `turn`: the condition of an earlier deployment is then not met.

        Raises
        ------
        OvertakenError
            If another machine has deployed since `locked` began.
        """
        with self._copying():
            document = self._production.document or ProductionDocument(turn="0" * 16)
            self._production.write(document.model_copy(update={"turn": secrets.token_hex(8)}))

    def names(self) -> set[str]:
        """Return the names of the version folders here and in the store."""
        return super().names() | {entry.name.split("/")[1] for entry in self.store.entries("versions")}

    def remove(self, names: Collection[str]) -> int:
        """Remove version folders here and in the store; return the size of their files here."""
        self.store.delete([f"versions/{name}/{file}" for name in names for file in reversed(BUNDLE_FILES)])
        with self._copying():
            return super().remove(set(names) & super().names())

    def remove_customers(self, content_sha256: str) -> int:
        """Remove the files on a model's training customers here and in the store; return their size here."""
        self.store.delete([str(path.relative_to(self.folder)) for path in self.customer_files(content_sha256)])
        return super().remove_customers(content_sha256)

    def _copying(self) -> AbstractContextManager[None]:
        """Lock the local link against other processes of this machine, for as long as a copy takes."""
        return file_lock(self.folder / ".copy")

    def _upload(self, path: Path) -> None:
        self.store.upload(str(path.relative_to(self.folder)), path)

    def _download(self, name: str, path: Path) -> bool:
        """Copy an object to a new file, unless the store lacks it; return whether it has it."""
        with path.open("wb") as file:
            copied = self.store.download(name, file, max_bytes=MAX_FILE_BYTES)
        if copied is None:
            path.unlink()
        return copied is not None


def _holds(folder: Path, content_sha256: str) -> bool:
    """Whether a folder has an undamaged bundle with this content."""
    try:
        return Bundle.load(folder).content_sha256 == content_sha256
    except BundleError:
        return False
