"""Reading a request's body: the right type, not too large, not too slow."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from churnops.api.problems import Problem

JSON = "application/json"


def media_type(request: Request) -> str:
    """Return the body's type in lower case, without parameters.

    Raises
    ------
    Problem
        415 where the body is compressed or not UTF-8.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, "encoding", "a compressed body is not read: send it as it is")
    kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
    if "charset=" in parameters and "utf-8" not in parameters and "utf8" not in parameters:
        raise Problem(415, "encoding", "the body must be UTF-8")
    return kind.strip()


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """Return a JSON body.

    Raises
    ------
    Problem
        415 if it is of another type, 413 if larger than `most` bytes, 408 if not there after `seconds`.
    """
    kind = media_type(request)
    if kind != JSON:
        raise Problem(415, "media-type", f"send JSON, with the header Content-Type: {JSON}")
    return b"".join([chunk async for chunk in chunks(request, most, seconds)])


async def chunks(request: Request, most: int, seconds: float) -> AsyncIterator[bytes]:
    """Yield a body of at most `most` bytes piece by piece, within `seconds`; see `read_body` for what is raised."""
    announced = request.headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced[:20]) > most:
        raise _too_large(most)
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise _too_large(most)
                yield chunk
    except TimeoutError:
        raise Problem(408, "slow", f"the body did not arrive within {seconds:g} seconds") from None
    except ClientDisconnect:
        raise Problem(400, "disconnected", "the client went away") from None


def _too_large(most: int) -> Problem:
    return Problem(413, "too-large", f"the body is larger than {most} bytes", headers={"Connection": "close"})
