"""The server's side of a connection: uvicorn's, with limits for what comes before a body, and for what is not read."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 2**18  # a piece of a connection may be as large; heads have a few hundred
HEAD_SECONDS = 30.0
SEND_SECONDS = 300.0  # that a client may let a piece of its answer wait


class Connection(HttpToolsProtocol):
    """Closes a connection whose request's path and headers are too large, or too slow: uvicorn would keep them all."""

    _head_bytes = 0
    _deadline: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the first request's head its time."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the times."""
        self._stop_waiting()
        self._forget_unread()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse; then count what belongs to a head that is not complete."""
        super().data_received(data)
        if self._deadline is not None:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        """Give a head its time."""
        self._stop_waiting()
        self._expect_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop the clock."""
        self._stop_waiting()
        super().on_headers_complete()

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
        self._head_bytes = 0
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
