"""The body of a request: its type, and limits on its size and time."""

import asyncio
from collections.abc import Callable

from starlette.types import Receive, Scope

from churnops.api.problems import Problem
from churnops.traces import span

JSON = "application/json"


def header(scope: Scope, name: bytes) -> str:
    """Return the value of a header, empty if it is missing; `name` is in lower case."""
    value: bytes = scope["state"]["headers"].get(name, b"")
    return value.decode("latin-1")


def media_type(scope: Scope) -> str:
    """Return the body's media type in lower case, without parameters.

    Raises
    ------
    Problem
        415 if the body is compressed or not UTF-8.
    """
    if header(scope, b"content-encoding").lower() not in ("", "identity"):
        raise Problem(415, "encoding", "the body is compressed: send it without Content-Encoding")
    kind, _, parameters = header(scope, b"content-type").lower().partition(";")
    if "charset=" in parameters and "utf-8" not in parameters and "utf8" not in parameters:
        raise Problem(415, "encoding", "the body must be UTF-8")
    return kind.strip()


FORMS = "multipart forms are not accepted"


def is_form(kind: str) -> bool:
    """Return whether a media type is that of a form with files."""
    return kind.startswith("multipart/")


def is_left_unread(scope: Scope) -> bool:
    """Return whether the client announced a body that was not read to its end."""
    if "whole" in scope["state"]:
        return False
    return header(scope, b"content-length") not in ("", "0") or header(scope, b"transfer-encoding") != ""


def _uncounted(size: int) -> None:
    pass


async def read_body(
    scope: Scope, receive: Receive, max_bytes: int, seconds: float, hold: Callable[[int], object] = _uncounted
) -> bytes:
    """Return a JSON body.

    Parameters
    ----------
    hold
        Called with the size of each piece before the piece is kept. `hold` may raise a Problem.

    Raises
    ------
    Problem
        415 for another media type, 413 for more than `max_bytes`, 408 if the body is incomplete after `seconds`, 400
        if the client disconnects.
    """
    headers = scope["state"]["headers"]
    plain = headers.get(b"content-type") == b"application/json" and b"content-encoding" not in headers
    if not plain and (kind := media_type(scope)) != JSON:
        detail = f"send JSON with the header Content-Type: {JSON}"
        raise Problem(415, "media-type", f"{FORMS}: {detail}" if is_form(kind) else detail)
    pieces: list[bytes] = []

    def keep(piece: bytes) -> None:
        hold(len(piece))
        pieces.append(piece)

    await receive_body(scope, receive, max_bytes, seconds, keep)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def receive_body(
    scope: Scope, receive: Receive, max_bytes: int, seconds: float, take: Callable[[bytes], object]
) -> None:
    """Pass a body of at most `max_bytes` to `take`, piece by piece; raise a Problem 400 (disconnect), 408 or 413."""
    announced = header(scope, b"content-length") or "0"
    if not announced.isdecimal() or int(announced[:20]) > max_bytes:
        raise _too_large(max_bytes)
    size, more = 0, True
    try:
        with span("receive body"):
            async with asyncio.timeout(seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Problem(400, "disconnected", "the client closed the connection")
                    piece, more = message.get("body", b""), message.get("more_body", False)
                    size += len(piece)
                    if size > max_bytes:
                        raise _too_large(max_bytes)
                    take(piece)
    except TimeoutError:
        raise Problem(408, "slow", f"the body did not arrive within {seconds:g} seconds") from None
    scope["state"]["whole"] = True


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, "too-large", f"the body is larger than {max_bytes} bytes")
