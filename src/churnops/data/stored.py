"""Tables in object stores: copied to this machine before they are read, and files copied back when they are whole.

A copy is kept in the folder `tables-copy` of the project, and used again as long as the object's etag is the same.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from churnops.address import is_object_address
from churnops.data.read import ENDINGS
from churnops.data.stored_files import unquoted
from churnops.errors import DataError
from churnops.files import file_lock
from churnops.objects import ConditionError, Listed, ObjectStore
from churnops.settings import Settings
from churnops.settings.sections import STORE_COPIES

RESULTS = "results"


def fetch(settings: Settings, source: str) -> Path:
    """Return the path of a table or a folder of tables; copy it first if it is in an object store and has changed.

    Raises
    ------
    DataError
        If the store has no such table.
    StoreError
        If the store does not answer.
    """
    path = settings.path(source)
    if not is_object_address(source):
        return path
    with file_lock(settings.root / STORE_COPIES / ".lock"):
        if path.suffix.lower() in ENDINGS:
            store, name = _object(source)
            listed = store.find(name)
            if listed is None:
                raise DataError(f"{source} does not exist: put the table there, or correct the address")
            _copy(store, listed, path)
        else:
            _copy_folder(ObjectStore(source), path)
    return path


def fetch_tables(settings: Settings) -> None:
    """Copy the tables of training rows and of `data.production` that are in object stores; see `fetch`.

    Raises
    ------
    DataError
        If Feast has not written its training rows yet.
    """
    for source in (*settings.training_tables, *settings.data.production):
        fetch(settings, source)
    if settings.features.source == "feast" and not (rows := settings.path(settings.features.feast_rows)).exists():
        raise DataError(
            f"{rows} does not exist: run training_rows.py of the Feast repository in Feast's environment, or correct "
            "features.feast_rows"
        )


@contextmanager
def result(settings: Settings, target: str, sources: Sequence[str], *, overwrite: bool) -> Iterator[tuple[Path, bool]]:
    """Yield the path to which a file is written, and whether an existing one is replaced; copy it to its store.

    Raises
    ------
    DataError
        If the target exists and must not be replaced.
    StoreError
        If the store does not answer. A whole result stays, and the message names it.
    """
    if not is_object_address(target):
        yield Path(target), overwrite
        return
    path = settings.root / STORE_COPIES / RESULTS / settings.path(target).relative_to(settings.root / STORE_COPIES)
    _check_free(target, sources, overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    yield path, True
    try:
        store, name = _object(target)
        store.upload(name, path, new=not overwrite)
    except ConditionError:
        raise DataError(f"{target} exists already: name another one, or give --force to replace it") from None
    except Exception as error:
        error.add_note(f"the result is complete in {path}")
        raise
    path.unlink()


def _object(address: str) -> tuple[ObjectStore, str]:
    parent, _, name = address.rpartition("/")
    return ObjectStore(parent), name


def _copy(store: ObjectStore, listed: Listed, path: Path) -> None:
    """Copy an object, unless the file is a copy of the same content."""
    known = path.with_name(f".{path.name}.etag")
    same = known.is_file() and known.read_text() == unquoted(listed.etag)
    if same and path.is_file() and path.stat().st_size == listed.bytes:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            copied = store.download(listed.name, file)
        if copied is None:
            raise DataError(f"{store.address}/{listed.name} was removed while it was read")
        known.unlink(missing_ok=True)
        unfinished.replace(path)
        known.write_text(unquoted(copied.etag))
    finally:
        unfinished.unlink(missing_ok=True)


def _copy_folder(store: ObjectStore, path: Path) -> None:
    """Copy all tables below an address, and remove the copies of tables that are gone."""
    tables = {path / listed.name: listed for listed in store.entries() if _is_table(listed.name)}
    if not tables:
        raise DataError(f"{store.address} holds no .csv, .parquet or .xlsx object")
    for target, listed in tables.items():
        _copy(store, listed, target)
    for old in path.rglob("*"):
        if old.is_file() and _is_table(old.name) and old not in tables:
            old.unlink()


def _is_table(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return PurePosixPath(name).suffix.lower() in ENDINGS and not any(part.startswith(".") for part in parts)


def _check_free(target: str, sources: Sequence[str], overwrite: bool) -> None:
    store, name = _object(target)
    exists = store.find(name) is not None or next(ObjectStore(target).entries(), None) is not None
    if exists and (not overwrite or target.rstrip("/") in {source.rstrip("/") for source in sources}):
        raise DataError(
            f"{target} exists already: name another one, or give --force to replace it (the input is never replaced)"
        )
