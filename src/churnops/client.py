"""A small HTTP client for our own API: one connection a request, nothing followed, everything bounded."""

import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from churnops.address import split_address
from churnops.errors import ChurnopsError, SettingsError
from churnops.wire import PROBLEM, ProblemBody

MAX_ANSWER_BYTES = 4 * 2**20  # of a JSON answer
JSON = "application/json"
T = TypeVar("T")


class NoReply(ChurnopsError):  # noqa: N818  (what happened, as the API's own Problem is)
    """Nothing came back, or not all of it in time; the message says why in a few words."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    media_type: str
    content: bytes = field(repr=False)

    def read(self, kind: type[T]) -> T | None:
        """Return the answer as a model of `churnops.wire`, or a list of one; None if it is none."""
        try:
            return TypeAdapter(kind).validate_json(self.content, strict=True)
        except ValidationError:
            return None

    def problem(self) -> ProblemBody | None:
        """Return the error that the API answers with; None if this is not one of the API's errors."""
        problem = self.read(ProblemBody)
        return problem if problem and problem.type.startswith(PROBLEM) else None


class Client:
    """Asks one address. Redirects and proxies are not followed, so the key goes nowhere else.

    Safe for several threads at once.

    Parameters
    ----------
    url
        Of the API, such as `http://127.0.0.1:8000`; a path is kept.
    key
        An API key; empty for none.
    setting, variable
        Where the address and the key come from, for messages.

    Raises
    ------
    SettingsError
        If the address is none, or the key cannot be one. The message shows no key.
    """

    def __init__(self, url: str, key: str, *, setting: str, variable: str) -> None:
        try:
            self._parts = split_address(url)
        except ValueError as error:
            raise SettingsError(f"setting '{setting}' {error}") from None
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise SettingsError(f"{variable} holds characters that no API key has: copy it again")
        self._headers = {"Connection": "close", "Accept-Encoding": "identity"} | ({"X-API-Key": key} if key else {})

    def ask(
        self,
        path: str,
        *,
        seconds: float,
        body: bytes | None = None,
        media_type: str = JSON,
        most: int = MAX_ANSWER_BYTES,
    ) -> Reply:
        """Send a body (POST), or ask without one (GET), and return the answer, whatever its status.

        Parameters
        ----------
        seconds
            For all of it.
        most
            Bytes that an answer may have.

        Raises
        ------
        NoReply
            If nobody answers, not in time, with too much, or not by HTTP.
        """
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname or "", self._parts.port, timeout=seconds)
        method = "GET" if body is None else "POST"
        headers: Mapping[str, str] = self._headers | ({"Content-Type": media_type} if body else {})
        cut = threading.Event()
        try:
            connection.connect()
            with _cut_off(connection.sock, seconds, cut):
                # Who refuses a file may answer, and hang up, before all of it was sent.
                with suppress(BrokenPipeError, ConnectionResetError):
                    connection.request(method, self._parts.path.rstrip("/") + path, body or None, dict(headers))
                response = connection.getresponse()
                content = response.read(most + 1)
                if len(content) > most:
                    raise NoReply(f"sends more than {most >> 20} MiB")
                if response.length:  # what was announced is not all there
                    raise NoReply("broke off in the middle of its answer")
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, TimeoutError) or cut.is_set():
                raise NoReply(f"does not answer within {seconds:.3g} seconds") from None
            if isinstance(error, http.client.IncompleteRead):
                raise NoReply("broke off in the middle of its answer") from None
            # Some errors repeat what the other side sent.
            shown = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            raise NoReply(f"does not answer ({shown})") from None
        finally:
            connection.close()
        return Reply(response.status, (response.getheader("Content-Type") or "").partition(";")[0].strip(), content)


@contextmanager
def _cut_off(sock: socket.socket, seconds: float, cut: threading.Event) -> Iterator[None]:
    """End a connection after `seconds`: a timeout is for one piece of an answer, and there may be a piece a second."""

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
