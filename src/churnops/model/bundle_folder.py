"""Folder of a Bundle: file names, protocol, limits of size, hashes, and an all-or-nothing write."""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from churnops.errors import BundleError
from churnops.files import fsync_folder

FORMAT = "churnops-bundle"
PROTOCOL = 4
"""Newest form of a bundle. A new form needs a reader of the previous one, so that old models still load.

A bundle is written in the oldest form that can hold it: 3, or 4 if its estimator is a blend.
"""
OLDEST_PROTOCOL = 3
READERS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {3: lambda document: document}
"""Readers by older protocol: each turns a document with checked hashes into a new document of the next form."""
DOCUMENT, ESTIMATOR, REFERENCE = "bundle.json", "estimator.npz", "reference.npz"
OUTSIDE_CONTENT = ("content_sha256", "document_sha256", "probe_scores", "metrics", "lineage")
MAX_DOCUMENT_BYTES = 16 * 2**20
MAX_DOCUMENT_VALUES = 2**21
"""Limit of commas and brackets in `bundle.json`: 10,000 columns with 32 probe rows have about 500,000."""


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the only form in which a document is written and accepted: indented JSON with sorted keys."""
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def content_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a document that `content_sha256` covers."""
    return {name: value for name, value in document.items() if name not in OUTSIDE_CONTENT}


def write_folder(folder: Path, document: Mapping[str, Any], files: Mapping[str, bytes]) -> None:
    """Write a new folder, complete or not at all, and flush it to disk; `document_sha256` is added.

    Raises
    ------
    BundleError
        If the folder exists already.
    """
    if folder.exists():
        raise BundleError(f"{folder} exists already: a bundle is never overwritten")
    hashed = canonical({**document, "document_sha256": sha256(canonical(document))})
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = folder.parent / f".unfinished-{secrets.token_hex(8)}"
    unfinished.mkdir()
    try:
        for name, data in {**files, DOCUMENT: hashed}.items():
            with (unfinished / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    fsync_folder(folder)
    fsync_folder(folder.parent)


def read_document(folder: Path) -> dict[str, Any]:
    """Read `bundle.json` and check its size, form, protocol and hashes.

    Raises
    ------
    BundleError
        If one of them is wrong.
    """
    data = _read_bytes(folder, DOCUMENT, MAX_DOCUMENT_BYTES)
    if sum(map(data.count, (b",", b"[", b"{"))) > MAX_DOCUMENT_VALUES:
        raise BundleError(f"{DOCUMENT} holds more than {MAX_DOCUMENT_VALUES} values")
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise BundleError(f"{DOCUMENT} is not JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise BundleError(f"{DOCUMENT} does not describe a bundle")
    _check_protocol(document.get("protocol"))
    unhashed = {name: value for name, value in document.items() if name != "document_sha256"}
    # The bytes are compared too: a hash of the values alone would allow changes such as another space.
    if (
        document.get("document_sha256") != sha256(canonical(unhashed))
        or document.get("content_sha256") != sha256(canonical(content_of(document)))
        or data != canonical(document)
    ):
        raise BundleError(f"{DOCUMENT} was changed: its hash differs")
    return document


def read_files(folder: Path, document: Mapping[str, Any]) -> dict[str, bytes]:
    """Read the two array files and compare them with the hashes in the document.

    Raises
    ------
    BundleError
        If a file is missing, too large or changed.
    """
    hashes = document["files"]
    if not isinstance(hashes, dict) or set(hashes) != {ESTIMATOR, REFERENCE}:
        raise BundleError(f"it must name exactly the files {ESTIMATOR} and {REFERENCE}")
    files = {}
    for name in (ESTIMATOR, REFERENCE):
        files[name] = _read_bytes(folder, name, limit=2**30)
        if sha256(files[name]) != hashes[name]:
            raise BundleError(f"{name} was changed: its hash differs")
    return files


def newest_form(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document in the form of `PROTOCOL`: the same object if it has this form already."""
    for protocol in range(document["protocol"], PROTOCOL):
        document = READERS[protocol](document)
    return document


def _check_protocol(protocol: Any) -> None:
    if type(protocol) is not int or protocol < 1:
        raise BundleError(f"{DOCUMENT} names no protocol")
    if protocol > PROTOCOL:
        raise BundleError(
            f"it has protocol {protocol}, but this version of churnops reads up to {PROTOCOL}: upgrade churnops"
        )
    if protocol < OLDEST_PROTOCOL:
        raise BundleError(
            f"it has protocol {protocol}, but this version of churnops reads {OLDEST_PROTOCOL} and newer: "
            "train again with `churnops run --deploy`"
        )


def _read_bytes(folder: Path, name: str, limit: int) -> bytes:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{name} is missing")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BundleError(f"{name} is larger than {limit >> 20} MiB")
    return data
