"""Servers that the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.support.object_stores import StoreServer, azure_server, s3_server


@pytest.fixture(scope="session")
def s3_running() -> Iterator[StoreServer]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(s3_running: StoreServer, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> StoreServer:
    """An S3 server, with an empty place for each test, to which the environment's variables lead."""
    for name, value in s3_running.variables.items():
        monkeypatch.setenv(name, value)
    return s3_running.place(request.node.name)


@pytest.fixture(scope="session")
def azure_running() -> Iterator[StoreServer]:
    with azure_server() as server:
        yield server


@pytest.fixture(params=["s3", pytest.param("azure", marks=pytest.mark.needs("azurite"))])
def any_store(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> StoreServer:
    """An S3 server and an Azure server in turn, as `s3`."""
    server: StoreServer = request.getfixturevalue(f"{request.param}_running")
    for name, value in server.variables.items():
        monkeypatch.setenv(name, value)
    return server.place(request.node.name)
