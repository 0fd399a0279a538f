"""Objects in a store: S3, Azure Blob Storage or Google Cloud Storage, through obstore.

Credentials, region and endpoint come from the usual environment variables (`AWS_*`, `AZURE_*`, `GOOGLE_*`) and are
never part of an address or a message. Requests end after `REQUEST_SECONDS`; requests that fail with 5xx or without an
answer are repeated for up to `RETRY_SECONDS`.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from churnops.address import is_loopback, is_object_address
from churnops.errors import SettingsError, StoreError

if TYPE_CHECKING:
    from obstore import GetOptions

REQUEST_SECONDS = 10
COPY_SECONDS = 600  # a store answers when it has copied
RETRY_SECONDS = 30
PART_BYTES = 8 * 2**20
"""Size of the parts in which objects are read and written, so that memory stays bounded."""
AT_ONCE = 8
"""Small requests at once, because each one waits for the store."""
ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT")
"""Environment variables with the address of a store's service."""

T = TypeVar("T")
R = TypeVar("R")


class ConditionError(StoreError):
    """A conditional write was refused: the object exists already, or another process has replaced it."""


@dataclass(frozen=True)
class Stored:
    """A small object that was read, with the etag of its content, and its version where the store counts versions."""

    data: bytes
    etag: str
    version: str | None = None


@dataclass(frozen=True)
class Listed:
    """An object: its name below the store's address, its size in bytes, and the etag of its content."""

    name: str
    bytes: int
    etag: str


class ObjectStore:
    """Objects below an address such as `s3://bucket/prefix`. Safe for several threads.

    Raises
    ------
    SettingsError
        If the text is not such an address, obstore is not installed, or a variable names an `http` endpoint on another
        machine.
    """

    def __init__(self, address: str) -> None:
        if not is_object_address(address):
            raise SettingsError(f"{address[:200]!r} must be an address such as s3://bucket/prefix, az:// or gs://")
        self.address = address.rstrip("/")
        self._http = _local_http(os.environ)
        try:
            import obstore
        except ImportError:
            raise SettingsError(f"{self.address}: obstore is not installed: pip install 'churnops[objects]'") from None
        self._obstore = obstore

    @cached_property
    def _store(self) -> Any:
        return self._client(REQUEST_SECONDS)

    @cached_property
    def _copier(self) -> Any:
        return self._client(COPY_SECONDS)

    def _client(self, seconds: float) -> Any:
        from obstore.store import from_url

        return from_url(
            self.address,
            client_options={
                "allow_http": self._http,
                "timeout": timedelta(seconds=seconds),
                "connect_timeout": timedelta(seconds=REQUEST_SECONDS / 2),
            },
            retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        )

    def read(self, name: str, known: Stored | None = None, *, max_bytes: int) -> Stored | None:
        """Return a small object; None if there is none.

        Parameters
        ----------
        known
            Result of an earlier call. It is returned again, without a transfer, if the object is unchanged.

        Raises
        ------
        StoreError
            If the object is larger than `max_bytes`, or the store does not answer.
        """
        options: GetOptions = {"if_none_match": known.etag} if known else {}
        with self._answering(name):
            try:
                result = self._obstore.get(self._store, name, options=options)
                if result.meta["size"] > max_bytes:
                    raise StoreError(f"{self.address}/{name} is larger than {max_bytes} bytes")
                return Stored(bytes(result.bytes()), _etag(result.meta), result.meta["version"])
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
                    raise
                return None
            except self._obstore.exceptions.NotModifiedError:
                return known

    def create(self, name: str, data: bytes) -> Stored:
        """Write a small object that must not exist; raise `ConditionError` if it does."""
        return self._write(name, data, "create")

    def replace(self, name: str, data: bytes, expected: Stored) -> Stored:
        """Replace a small object; raise `ConditionError` if it is not the expected one any more."""
        version = {"version": expected.version} if expected.version else {}  # Google's condition
        return self._write(name, data, {"e_tag": expected.etag, **version})

    def put(self, name: str, data: bytes) -> Stored:
        """Write a small object, whether it exists or not."""
        return self._write(name, data, "overwrite")

    def _write(self, name: str, data: bytes, mode: Any) -> Stored:
        with self._answering(name):
            written = self._obstore.put(self._store, name, data, mode=mode)
            return Stored(data, _etag(written), written["version"])

    def upload(self, name: str, file: Path, *, new: bool = False) -> None:
        """Write a file as an object, in parts; an existing object is replaced when the last part has arrived.

        Parameters
        ----------
        new
            Whether the object must not exist. The store checks this for a file of one part; for a larger one the object
            is looked up before the transfer.

        Raises
        ------
        ConditionError
            If the object exists although it must not.
        """
        if new and file.stat().st_size <= PART_BYTES:
            self.create(name, file.read_bytes())
            return
        if new and self.find(name):
            raise ConditionError(f"{self.address}/{name} exists already")
        with self._answering(name):
            self._obstore.put(self._store, name, file, chunk_size=PART_BYTES, max_concurrency=2)

    def find(self, name: str) -> Listed | None:
        """Return size and etag of an object; None if it is missing."""
        with self._answering(name):
            try:
                meta = self._obstore.head(self._store, name)
            except FileNotFoundError:
                return None
            return Listed(name, int(meta["size"]), _etag(meta))

    def download(self, name: str, target: IO[bytes], *, max_bytes: int | None = None) -> Listed | None:
        """Append an object to a file, in parts that all belong to one content; return it, None if it is missing.

        Raises
        ------
        StoreError
            If the object changes meanwhile, is larger than `max_bytes`, or the store does not answer.
        """
        listed = self.find(name)
        if listed is None:
            return None
        if max_bytes is not None and listed.bytes > max_bytes:
            raise StoreError(f"{self.address}/{name} is larger than {max_bytes} bytes")
        self.fetch(listed, 0, listed.bytes, target)
        return listed

    def fetch(self, listed: Listed, first: int, last: int, target: IO[bytes]) -> None:
        """Append bytes of an object, from `first` to before `last`, to a file; raise `ConditionError` if it changed."""
        name = listed.name
        with self._answering(name):
            for start in range(first, last, PART_BYTES):
                end = min(start + PART_BYTES, last)
                options: GetOptions = {"range": (start, end), "if_match": listed.etag}
                part = self._obstore.get(self._store, name, options=options).bytes()
                if len(part) != end - start:
                    raise StoreError(f"{self.address}/{name} ended early: {start + len(part)} of {listed.bytes} bytes")
                target.write(part)

    def copy(self, name: str, new_name: str) -> None:
        """Let the store copy an object; an existing one is replaced.

        Raises
        ------
        StoreError
            If the copy is not complete: Azure may finish a copy later.
        """
        with self._answering(name):
            self._obstore.copy(self._copier, name, new_name)
        source, copied = self.find(name), self.find(new_name)
        if source is None or copied is None or copied.bytes != source.bytes:
            raise StoreError(f"{self.address}/{new_name} is not copied yet")

    def entries(self, prefix: str = "") -> Iterator[Listed]:
        """Yield the objects whose names begin with the folder `prefix`, in no particular order."""
        with self._answering(prefix):
            for chunk in self._obstore.list(self._store, prefix):
                for meta in chunk:
                    if not meta["path"]:  # consoles mark an empty folder by an object with its name
                        continue
                    yield Listed(str(meta["path"]), int(meta["size"]), _etag(meta))

    def delete(self, names: list[str]) -> None:
        """Delete objects; missing ones are ignored."""
        at_once(self._delete, names)

    def _delete(self, name: str) -> None:
        with self._answering(name), suppress(FileNotFoundError):
            self._obstore.delete(self._store, name)

    @contextmanager
    def _answering(self, name: str) -> Iterator[None]:
        """Turn errors of obstore into a `StoreError` in one line, without addresses of requests."""
        exceptions = self._obstore.exceptions
        where = f"{self.address}/{name}".rstrip("/")
        try:
            yield
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            raise ConditionError(f"{where} was written by another process") from None
        except FileNotFoundError as error:
            raise StoreError(f"{where}: {_reason(str(error))}") from None
        except exceptions.BaseError as error:
            raise StoreError(f"{where}: {_reason(str(error))}") from None


