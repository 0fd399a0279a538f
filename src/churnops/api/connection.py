"""The server's side of a connection: uvicorn's, with limits for what comes before a body, and for what is not read."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 2**18  # a piece of a connection may be as large; heads have a few hundred
MAX_WAITING = 100  # requests that one connection may send before the first of them is answered
HEAD_SECONDS = 30.0
SEND_SECONDS = 300.0  # that a client may let a piece of its answer wait


class Connection(HttpToolsProtocol):
    """Closes a connection whose request has a head, or trailers, that are too large or too slow, or that asks too much.

    uvicorn would keep them all. Trailers are left out: they would count as headers.
    """

    _kept_bytes = 0  # since the last piece of a body and the last end of a request
    _moves = False
    _deadline: asyncio.TimerHandle | None = None  # while a head is awaited
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request's head its time."""
        super().connection_made(transport)
        self._pieces: list[bytes] = []
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the times."""
        self._stop_waiting()
        self._forget_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; then count what belongs neither to a body nor to a request that is complete."""
        self._moves = False
        super().data_received(data)
        self._hand_over()
        self._kept_bytes = 0 if self._moves else self._kept_bytes + len(data)
        if self._kept_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        """Give a head its time."""
        if len(self.pipeline) >= MAX_WAITING:
            raise ValueError("too many requests wait")  # ends the parsing; uvicorn refuses and closes
        self._stop_waiting()
        self._expect_head()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header that is one."""
        if self._deadline is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Gather the chunks that came at once: uvicorn copies what it has for each, and one may have a single byte."""
        self._moves = True
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Hand over the last piece of a body."""
        self._moves = True
        self._hand_over()
        super().on_message_complete()

    def _hand_over(self) -> None:
        if self._pieces:
            body = b"".join(self._pieces)
            self._pieces.clear()
            super().on_body(body)

    def pause_writing(self) -> None:
        """Give the client its time to read; closing would not do, as it waits for what is left to be sent."""
        super().pause_writing()
        self._forget_unread()
        self._unread = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop that clock."""
        self._forget_unread()
        super().resume_writing()

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
