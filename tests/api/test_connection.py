"""The server's side of a connection: a client that does not read holds nothing for ever."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from churnops.api import connection
from churnops.api.connection import Connection
from tests.support.processes import PATIENCE

CHUNK = b"x" * 2**20


def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "SEND_SECONDS", 0.1)

    async def scenario() -> None:
        ended = asyncio.Event()

        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            try:
                for _ in range(100):
                    await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
            finally:
                ended.set()

        config, state = uvicorn.Config(app, lifespan="off", log_config=None), ServerState()
        config.load()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1024)
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        async with asyncio.timeout(PATIENCE):
            await ended.wait()
            while state.connections:
                await asyncio.sleep(0.01)
        writer.close()
        server.close()

    asyncio.run(scenario())


def test_a_client_that_reads_is_not_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "SEND_SECONDS", PATIENCE)

    async def scenario() -> bytes:
        async def app(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
            for last in (False, False, True):
                await send({"type": "http.response.body", "body": CHUNK, "more_body": not last})

        config, state = uvicorn.Config(app, lifespan="off", log_config=None), ServerState()
        config.load()
        server = await asyncio.get_running_loop().create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        content = await reader.read()
        writer.close()
        server.close()
        return content

    assert asyncio.run(scenario()).count(b"x") == 3 * len(CHUNK)


def test_a_stopping_service_answers_one_more_request_on_a_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "LAST_SECONDS", 0.1)
    request = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"

    async def scenario() -> tuple[bytes, bytes, bytes]:
        config, state = uvicorn.Config(Server(), lifespan="off", log_config=None), ServerState()
        config.load()
        server = await asyncio.get_running_loop().create_server(lambda: Connection(config, state, {}), "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        (reader, writer), (idle, other) = [await asyncio.open_connection(*address) for _ in range(2)]
        writer.write(request)
        first = await reader.readuntil(b"\r\n\r\n")
        for each in state.connections:
            each.shutdown()  # as uvicorn does at its end
        writer.write(request)
        last, nothing = await reader.read(), await idle.read()
        for each in (writer, other, server):
            each.close()
        return first, last, nothing

    first, last, nothing = asyncio.run(scenario())
    assert b"connection: close" not in first
    assert last.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in last
    assert nothing == b""


class Server:
    """A connection without a network; `given` holds the headers that the application received."""

    def __init__(self) -> None:
        self.given: list[tuple[bytes, bytes]] = []
        self.body = b""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            message = await receive()
            self.body += message.get("body", b"")
            more = message.get("more_body", False)
        self.given = scope["headers"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    def answer(self, *pieces: bytes) -> tuple[bytes, Connection]:
        """Send pieces until the connection is closed, and return the answer."""
        written: list[bytes] = []

        class Transport(asyncio.Transport):
            closed = False

            def write(self, data: Any) -> None:
                written.append(bytes(data))

            def close(self) -> None:
                self.closed = True

            def is_closing(self) -> bool:
                return self.closed

            def pause_reading(self) -> None:
                pass

            def resume_reading(self) -> None:
                pass

        async def scenario() -> Connection:
            config = uvicorn.Config(self, lifespan="off", log_config=None)
            config.load()
            server = Connection(config, ServerState(), {})
            transport = Transport()
            server.connection_made(transport)
            for piece in pieces:
                if not transport.closed:
                    server.data_received(piece)
                    await asyncio.sleep(0)
            for _ in range(1000):
                await asyncio.sleep(0)
            server.connection_lost(None)
            return server

        server = asyncio.run(scenario())
        return b"".join(written), server


CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


def test_trailers_are_no_headers():
    server = Server()
    answer, _ = server.answer(CHUNKED + b"2\r\n{}\r\n0\r\nx-api-key: other\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert [name for name, _ in server.given] == [b"host", b"transfer-encoding"]
    assert server.body == b"{}"


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"a: b\r\n" * 10_000),
        (CHUNKED + b"2\r\n{}\r\n0\r\na: ", b"b" * 60_000),
        (CHUNKED + b"2;", b"b" * 60_000),
        (b"GET / HTTP/1.1\r\nhost: x\r\na: ", b"b" * 60_000),
        (b"GET /", b"b" * 60_000),
    ],
    ids=["trailers", "a trailer", "an extension", "a header", "a path"],
)
def test_request_parts_before_the_body_are_bounded(begin: bytes, piece: bytes):
    answer, server = Server().answer(begin, *[piece] * 20)
    assert answer.startswith(b"HTTP/1.1 400")
    assert len(server.headers) < 100


def test_a_long_body_passes_this_layer_however_it_is_cut():
    server = Server()
    answer, _ = server.answer(CHUNKED, *[b"1\r\n \r\n" * 10_000] * 10, b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(server.body) == 100_000
    server = Server()
    answer, _ = server.answer(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n", *[b" " * 100_000] * 10)
    assert answer.startswith(b"HTTP/1.1 200")
    assert len(server.body) == 1_000_000


def test_chunks_that_came_at_once_are_handed_over_at_once(monkeypatch: pytest.MonkeyPatch):
    pieces: list[int] = []
    parent = Connection.__mro__[1]
    monkeypatch.setattr(parent, "on_body", lambda _self, body: pieces.append(len(body)))
    Server().answer(CHUNKED + b"1\r\n \r\n" * 10_000)
    assert pieces == [10_000]


def test_the_number_of_pipelined_requests_is_limited():
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    answer, _ = Server().answer(request * connection.MAX_WAITING)
    assert answer.count(b"HTTP/1.1 200") == connection.MAX_WAITING
    answer, server = Server().answer(request * 5000)
    assert b"HTTP/1.1 400" in answer
    assert len(server.pipeline) <= connection.MAX_WAITING
