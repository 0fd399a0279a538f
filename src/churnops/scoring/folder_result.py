"""Result in parts as a folder: it gets its name at once, when it is whole."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from churnops.data.targets import WRITTEN
from churnops.errors import DataError
from churnops.files import close_to_others, fsync_folder, write_flushed
from churnops.scoring.manifest import MANIFEST, PartRecord
from churnops.scoring.unfinished import Unfinished, unfinished_folder, unfinished_result

SUCCESS = "_SUCCESS"
Publish = Callable[[Sequence[PartRecord], Mapping[str, Any], Callable[[Path], object] | None], None]
"""Completes a result. Its arguments: records of all parts, content of its manifest, and a function that is called with
the folder of its parts before the result gets its name; in an object store with a copy of each part."""


@contextmanager
def folder_result(
    source: Path | str, target: Path, identity: Mapping[str, Any], *, overwrite: bool
) -> Iterator[tuple[Unfinished, Publish]]:
    """Yield the unfinished parts of the folder `target`, and the function that completes it.

    Raises
    ------
    DataError
        If another process is writing `target`, it is not a free folder, or it is the input.
    """
    if not unfinished_folder(target).exists():  # refuse before a folder is made
        _check_target(source, target, overwrite=overwrite)
    with unfinished_result(target, identity) as unfinished:
        _check_target(source, target, overwrite=overwrite)  # another run may have finished meanwhile
        yield unfinished, partial(_publish, unfinished)


def part_name(record: PartRecord) -> str:
    """Return the name of a part's file in the result."""
    return f"part-{record.number:06d}{Path(record.data).suffix}"


def check_name(source: Path | str, target: Path | str) -> None:
    """Refuse a result with the name of a file."""
    if (ending := Path(target).suffix.lower()) in WRITTEN:
        raise DataError(f"{target}: {source} is a folder, so the result is one: name it without {ending}")


def check_free(target: Path | str, *, exists: bool, is_result: bool, overwrite: bool) -> None:
    """Refuse an existing target; if it may be replaced, one that `churnops predict` has not written."""
    if exists and not overwrite:
        raise DataError(f"{target} exists already: name another folder, or give --force to replace it")
    if exists and not is_result:
        raise DataError(f"{target} was not written by `churnops predict`, so it is not replaced: name another folder")


def check_apart(target: Path | str, *, overlap: bool) -> None:
    """Refuse a target that has the input in it, or is in it."""
    if overlap:
        raise DataError(f"{target} contains the folder that is scored, or is in it: name another folder")


def _check_target(source: Path | str, target: Path, *, overwrite: bool) -> None:
    check_name(source, target)
    if not target.parent.is_dir():
        raise DataError(f"{target.parent} is not a folder: make it first")
    if isinstance(source, Path):
        given, written = source.resolve(), target.resolve()
        check_apart(target, overlap=written.is_relative_to(given) or given.is_relative_to(written))
    check_free(target, exists=target.exists(), is_result=(target / MANIFEST).is_file(), overwrite=overwrite)


def _publish(
    unfinished: Unfinished,
    records: Sequence[PartRecord],
    manifest: Mapping[str, Any],
    on_written: Callable[[Path], object] | None,
) -> None:
    """Give the parts and the result their names; a killed call can be repeated."""
    result, target = unfinished.result, unfinished.target
    for record in records:
        path = result / part_name(record)
        if not path.exists():
            (unfinished.manifest.folder / record.data).replace(path)
        close_to_others(path)  # a worker's account may write files that everybody may read
    write_flushed(result / MANIFEST, as_json(manifest))
    write_flushed(result / SUCCESS, b"")
    fsync_folder(result)
    if on_written:
        on_written(result)
    if target.exists():
        target.rename(unfinished.folder / "replaced")
    result.rename(target)
    fsync_folder(target.parent)


def as_json(manifest: Mapping[str, Any]) -> bytes:
    """Return the bytes of a finished result's manifest."""
    return json.dumps(manifest, indent=1).encode()
