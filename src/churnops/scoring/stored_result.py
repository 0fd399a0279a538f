"""Result in parts in an object store: workers write the parts themselves, and the store copies them at the end.

Beside the result `scored` is `.scored.unfinished`. Its document `run.json` is only ever created, or replaced if it is
unchanged, so it orders the runs that write this result without a lock: the newest one owns it.

| step | `run.json` | killed afterwards |
|---|---|---|
| begin | identity of the run, name of its parts, `scoring` | the same command continues, another one starts again |
| each part: upload its rows under their hash, create its record | | rows without a record are never used |
| publish | `publishing` | the same command repeats the rest, from here on |
| remove `_SUCCESS` and `manifest.json` of an earlier result, let the store copy the parts, write both again | | |
| end | `done` | the next run starts again |
| remove everything beside the result | removed | |

Parts of a new run are under a new name. So a worker that still has a task of an earlier run adds nothing to them.
"""

import json
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from churnops.errors import DataError, StoreError
from churnops.files import temporary_folder
from churnops.objects import ConditionError, ObjectStore, at_once
from churnops.scoring.folder_result import (
    SUCCESS,
    Publish,
    as_json,
    check_apart,
    check_free,
    check_name,
    part_name,
)
from churnops.scoring.manifest import MANIFEST, RECORDS, Manifest, PartRecord
from churnops.scoring.unfinished import NewerRunError, UnfinishedParts, identity_sha256

RUN = "run.json"
LAST = (SUCCESS, MANIFEST)
"""Objects without which a reader takes a result for unfinished."""
PART = re.compile(r"part-\d{6,}\.(csv|parquet)")
"""Names of parts. Nothing else below a target is ever removed."""
MAX_RECORD_BYTES = 2**24

log = logging.getLogger("churnops.scoring")


@dataclass(frozen=True)
class StoredManifest(Manifest):
    """Parts in an object store. Each process opens the store with the credentials of its own environment.

    Attributes
    ----------
    address
        Address of the parts' objects.
    """

    address: str

    @contextmanager
    def new_file(self, ending: str) -> Iterator[Path]:
        """Yield a free path on this machine."""
        with temporary_folder() as folder:
            yield folder / f"part{ending}"

    def _add(self, written: Path, name: str) -> None:
        ObjectStore(self.address).upload(name, written)

    def _record_once(self, name: str, record: bytes) -> bytes:
        store = ObjectStore(self.address)
        try:
            return store.create(name, record).data
        except ConditionError:
            return _read(store, name)

    def _records(self) -> Iterable[bytes]:
        store = ObjectStore(self.address)
        return at_once(lambda name: _read(store, name), [listed.name for listed in store.entries(RECORDS)])


@dataclass(frozen=True)
class _Run:
    """Content of `run.json`.

    Attributes
    ----------
    identity
        Hash of everything that decides the result.
    parts
        Name of the place of the parts.
    owner
        Name of the process that has begun or continued the run last.
    partial
        Whether an earlier run was publishing: the target may have some of its objects.
    """

    identity: str
    parts: str
    owner: str
    state: Literal["scoring", "publishing", "done"]
    partial: bool = False

    @property
    def data(self) -> bytes:
        return json.dumps(asdict(self)).encode()


class _RunDocument:
    """The document `run.json`, as this process has read or written it last."""

    def __init__(self, place: str) -> None:
        self._store = ObjectStore(place)
        self._known = self._store.read(RUN, max_bytes=MAX_RECORD_BYTES)

    @property
    def run(self) -> _Run | None:
        """Its content; None if there is none."""
        return _Run(**json.loads(self._known.data)) if self._known else None

    def write(self, run: _Run) -> None:
        """Create or replace the document; raise `ConditionError` if another process has changed it."""
        try:
            if self._known is None:
                self._known = self._store.create(RUN, run.data)
            else:
                self._known = self._store.replace(RUN, run.data, self._known)
        except StoreError as error:
            now = self._store.read(RUN, max_bytes=MAX_RECORD_BYTES)
            if now is not None and now.data == run.data:  # an earlier attempt of this call, whose answer was lost
                self._known = now
            elif isinstance(error, ConditionError) or (now is None and self._known is not None):
                raise ConditionError(f"{self._store.address}/{RUN} was changed by another process") from None
            else:
                raise

    def is_ours(self) -> bool:
        """Return whether the document is still what this process wrote."""
        now = self._store.read(RUN, max_bytes=MAX_RECORD_BYTES)
        return now is not None and self._known is not None and now.data == self._known.data

    def remove(self) -> None:
        """Remove the document if it is still what this process wrote."""
        if self.is_ours():
            self._store.delete([RUN])


