"""Group commit: the guarantees of `append` on every database, with and without faults."""

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, event, select, text

from churnops.errors import JournalError
from churnops.journal import Journal, JournalWriter, open_database
from churnops.journal.database import is_sqlite_file
from churnops.journal.shadow_scores import ShadowScore, ShadowScores
from churnops.journal.tables import predictions
from churnops.journal.writer import LOOP_ROWS
from churnops.traces import command, recording
from tests.support.journals import POSTGRESQL, a_prediction
from tests.support.postgres import Cluster
from tests.support.processes import PATIENCE, until
from tests.support.spans import kept_spans, named


def with_writer(
    engine: Engine, use: Callable[[JournalWriter], Awaitable[Any]], *, max_pending: int = 20_000, inline: bool = False
) -> JournalWriter:
    async def main() -> None:
        with closing(writer):
            await use(writer)

    writer = JournalWriter(engine, max_pending=max_pending, inline=inline)
    asyncio.run(main())
    return writer


def stored(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(select(predictions.c.id)).scalars())


@contextmanager
def counted_commits(engine: Engine) -> Iterator[list[None]]:
    commits: list[None] = []

    def note(_: Any) -> None:
        commits.append(None)

    event.listen(engine, "commit", note)
    yield commits
    event.remove(engine, "commit", note)


def test_acknowledged_rows_are_committed(engine: Engine):
    journal = Journal(engine, label_horizon=timedelta(days=30))

    async def use(writer: JournalWriter) -> None:
        for size in (1, 3):
            rows = [a_prediction() for _ in range(size)]
            await writer.append(rows)
            assert [found.row for row in rows if (found := journal.prediction(row.id))] == rows
        await writer.append([])

    with_writer(engine, use)


def test_appends_that_wait_share_a_commit(engine: Engine):
    async def use(writer: JournalWriter) -> None:
        with counted_commits(engine) as commits:
            await asyncio.gather(*(writer.append([a_prediction()]) for _ in range(200)))
        assert 1 <= len(commits) <= 20

    with_writer(engine, use)
    assert len(stored(engine)) == 200


@pytest.mark.parametrize("inline", [False, True])
def test_scores_of_a_shadow_share_the_commit_of_answers(engine: Engine, inline: bool):
    scores = [ShadowScore(f"id-{n}", 1, n, None, 0.25, 0.75) for n in range(3)]
    stored_scores = ShadowScores(engine)

    async def use(writer: JournalWriter) -> None:
        with counted_commits(engine) as commits:
            await asyncio.gather(writer.append([a_prediction()]), writer.append((), scores=scores))
        assert len(commits) == (0 if inline and is_sqlite_file(engine) else 1)  # the loop's commits are not counted
        assert stored_scores.count(1) == 3
        await writer.append((), scores=scores)  # again, as after a cancelled one
        assert writer.pending == 0

    with_writer(engine, use, inline=inline)
    assert stored_scores.count(1) == 3
    assert len(stored(engine)) == 1


@pytest.mark.parametrize("inline", [False, True])
def test_scores_that_cannot_be_written_cost_no_answer(engine: Engine, inline: bool):
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE shadow_scores RENAME TO elsewhere"))
    rows = [a_prediction() for _ in range(2)]

    async def use(writer: JournalWriter) -> None:
        scores = writer.append((), scores=[ShadowScore("id", 1, 1, None, 0.25, 0.75)])
        appends = (writer.append(rows[:1]), scores, writer.append(rows[1:]))
        first, failed, second = await asyncio.gather(*appends, return_exceptions=True)
        assert (first, second) == (None, None)
        assert "the shadow's scores could not be written" in str(failed)
        writer.check()

    with_writer(engine, use, inline=inline)
    assert stored(engine) == {row.id for row in rows}


