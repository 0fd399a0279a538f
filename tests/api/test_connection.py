"""The server's side of a connection: a client that does not read holds nothing for ever."""

import asyncio
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from churnops.api import connection
from churnops.api.connection import Connection

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
        async with asyncio.timeout(20):
            await ended.wait()
            while state.connections:
                await asyncio.sleep(0.01)
        writer.close()
        server.close()

    asyncio.run(scenario())


def test_a_client_that_reads_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "SEND_SECONDS", 5.0)

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
