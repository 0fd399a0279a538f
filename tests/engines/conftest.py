"""Servers that the tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.support.object_stores import StoreServer, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[StoreServer]:
    """An S3 server; each test uses names of its own in its bucket."""
    with s3_server() as server:
        yield server
