"""uvicorn's connection, with limits on the head of a request, on its trailers and on unread answers."""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 2**18  # the size of one received piece; usual heads have a few hundred bytes
MAX_WAITING = 100  # limit of unanswered requests on one connection
HEAD_SECONDS = 30.0
SEND_SECONDS = 300.0  # limit for a client to read a piece of its answer
LAST_SECONDS = 1.0  # time for the last request of a client, after the signal to stop


class Connection(HttpToolsProtocol):
    """A connection that is closed if the client exceeds a limit; uvicorn has no such limits.

    When the service stops, a connection between two requests waits for one more and then closes. uvicorn closes it at
    once, so a request that is on its way gets no answer.

    Limits: size and time of a head, size of trailers, waiting requests, and time for reading a piece of an answer.
    Trailers are dropped, because uvicorn would treat them as headers.
    """

    _kept_bytes = 0  # bytes received since the last part of a body or the last end of a request
    _body_moves = False  # whether the newest data contain a part of a body or the end of a request
    _ends = False  # whether the next answer is the last
    _head_timer: asyncio.TimerHandle | None = None  # set while a head is incomplete
    _read_timer: asyncio.TimerHandle | None = None  # set while the client does not read

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the head of the first request."""
        super().connection_made(transport)
        self._pieces: list[bytes] = []
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        self._stop_head_timer()
        self._stop_read_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse data, and limit the bytes of heads and trailers."""
        self._body_moves = False
        super().data_received(data)
        self._hand_over()
        self._kept_bytes = 0 if self._body_moves else self._kept_bytes + len(data)
        if self._kept_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        """Start the timer for a head."""
        if len(self.pipeline) >= MAX_WAITING:
            raise ValueError("too many requests wait")  # stops the parser; uvicorn answers 400 and closes
        self._stop_head_timer()
        self._start_head_timer()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header, unless it is a trailer."""
        if self._head_timer is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Stop the timer for a head; end the connection with this request's answer if the service stops."""
        self._stop_head_timer()
        super().on_headers_complete()
        if self._ends:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Collect chunks, to pass those of one received piece on together: uvicorn copies its buffer for each call."""
        self._body_moves = True
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """Pass on the last piece of a body."""
        self._body_moves = True
        self._hand_over()
        super().on_message_complete()

    def _hand_over(self) -> None:
        if self._pieces:
            body = b"".join(self._pieces)
            self._pieces.clear()
            super().on_body(body)

    def shutdown(self) -> None:
        """End the connection with the present or next answer, or after `LAST_SECONDS` without a request."""
        self._ends = True
        idle = self.cycle is None or self.cycle.response_complete
        if idle:
            self.loop.call_later(LAST_SECONDS, super().shutdown)
        else:
            super().shutdown()

    def pause_writing(self) -> None:
        """Limit the time for the client to read. The timer calls `abort`: `close` would wait for the unsent bytes."""
        super().pause_writing()
        self._stop_read_timer()
        self._read_timer = self.loop.call_later(SEND_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer for the client to read."""
        self._stop_read_timer()
        super().resume_writing()

    def _stop_read_timer(self) -> None:
        if self._read_timer is not None:
            self._read_timer.cancel()
            self._read_timer = None

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
