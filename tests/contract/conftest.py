"""The databases that the journal runs on."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine

from churnops.journal import database, open_database
from tests.contract.postgres import Cluster, private_cluster

LASTING = ["file", pytest.param("postgresql", marks=pytest.mark.needs("postgresql"))]
POSTGRESQL = [LASTING[1]]
_numbers = count()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with private_cluster() as cluster:
        yield cluster


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


def migrate_to(connection: Connection, revision: str) -> None:
    """Make a database as the program of a revision did."""
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