def test_a_shared_commit_is_linked_with_the_traces_that_it_serves(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    spans = kept_spans(monkeypatch)

    async def request(writer: JournalWriter) -> None:
        with command("request", enabled=True):
            await writer.append([a_prediction()])

    async def use(writer: JournalWriter) -> None:
        await asyncio.gather(*(request(writer) for _ in range(3)))

    with recording(enabled=True):
        with_writer(engine, use)
    commit, (first, *others) = named(spans(), "INSERT predictions"), [s for s in spans() if s.name == "request"]
    assert commit.parent == first.context
    assert [link.context for link in commit.links] == [other.context for other in others]
    assert [[link.context for link in other.links] for other in others] == [[commit.context]] * 2
    assert commit.attributes["db.system.name"] == engine.dialect.name


def test_a_transaction_is_bounded_but_one_append_is_never_divided(engine: Engine):
    async def use(writer: JournalWriter) -> None:
        with counted_commits(engine) as commits:
            await asyncio.gather(*(writer.append([a_prediction() for _ in range(400)]) for _ in range(5)))
        assert 3 <= len(commits) <= 5
        with counted_commits(engine) as commits:
            await writer.append([a_prediction() for _ in range(2_500)])
        assert len(commits) == 1

    with_writer(engine, use)
    assert len(stored(engine)) == 4_500


def test_a_queue_that_is_full_refuses(engine: Engine):
    async def use(writer: JournalWriter) -> None:
        with pytest.raises(JournalError, match="behind"):
            await writer.append([a_prediction() for _ in range(11)])
        appends = (writer.append([a_prediction() for _ in range(6)]) for _ in range(2))
        first, second = await asyncio.gather(*appends, return_exceptions=True)
        assert first is None
        assert isinstance(second, JournalError)
        await writer.append([a_prediction() for _ in range(10)])

    with_writer(engine, use, max_pending=10)
    assert len(stored(engine)) == 16


def test_repeated_ids_double_nothing(engine: Engine):
    row = a_prediction()

    async def use(writer: JournalWriter) -> None:
        await asyncio.gather(*(writer.append([row, row]) for _ in range(10)))

    with_writer(engine, use)
    assert stored(engine) == {row.id}


def test_a_value_that_is_refused_fails_its_own_append_only(engine: Engine):
    wrong: list[dict[str, Any]] = [
        {"churn_probability": None},
        {"inputs": object()},
        {"at": a_prediction().at.replace(tzinfo=None)},
        {"customer_id": "\ud800"},
    ]
    bad = [a_prediction()._replace(**fields) for fields in wrong]
    good = [a_prediction() for _ in range(10)]
    companion = a_prediction()

    async def use(writer: JournalWriter) -> None:
        rows = [good[0], bad[0], good[1], *bad[1:], *good[2:]]
        done = await asyncio.gather(*(writer.append([row]) for row in rows), return_exceptions=True)
        for row, result in zip(rows, done, strict=True):
            assert (type(result) is JournalError) == (row in bad), result
        with pytest.raises(JournalError):
            await writer.append([companion, bad[0]])

    with_writer(engine, use)
    assert stored(engine) == {row.id for row in good}


def test_a_nul_in_text_never_stops_the_writer(engine: Engine):
    async def use(writer: JournalWriter) -> None:
        results = await asyncio.gather(
            writer.append([a_prediction(customer_id="a\x00b")]), writer.append([a_prediction()]), return_exceptions=True
        )
        assert results[0] is None or isinstance(results[0], JournalError)  # PostgreSQL refuses it, SQLite does not
        assert results[1] is None

    with_writer(engine, use)


def test_a_cancelled_caller_breaks_nothing_for_the_others(engine: Engine):
    async def use(writer: JournalWriter) -> None:
        tasks = [asyncio.create_task(writer.append([a_prediction()])) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in done[::2])
        assert done[1::2] == [None] * 10

    with_writer(engine, use)
    assert len(stored(engine)) == 20


def test_close_writes_what_waits_and_refuses_the_rest(engine: Engine):
    async def use(writer: JournalWriter) -> None:
        tasks = [asyncio.create_task(writer.append([a_prediction()])) for _ in range(50)]
        await asyncio.sleep(0)
        writer.close()
        assert len(stored(engine)) == 50
        assert await asyncio.gather(*tasks) == [None] * 50
        with pytest.raises(JournalError, match="closed"):
            await writer.append([a_prediction()])

    writer = with_writer(engine, use)
    writer.close()
    assert not writer._thread.is_alive()


def test_a_loop_that_ended_does_not_stop_the_writer(engine: Engine):
    writer = JournalWriter(engine)
    for _ in range(2):

        async def leave() -> None:
            asyncio.get_running_loop().create_task(writer.append([a_prediction()]))
            await asyncio.sleep(0)

        asyncio.run(leave())
    writer.close()
    assert len(stored(engine)) == 2


def test_a_damaged_table_is_one_line_and_its_repair_is_noticed(engine: Engine):
    def change(statement: str) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)

    async def use(writer: JournalWriter) -> None:
        await writer.append([a_prediction()])
        change("ALTER TABLE predictions RENAME TO gone")
        results = await asyncio.gather(*(writer.append([a_prediction()]) for _ in range(5)), return_exceptions=True)
        for result in results:
            assert isinstance(result, JournalError)
            assert "could not be written" in str(result)
            assert "\n" not in str(result)
        change("ALTER TABLE gone RENAME TO predictions")
        await writer.append([a_prediction()])

    with_writer(engine, use)
    assert len(stored(engine)) == 2


