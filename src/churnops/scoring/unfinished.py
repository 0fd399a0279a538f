"""Results that are written in parts: a killed process leaves its finished parts, and the next one continues.

Everything is beside the result, in `.<result>.unfinished/<hash of the identity>`: `parts` has the finished parts and
their manifest, and `result` is the file or folder that becomes the result at the end, whole or not at all. A folder
without `result` has nothing to continue: it was published or discarded.
"""

import hashlib
import json
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from churnops.data.targets import WRITTEN
from churnops.errors import ChurnopsError, ClusterError, DataError, JournalError, StoreError
from churnops.files import lock_folder
from churnops.scoring.manifest import RECORDS, FolderManifest, Manifest

PARTS, RESULT = "parts", "result"


class InterruptedRunError(ChurnopsError):
    """The user stopped the run; finished parts are kept."""

    exit_code = 130


class NewerRunError(StoreError):
    """A run that has begun later writes the same result."""


@dataclass(frozen=True)
class UnfinishedParts(ABC):
    """The parts of an unfinished result.

    Attributes
    ----------
    is_restart
        Whether parts of another identity were removed.
    can_continue
        Whether the next run can continue after the finished parts.
    """

    is_restart: bool
    can_continue: bool

    @property
    @abstractmethod
    def manifest(self) -> Manifest:
        """The finished parts, for other processes too."""

    @property
    @abstractmethod
    def goal(self) -> str:
        """Path or address that the result will have."""

    @property
    @abstractmethod
    def remains(self) -> str:
        """Path or address of everything that an interrupted run leaves."""

    @abstractmethod
    def discard(self) -> None:
        """Let the next run start again."""

    def report(self, on_message: Callable[[str], None]) -> int:
        """Report on an earlier run in a sentence; return the number of rows that it finished."""
        rows = self._rows()
        if self.is_restart:
            on_message("an earlier run used another input, model, option or version of churnops: starting again")
        if rows:
            on_message(f"continuing after the {rows:,} rows that an earlier run finished")
        return rows

    @contextmanager
    def keeping_parts(self) -> Iterator[None]:
        """Discard the parts if the input has to change; keep them if the same command can continue."""
        try:
            yield
        except NewerRunError:
            raise
        except StoreError as error:  # which cannot be asked for the finished parts now
            error.add_note(f"finished parts are kept: {self._again}")
            raise
        except (ClusterError, JournalError) as error:
            if kept := self._kept():
                error.add_note(kept)
            raise
        except ChurnopsError as error:
            if rows := self._rows():
                outcome = f"the {rows:,} rows that were scored until then are discarded"
                error.add_note(f"{self.goal} is not written, and {outcome}")
            self.discard()
            raise
        except OSError as error:
            if not (kept := self._kept()):
                raise
            raise DataError(f"{self.goal} cannot be written: {error.strerror or error}; {kept}") from None
        except KeyboardInterrupt:
            if not (kept := self._kept()):
                raise
            raise InterruptedRunError(f"stopped; {kept}") from None

    def _kept(self) -> str:
        """Return a sentence on the parts that are kept; empty if there are none."""
        rows = self._rows() if self.can_continue else 0
        return f"{rows:,} finished rows are kept: {self._again}" if rows else ""

    @property
    def _again(self) -> str:
        return f"type the same command again to continue, or remove {self.remains}"

    def _rows(self) -> int:
        return sum(record.rows for record in self.manifest.finished().values())


@dataclass(frozen=True)
class Unfinished(UnfinishedParts):
    """An unfinished file or folder, which no other process writes.

    Attributes
    ----------
    folder
        Folder of the parts and of the result.
    target
        Path that the result will have.
    """

    folder: Path
    target: Path

    @property
    def manifest(self) -> FolderManifest:
        """The finished parts; the path is absolute, for other processes."""
        return FolderManifest((self.folder / PARTS).resolve())

    @property
    def result(self) -> Path:
        """File or folder that becomes the result."""
        return self.folder / RESULT

    @property
    def goal(self) -> str:
        """Path that the result will have."""
        return str(self.target)

    @property
    def remains(self) -> str:
        """Folder that an interrupted run leaves."""
        return str(self.folder.parent)

    def discard(self) -> None:
        """Let the next run start again."""
        _remove(self.result)


def unfinished_folder(target: Path) -> Path:
    """Return the folder beside `target` in which it is written."""
    return target.with_name(f".{target.name}.unfinished")


@contextmanager
def unfinished_result(target: Path, identity: Mapping[str, Any] | None) -> Iterator[Unfinished]:
    """Lock an unfinished result against other processes. It is removed at the end, unless the next run can continue.

    The folder's name has the hash of the identity. So a task of an earlier run that still runs somewhere cannot add
    parts of another model or input.

    Parameters
    ----------
    target
        A file (.csv, .parquet), or a folder.
    identity
        Everything that decides the result, as JSON types; None if no run can continue another one.

    Raises
    ------
    DataError
        If another process is writing `target`.
    """
    outer = unfinished_folder(target)
    folder = outer / (secrets.token_hex(8) if identity is None else identity_sha256(identity)[:16])
    with lock_folder(outer) as held:
        if not held:
            raise DataError(f"{target} is being written by another run: wait for it, or give another name")
        others = [path for path in outer.iterdir() if path != folder]
        is_void = folder.exists() and not (folder / RESULT).exists()
        for path in (*others, *([folder] if is_void else ())):
            _remove(path)
        (folder / PARTS / RECORDS).mkdir(parents=True, exist_ok=True)
        unfinished = Unfinished(bool(others), identity is not None, folder, target)
        if target.suffix.lower() in WRITTEN:
            unfinished.result.touch()
        else:
            unfinished.result.mkdir(exist_ok=True)
        try:
            yield unfinished
        finally:
            if not (unfinished.can_continue and unfinished.result.exists() and unfinished.manifest.finished()):
                # A worker that was not stopped may still add files: the next run removes them.
                shutil.rmtree(outer, ignore_errors=True)


def identity_sha256(identity: Mapping[str, Any]) -> str:
    """Return the hash of everything that decides a result."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