def _etag(meta: Any) -> str:
    if not meta["e_tag"]:
        raise StoreError("the object store returns no etag, so writes cannot be conditional")
    return str(meta["e_tag"])


def at_once(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call a function that waits for a store for each item, some calls at once; return the results in order."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(function, items))


def _reason(text: str) -> str:
    """Return the reason in an error of obstore, without the request's address, which may contain a signature.

    >>> _reason("Error performing PUT https://x?sig=1 in 7ms - status code: 403 Forbidden: <Code>AccessDenied</Code>")
    'the store answers 403 Forbidden (AccessDenied): check the credentials in the environment'
    >>> _reason("Error performing GET http://x in 1s, after 3 retries - HTTP error: error sending request")
    'the store does not answer'
    >>> _reason("Generic S3 error: Error performing PUT http://169.254.169.254/latest/api/token in 1s - HTTP error")
    'the environment has no credentials for it'
    """
    text = text.partition("\n\nDebug source")[0]
    if "/latest/api/token" in text or "Account must be specified" in text:  # the role of a machine was asked for
        return "the environment has no credentials for it"
    if match := re.search(r"status code: (\d{3}[A-Za-z -]*)", text):
        code = re.search(r"<Code>(\w{1,60})</Code>", text)
        hint = ": check the credentials in the environment" if match[1][:3] in ("401", "403") else ""
        return f"the store answers {match[1].strip()}" + (f" ({code[1]})" if code else "") + hint
    if "HTTP error" in text:
        return "the store does not answer"
    return re.sub(r"https?://\S+", "…", text.partition("\n")[0])[:200]


def _local_http(environment: Mapping[str, str]) -> bool:
    """Return whether requests may go without TLS: only to this machine.

    Raises
    ------
    SettingsError
        If a variable names an `http` endpoint on another machine.
    """
    local = bool(environment.get("AZURE_STORAGE_USE_EMULATOR"))
    for name in ENDPOINTS:
        endpoint = urlsplit(environment.get(name, ""))
        if endpoint.scheme == "http":
            if not is_loopback(endpoint.hostname or ""):
                raise SettingsError(f"{name} must be an https address, unless it is on this machine")
            local = True
    return local
