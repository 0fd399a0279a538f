"""A small HTTP client for the API: one connection per request, no redirects, limits on time and size."""

import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from churnops.address import split_address
from churnops.errors import ChurnopsError, SettingsError
from churnops.wire import PROBLEM, ProblemBody

MAX_ANSWER_BYTES = 4 * 2**20  # of a JSON answer
JSON = "application/json"
T = TypeVar("T")


class NoReply(ChurnopsError):  # noqa: N818  (named like the API's Problem)
    """No complete reply arrived in time; the message is a short reason."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    media_type: str
    content: bytes = field(repr=False)

    def read(self, kind: type[T]) -> T | None:
        """Return the answer as a model of `churnops.wire`, or a list of them; None if it does not fit."""
        try:
            return TypeAdapter(kind).validate_json(self.content, strict=True)
        except ValidationError:
            return None

    def problem(self) -> ProblemBody | None:
        """Return the API's problem document; None if the answer is not one."""
        problem = self.read(ProblemBody)
        return problem if problem and problem.type.startswith(PROBLEM) else None


class Client:
    """Client of one address. It follows no redirect and uses no proxy, so the key is sent nowhere else.

    Safe for several threads at once.

    Parameters
    ----------
    url
        URL of the API, such as `http://127.0.0.1:8000`; it may have a path.
    key
        API key; empty for none.
    setting, variable
        Names, for messages, of the setting with the URL and of the environment variable with the key.

    Raises
    ------
    SettingsError
        If the URL or the key is invalid. The message leaves the key out.
    """

    def __init__(self, url: str, key: str, *, setting: str, variable: str) -> None:
        try:
            self._parts = split_address(url)
        except ValueError as error:
            raise SettingsError(f"setting '{setting}' {error}") from None
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise SettingsError(f"{variable} has characters that no API key has: copy the key again")
        self._headers = {"Connection": "close", "Accept-Encoding": "identity"} | ({"X-API-Key": key} if key else {})

    def ask(
        self,
        path: str,
        *,
        seconds: float,
        body: bytes | None = None,
        media_type: str = JSON,
        max_bytes: int = MAX_ANSWER_BYTES,
        signature: Mapping[str, str] = MappingProxyType({}),
    ) -> Reply:
        """Send a body (POST) or none (GET), and return the answer with any status.

        Parameters
        ----------
        seconds
            Limit for the whole exchange.
        max_bytes
            Limit of the answer.
        signature
            Headers that belong to the body.

        Raises
        ------
        NoReply
            If the answer is missing, late, too large or not HTTP.
        """
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=seconds)
        method = "GET" if body is None else "POST"
        headers: Mapping[str, str] = self._headers | ({"Content-Type": media_type} if body else {}) | dict(signature)
        cut = threading.Event()
        try:
            connection.connect()
            with _cut_off(connection.sock, seconds, cut):
                # A server that refuses a file may answer and close before it has received the whole file.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.request(method, self._parts.path.rstrip("/") + path, body or None, dict(headers))
                with connection.getresponse() as response:
                    content = response.read(max_bytes + 1)
                    if len(content) > max_bytes:
                        raise NoReply(f"sends more than {max_bytes >> 20} MiB")
                    if response.length:  # less than the announced length
                        raise NoReply("ended the connection before its answer was complete")
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError) or cut.is_set():
                raise NoReply(f"does not answer within {seconds:.3g} seconds") from None
            if isinstance(error, http.client.IncompleteRead):
                raise NoReply("ended the connection before its answer was complete") from None
            # Texts of some errors quote the server's answer.
            shown = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise NoReply(f"does not answer ({shown})") from None
        finally:
            connection.close()
        return Reply(response.status, (response.getheader("Content-Type") or "").partition(";")[0].strip(), content)


@contextmanager
def _cut_off(sock: socket.socket, seconds: float, cut: threading.Event) -> Iterator[None]:
    """Close a connection after `seconds`: a socket's own timeout limits each piece, but not the whole answer."""

    def end() -> None:
        cut.set()
        with suppress(OSError):  # it is closed already
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
