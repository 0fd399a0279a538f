"""The turn: one process has it at a time, and the next gets it however the first one ended."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine

from churnops.errors import JournalError
from churnops.journal import open_database
from churnops.journal.turn import turn
from tests.support.journals import LASTING, POSTGRESQL
from tests.support.postgres import private_cluster
from tests.support.processes import start, wait_for

lasting = pytest.mark.parametrize("url", LASTING, indirect=True)
postgresql = pytest.mark.parametrize("url", POSTGRESQL, indirect=True)
JOB = "retraining"

HOLDER = """
import sys
from pathlib import Path
from churnops.journal import open_database
from churnops.journal.turn import turn
with turn(open_database(sys.argv[1]), sys.argv[2], Path(sys.argv[3])) as mine:
    print(mine, flush=True)
    sys.stdin.readline()
"""


@contextmanager
def another(url: str, folder: Path, name: str = JOB) -> Iterator[tuple["subprocess.Popen[str]", bool]]:
    """Another process that asks for the turn; whether it got it. It keeps it until a line is written to it."""
    command = (sys.executable, "-c", HOLDER, url, name, str(folder))
    process = start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline() == "True\n"
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def watching(url: str) -> psycopg.Connection[Any]:
    """Return a connection that no timeout of the database ends, on a machine however busy."""
    never = "-c idle_session_timeout=0 -c idle_in_transaction_session_timeout=0"
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True, options=never)


def sessions(url: str) -> int:
    """Return the number of sessions of this database with an advisory lock."""
    with watching(url) as connection:
        held = connection.execute(
            "SELECT count(DISTINCT pid) FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database"
            " WHERE locktype = 'advisory' AND datname = current_database()"
        ).fetchone()
    return int(held[0]) if held else 0


def wait_for_end(url: str) -> None:
    """Wait until the server has noticed that the sessions of turns are closed: until then they hold their locks."""
    if url.startswith("postgresql"):
        wait_for("the server ends the session", lambda: not sessions(url))


def address(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def test_only_one_job_has_the_turn_and_then_the_next(engine: Engine, tmp_path: Path):
    folder = tmp_path / "models" / ".retraining"  # neither is there yet
    for _ in range(2):
        with turn(engine, JOB, folder) as first, turn(engine, JOB, folder) as second:
            assert (first, second) == (True, False)
        wait_for_end(address(engine))
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_threads_of_one_process_exclude_each_other_too(engine: Engine, tmp_path: Path):
    got: list[bool] = []

    def ask() -> None:
        with turn(engine, JOB, tmp_path / "turn") as mine:
            got.append(mine)

    with turn(engine, JOB, tmp_path / "turn"):
        thread = Thread(target=ask)
        thread.start()
        thread.join()
    wait_for_end(address(engine))
    ask()
    assert got == [False, True]


def test_jobs_of_other_names_and_folders_do_not_wait(engine: Engine, tmp_path: Path):
    with turn(engine, JOB, tmp_path / "a") as first, turn(engine, "another", tmp_path / "b") as second:
        assert (first, second) == (True, True)


def test_a_job_that_fails_lets_go_and_its_error_is_not_touched(engine: Engine, tmp_path: Path):
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), turn(engine, JOB, tmp_path / "turn") as mine:
            1 // (not mine)
        wait_for_end(address(engine))


@lasting
def test_of_two_processes_one_has_the_turn(url: str, tmp_path: Path):
    with another(url, tmp_path / "turn") as (process, first), another(url, tmp_path / "turn") as (_, second):
        assert (first, second) == (True, False)
        process.communicate("\n")
        wait_for_end(url)
        with another(url, tmp_path / "turn") as (_, third):
            assert third


@lasting
def test_a_killed_process_lets_go_at_once(url: str, tmp_path: Path):
    """At once on this machine; on a server as soon as it notices the closed connection."""
    with another(url, tmp_path / "turn") as (process, first):
        process.kill()
        process.wait()
        wait_for_end(url)
        with another(url, tmp_path / "turn") as (_, second):
            assert (first, second) == (True, True)


@postgresql
def test_machines_that_share_only_the_database_exclude_each_other(url: str, tmp_path: Path):
    with another(url, tmp_path / "one-machine") as (_, first), another(url, tmp_path / "another") as (_, second):
        assert (first, second) == (True, False)
        with another(url, tmp_path / "another", "another job") as (_, third):
            assert third, "who was refused holds nothing"


@postgresql
def test_a_turn_has_its_own_database_session_and_closes_it(engine: Engine, url: str, tmp_path: Path):
    """Other statements on the pool's connections do not end the turn, and no lock stays in the pool."""
    with turn(engine, JOB, tmp_path / "turn") as mine:
        assert mine
        for _ in range(3):
            with engine.begin() as connection:
                connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
        engine.dispose()
        assert sessions(url) == 1
        with turn(engine, JOB, tmp_path / "another") as too:
            assert not too
    wait_for_end(url)
    assert sessions(url) == 0


@postgresql
def test_the_session_is_kept_while_it_does_nothing(engine: Engine, url: str, tmp_path: Path):
    with engine.connect() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET idle_session_timeout = 200")
        connection.exec_driver_sql(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = 200")
        connection.commit()
    engine.dispose()
    with turn(engine, JOB, tmp_path / "turn"), watching(url) as connection:
        connection.execute("SELECT pg_sleep(0.6)")
        assert sessions(url) == 1


@postgresql
def test_after_a_lost_session_another_begins_and_the_job_goes_on(engine: Engine, url: str, tmp_path: Path):
    done = False
    with turn(engine, JOB, tmp_path / "one-machine") as mine:
        with watching(url) as connection:
            held = "SELECT pg_terminate_backend(pid, 300000) FROM pg_locks WHERE locktype = 'advisory'"
            assert connection.execute(held).fetchone() == (True,)
        with another(url, tmp_path / "another") as (_, other), another(url, tmp_path / "one-machine") as (_, same):
            assert (mine, other, same) == (True, True, False)
        done = True
    assert done
    wait_for_end(url)
    with turn(engine, JOB, tmp_path / "one-machine") as again:
        assert again


@pytest.mark.needs("postgresql")
def test_without_a_database_there_is_no_turn(tmp_path: Path):
    with private_cluster() as cluster:
        engine = open_database(cluster.url)
        cluster.crash()
        with pytest.raises(JournalError, match="database failed"), turn(engine, JOB, tmp_path / "turn"):
            pytest.fail("it began")
        cluster.start()
        with turn(engine, JOB, tmp_path / "turn") as mine:
            assert mine
        engine.dispose()
