"""The databases that the journal runs on."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from churnops.journal import open_database
from tests.support.journals import LASTING

_numbers = count()


@pytest.fixture(params=["memory", *LASTING])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new database."""
    match request.param:
        case "memory":
            return "sqlite:///:memory:"
        case "file":
            return f"sqlite:///{tmp_path}/journal.db"
        case _:
            server = request.getfixturevalue("cluster").url
            name = f"test_{next(_numbers)}"
            with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE {name}")
            return str(server.replace("/postgres", f"/{name}"))


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()