def test_a_sqlite_file_that_is_locked_or_readonly(tmp_path: Path):
    engine = open_database(f"sqlite:///{tmp_path}/secret-place.db", durability="process")
    state = {"query_only": 0, "transactions": 0}

    def configure(connection: sqlite3.Connection, *_: object) -> None:
        state["transactions"] += 1
        connection.execute("PRAGMA busy_timeout=50")
        connection.execute(f"PRAGMA query_only={state['query_only']}")

    event.listen(engine, "checkout", configure)

    async def fails(writer: JournalWriter, why: str) -> None:
        begun = state["transactions"]
        results = await asyncio.gather(*(writer.append([a_prediction()]) for _ in range(30)), return_exceptions=True)
        assert state["transactions"] <= begun + 2  # they fail together, not one after another
        for result in results:
            assert isinstance(result, JournalError)
            assert str(result) == f"the prediction could not be written to the journal: {why}"

    async def use(writer: JournalWriter) -> None:
        await writer.append([a_prediction()])
        with closing(sqlite3.connect(tmp_path / "secret-place.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await fails(writer, "database is locked")
            other.execute("ROLLBACK")
        await writer.append([a_prediction()])
        state["query_only"] = 1
        await fails(writer, "attempt to write a readonly database")
        state["query_only"] = 0
        await writer.append([a_prediction()])

    with_writer(engine, use)
    assert len(stored(engine)) == 3
    engine.dispose()


@pytest.mark.parametrize("url", POSTGRESQL, indirect=True)
def test_a_server_that_crashes_under_load_loses_nothing_acknowledged(url: str, cluster: Cluster):
    engine = open_database(url)
    acknowledged: set[str] = set()
    refused: list[JournalError] = []
    stop = asyncio.Event()

    async def client(writer: JournalWriter) -> None:
        while not stop.is_set():
            row = a_prediction()
            try:
                await writer.append([row])
                acknowledged.add(row.id)
            except JournalError as error:
                refused.append(error)
                await asyncio.sleep(0.01)

    async def use(writer: JournalWriter) -> None:
        clients = [asyncio.create_task(client(writer)) for _ in range(16)]
        await until("it works", lambda: acknowledged)
        await asyncio.to_thread(cluster.crash)
        await until("it fails", lambda: refused)
        before = len(acknowledged)
        await asyncio.to_thread(cluster.start)
        await until("it works again, without a new writer", lambda: len(acknowledged) > before)
        stop.set()
        await asyncio.gather(*clients)
        await writer.append([a_prediction()])

    with_writer(engine, use)
    assert acknowledged <= stored(engine)
    assert not any("\n" in str(error) or "churnops@" in str(error) for error in refused)
    engine.dispose()


@pytest.mark.parametrize("url", POSTGRESQL, indirect=True)
def test_a_cut_connection_is_replaced_without_an_error(url: str):
    engine = open_database(url)
    cut = []

    async def use(writer: JournalWriter) -> None:
        await writer.append([a_prediction()])

        def cut_once(connection: Any) -> None:  # after the check that the pool makes
            if not cut:
                cut.append(connection)
                pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
                with closing(engine.raw_connection()) as other:
                    other.cursor().execute(f"SELECT pg_terminate_backend({pid}, 5000)")

        event.listen(engine, "begin", cut_once)
        await writer.append([a_prediction()])

    with_writer(engine, use)
    assert cut
    assert len(stored(engine)) == 2
    engine.dispose()


@pytest.fixture
def file_engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/journal.db", durability="process")
    yield engine
    engine.dispose()


def test_the_loop_commits_small_groups_itself(file_engine: Engine):
    rows = [a_prediction() for _ in range(1_000)]
    threads: set[int] = set()
    commit = file_engine.dialect.do_commit
    file_engine.dialect.do_commit = lambda connection: (threads.add(threading.get_ident()), commit(connection))  # type: ignore[method-assign]

    async def use(writer: JournalWriter) -> None:
        for start in range(0, len(rows), 500):
            await asyncio.gather(*(writer.append(rows[i : i + 100]) for i in range(start, start + 500, 100)))
            assert rows[start].id in stored_of(file_engine, rows[start].id)

    with_writer(file_engine, use, inline=True)
    assert stored(file_engine) == {row.id for row in rows}
    assert threads == {threading.get_ident()}


def test_the_loop_leaves_large_groups_to_the_thread(file_engine: Engine):
    rows = [a_prediction() for _ in range(LOOP_ROWS + 1)]
    threads: list[int] = []
    event.listen(file_engine, "commit", lambda _: threads.append(threading.get_ident()))

    async def use(writer: JournalWriter) -> None:
        await writer.append(rows)

    with_writer(file_engine, use, inline=True)
    assert stored(file_engine) == {row.id for row in rows}
    assert threading.get_ident() not in threads


def stored_of(engine: Engine, prediction_id: str) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(select(predictions.c.id).where(predictions.c.id == prediction_id)).scalars())


def test_the_loop_does_not_wait_for_another_writer(file_engine: Engine):
    """The thread waits instead, so that the event loop continues."""

    async def use(writer: JournalWriter) -> None:
        row = a_prediction()
        await writer.append([a_prediction()])
        with file_engine.connect() as other:
            other.execution_options(begin="BEGIN IMMEDIATE")
            transaction = other.begin()
            append = asyncio.create_task(writer.append([row]))
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert not append.done()
            transaction.rollback()
        await append
        assert row.id in stored(file_engine)

    with_writer(file_engine, use, inline=True)


def test_a_bad_append_on_the_loop_fails_alone(file_engine: Engine):
    async def use(writer: JournalWriter) -> None:
        good, bad = a_prediction(), a_prediction()._replace(inputs=object())  # type: ignore[arg-type]
        results = await asyncio.gather(writer.append([good]), writer.append([bad]), return_exceptions=True)
        assert results[0] is None
        assert isinstance(results[1], JournalError)
        await writer.append([a_prediction()])
        assert good.id in stored(file_engine)

    with_writer(file_engine, use, inline=True)


def test_an_append_waits_no_longer_than_its_timeout(file_engine: Engine):
    async def main() -> None:
        with file_engine.connect() as other:
            other.execution_options(begin="BEGIN IMMEDIATE")
            with other.begin(), pytest.raises(JournalError, match="took too long"):
                await writer.append([a_prediction()])

    writer = JournalWriter(file_engine, timeout=0.1, inline=True)
    with closing(writer):
        asyncio.run(main())


def test_closing_the_writer_writes_waiting_rows_and_answers_callers(file_engine: Engine):
    async def main() -> None:
        appends = [asyncio.create_task(writer.append([a_prediction()])) for _ in range(5)]
        await asyncio.sleep(0)  # they wait now; the loop has not committed yet
        closed = asyncio.get_running_loop().run_in_executor(None, writer.close)
        await asyncio.wait_for(asyncio.gather(*appends), PATIENCE)
        await closed

    writer = JournalWriter(file_engine, inline=True)
    asyncio.run(main())
    assert len(stored(file_engine)) == 5


@pytest.mark.parametrize("url", POSTGRESQL, indirect=True)
def test_a_write_reveals_a_read_only_database_and_its_recovery(url: str, monkeypatch: pytest.MonkeyPatch):
    engine = open_database(url)
    monkeypatch.setattr("churnops.journal.writer.RETRY_SECONDS", 0.0)

    def read_only(value: str) -> None:
        address = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER DATABASE {engine.url.database} SET default_transaction_read_only = {value}")
        engine.dispose()

    async def use(writer: JournalWriter) -> None:
        await writer.append([a_prediction()])
        writer.check()
        read_only("on")
        with pytest.raises(JournalError, match="read-only"):
            await writer.append([a_prediction()])
        for _ in range(2):
            with pytest.raises(JournalError, match="read-only"):
                writer.check()
        read_only("off")
        writer.check()
        await writer.append([a_prediction()])

    with_writer(engine, use)
    assert len(stored(engine)) == 2
    engine.dispose()


def test_an_idle_writer_is_checked_by_a_write_that_changes_nothing(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    async def use(writer: JournalWriter) -> None:
        with counted_commits(engine) as commits:
            writer.check()
            assert commits == []  # it has just begun
            monkeypatch.setattr("churnops.journal.writer.IDLE_SECONDS", -1.0)
            writer.check()
        assert len(commits) == 1

    with_writer(engine, use)
    assert stored(engine) == set()


def test_a_bad_value_says_nothing_about_the_journal(engine: Engine):
    async def use(writer: JournalWriter) -> None:
        with pytest.raises(JournalError):
            await writer.append([a_prediction()._replace(churn_probability=None)])  # type: ignore[arg-type]
        writer.check()

    with_writer(engine, use)
