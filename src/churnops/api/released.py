"""Streamed answers that release a file, a place or memory at their end."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from churnops.api.problems import Problem

PIECE_BYTES = 256 * 1024  # sent at once
REPLACED = "X-Replaced-Columns"
"""Header with the columns of a file that the columns of its answer replace, if there are any."""


class Released(StreamingResponse):
    """A streamed answer that calls `release` at its end, even if the client leaves or stops reading.

    The answer is cut off if a piece is not sent within `seconds`.
    """

    def __init__(
        self,
        content: AsyncIterator[bytes],
        release: Callable[[], None],
        media_type: str,
        seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self._release = release
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer."""

        async def send_in_time(message: Message) -> None:
            try:
                async with asyncio.timeout(self._seconds):
                    await send(message)
            except TimeoutError:
                raise Problem(408, "slow", f"the answer was not read within {self._seconds:g} seconds") from None

        try:
            await super().__call__(scope, receive, send_in_time)
        finally:
            self._release()


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    """Yield an answer in pieces, so a client that does not read fills at most one buffer."""
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]