@dataclass(frozen=True)
class StoredUnfinished(UnfinishedParts):
    """The unfinished parts of a result in an object store.

    Attributes
    ----------
    target
        Address that the result will have.
    place
        Address of everything that an interrupted run leaves.
    """

    target: str
    place: str
    document: _RunDocument
    run: _Run

    @property
    def manifest(self) -> StoredManifest:
        """The finished parts."""
        return StoredManifest(f"{self.place}/{self.run.parts}")

    @property
    def goal(self) -> str:
        """Address that the result will have."""
        return self.target

    @property
    def remains(self) -> str:
        """Address of everything that an interrupted run leaves."""
        return self.place

    def discard(self) -> None:
        """Let the next run start again; do nothing if a newer run uses the parts."""
        store = ObjectStore(self.place)
        names = [listed.name for listed in store.entries() if listed.name != RUN]
        with suppress(ConditionError):
            self.document.write(replace(self.run, state="done"))
            store.delete(names)
            self.document.remove()

    def publish(
        self,
        records: Sequence[PartRecord],
        manifest: Mapping[str, Any],
        on_written: Callable[[Path], object] | None,
    ) -> None:
        """Let the store copy the parts to the result, and complete it."""
        try:
            self.document.write(replace(self.run, state="publishing"))
        except ConditionError:
            raise self._newer() from None
        store = ObjectStore(self.target)
        old, names = {listed.name for listed in store.entries()}, {part_name(record) for record in records}
        store.delete([name for name in LAST if name in old])
        self._copy(records)
        self._check_owner()
        store.delete([name for name in old if PART.fullmatch(name) and name not in names])
        if on_written:
            for record in records:
                with temporary_folder() as folder, (folder / part_name(record)).open("wb") as file:
                    store.download(part_name(record), file)
                    file.flush()
                    on_written(folder)
            self._check_owner()
        store.put(MANIFEST, as_json(manifest))
        store.put(SUCCESS, b"")
        try:
            self.discard()
        except StoreError as error:  # the result is whole
            log.warning("%s is written, but %s could not be removed: %s", self.target, self.place, error)

    def _copy(self, records: Sequence[PartRecord]) -> None:
        parent, _, name = self.target.rpartition("/")
        store, source = ObjectStore(parent), f"{self.place.rpartition('/')[2]}/{self.run.parts}"
        try:
            at_once(lambda each: store.copy(f"{source}/{each.data}", f"{name}/{part_name(each)}"), records)
        except StoreError:
            self._check_owner()  # it may have removed the parts
            raise

    def _check_owner(self) -> None:
        if not self.document.is_ours():
            raise self._newer()

    def _newer(self) -> NewerRunError:
        return NewerRunError(f"a newer run writes {self.target}, or has written it: wait for it")


@contextmanager
def stored_result(
    source: Path | str, target: str, identity: Mapping[str, Any], *, overwrite: bool
) -> Iterator[tuple[StoredUnfinished, Publish]]:
    """Yield the unfinished parts of the result at the address `target`, and the function that completes it.

    Raises
    ------
    DataError
        If another process begins to write `target` now, it is not free, or it is the input.
    StoreError
        If the store does not answer.
    """
    check_name(source, target)
    if isinstance(source, str):
        given, written = f"{source}/", f"{target}/"
        check_apart(target, overlap=given.startswith(written) or written.startswith(given))
    parent, _, name = target.rpartition("/")
    place, token, own = f"{parent}/.{name}.unfinished", secrets.token_hex(8), identity_sha256(identity)
    document = _RunDocument(place)
    known = document.run if document.run and document.run.state != "done" else None
    partial = known is not None and (known.partial or known.state == "publishing")
    new = _Run(own, token, token, "scoring", partial)
    run = replace(known, owner=token) if known and known.identity == own else new
    if run.state != "publishing":
        exists = {listed.name for listed in ObjectStore(target).entries()}
        check_free(target, exists=bool(exists), is_result=partial or MANIFEST in exists, overwrite=overwrite)
    try:
        document.write(run)
    except ConditionError:
        raise DataError(f"{target} is being written by another run: wait for it, or give another name") from None
    if run.parts == token:
        store = ObjectStore(place)
        store.delete([listed.name for listed in store.entries() if listed.name != RUN])
    unfinished = StoredUnfinished(known is not None and run.parts == token, True, target, place, document, run)
    yield unfinished, unfinished.publish


def _read(store: ObjectStore, name: str) -> bytes:
    record = store.read(name, max_bytes=MAX_RECORD_BYTES)
    if record is None:
        raise NewerRunError(f"{store.address}/{name} was removed by a newer run")
    return record.data
