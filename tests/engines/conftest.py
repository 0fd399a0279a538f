"""Servers that the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.support.object_stores import StoreServer, s3_server


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
