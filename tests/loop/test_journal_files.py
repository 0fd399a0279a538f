"""A running service whose journal is deleted, replaced, overwritten, full or locked: nothing acknowledged is lost."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from churnops.api.customers import CustomerForm
from churnops.model import Bundle
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings, load_settings
from tests.support.load import Load, check_recorded
from tests.support.processes import until, wait_for
from tests.support.projects import write_project
from tests.support.serving import Server, sqlite_rows


@pytest.fixture
def settings(tmp_path: Path, project: tuple[Settings, RunSummary]) -> Settings:
    """A project with the small project's model deployed."""
    shutil.copytree(project[0].path("models"), tmp_path / "models", symlinks=True)
    return load_settings(write_project(tmp_path))


@pytest.fixture
def customers(settings: Settings) -> list[dict[str, Any]]:
    bundle = Bundle.load(settings.path("models/production"))
    form = CustomerForm(bundle.schema)
    return [form.example(bundle.probes, row) for row in range(8)]


def status(server: Server) -> int:
    return server.get("/health/ready").status


async def spoil(server: Server, load: Load, change: Callable[[], object]) -> int:
    """Change the journal under load; return the event after which it was changed."""
    async with load.on(server.port):
        await until("answers", lambda: len(load.acknowledged) > 100)
        await asyncio.to_thread(change)
        changed = load.events
        refused = len(load.refused)
        await until("refusals", lambda: len(load.refused) > refused + 100)
    return changed


def acknowledged_after(load: Load, event: int) -> int:
    return sum(asked.sent > event for asked in load.acknowledged)


@pytest.mark.parametrize(("suffix", "workers"), [("", "1"), ("-wal", "2"), ("-shm", "1")])
def test_a_journal_that_is_moved_away_costs_503s_until_it_is_back(settings, customers, suffix: str, workers: str):
    path, away, load = settings.path(f"journal.db{suffix}"), settings.path("away"), Load(customers)
    with Server(settings, "--workers", workers) as server:
        wait_for("all workers are ready", lambda: server.loaded() == int(workers))
        moved = asyncio.run(spoil(server, load, lambda: path.rename(away)))
        assert acknowledged_after(load, moved) == 0
        assert {asked.answer.status for asked in load.refused if asked.answer} == {503}
        assert status(server) == 503
        assert not path.exists()
        away.rename(path)
        wait_for("the service is ready", lambda: status(server) == 200)
        before = len(load.acknowledged)

        async def again() -> None:
            async with load.on(server.port):
                await until("answers", lambda: len(load.acknowledged) > before + 100)

        asyncio.run(again())
        server.kill()
    check_recorded(sqlite_rows(settings), load)


def test_a_deleted_or_replaced_journal_is_refused_until_a_restart(settings, customers):
    path, load = settings.path("journal.db"), Load(customers)
    with Server(settings) as server:
        assert acknowledged_after(load, asyncio.run(spoil(server, load, path.unlink))) == 0
        assert status(server) == 503
        server.kill()
        server.start()  # with a new journal
        load = Load(customers)
        other = settings.path("other.db")
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(other)) as target:
            source.backup(target)
        assert acknowledged_after(load, asyncio.run(spoil(server, load, lambda: other.replace(path)))) == 0
        assert status(server) == 503
        server.terminate()
        server.exit_code()
        server.start()
        assert status(server) == 200
    assert sqlite_rows(settings) == []


def copied(path: Path) -> bytes:
    return path.read_bytes()


def backed_up(path: Path) -> bytes:
    target = path.with_name("backup.db")
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    return target.read_bytes()


@pytest.mark.parametrize(
    ("make", "stop", "workers"),
    [(copied, "kill", "1"), (backed_up, "terminate", "2"), (lambda path: b"", "terminate", "1")],
    ids=["a copy of the file", "an online backup", "nothing"],
)
def test_an_overwritten_journal_is_refused_and_sound_after_a_restart(
    settings, customers, make: Callable[[Path], bytes], stop: str, workers: str
):
    path, earlier, since, load = settings.path("journal.db"), Load(customers), Load(customers), Load(customers)

    def fill(server: Server, load: Load) -> None:
        before = moved(path)

        async def send() -> None:
            async with load.on(server.port):
                await until("answers", lambda: len(load.acknowledged) > 50)

        asyncio.run(send())
        wait_for("the log is moved", lambda: moved(path) >= before + len(load.acknowledged))

    with Server(settings, "--workers", workers) as server:
        wait_for("all workers are ready", lambda: server.loaded() == int(workers))
        fill(server, earlier)
        wal = settings.path("journal.db-wal")
        backup = make(path)
        fill(server, since)  # so that the file is another than was copied
        overwritten = asyncio.run(spoil(server, load, lambda: path.write_bytes(backup)))
        assert acknowledged_after(load, overwritten) == 0
        for _ in range(10):  # whichever worker answers
            assert status(server) == 503
        wait_for("the log is set aside", lambda: not wal.exists())
        if stop == "kill":
            server.kill()
        else:
            server.terminate()
            server.exit_code()
        server.start()
        wait_for("the service is ready", lambda: status(server) == 200)
        body = json.dumps(customers[0]).encode()
        assert server.ask("POST", "/predict", body).status == 200
    rows = sqlite_rows(settings)
    assert len(rows) == (len(earlier.acknowledged) if backup else 0) + 1


def moved(path: Path) -> int:
    """Return how many predictions the database's file holds without its log."""
    with closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM predictions").fetchone()[0])
        except sqlite3.DatabaseError:  # in the middle of a move
            return 0


def test_a_reader_delays_no_answer(settings, customers):
    body = json.dumps(customers[0]).encode()
    with Server(settings) as server:
        server.ask("POST", "/predict", body)
        with closing(sqlite3.connect(settings.path("journal.db"), isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM predictions").fetchone()
            load = Load(customers)

            async def quiet() -> None:
                for number in range(6):
                    async with load.on(server.port, clients=1):
                        await until("an answer", lambda n=number: len(load.acknowledged) > n)
                    await asyncio.sleep(1.2)  # a moment without requests, in which the log would be moved

            asyncio.run(quiet())
            assert status(server) == 200
    assert load.refused == []
    delayed = [asked.seconds for asked in load.acknowledged if asked.seconds > 5]
    assert len(delayed) < 2, delayed  # a reader delays each move of the log, a busy machine hardly two of six answers
