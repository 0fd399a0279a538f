"""Rolling profiles of the service, on every database."""

from datetime import UTC, datetime, timedelta
from threading import Thread

import pytest
from sqlalchemy import Engine, text

from churnops.errors import JournalError
from churnops.journal.profiles import ProfilePart, ProfileStore
from tests.support.journals import LASTING

NOW = datetime(2026, 11, 24, 12, 0, 0, 123456, tzinfo=UTC)
PART = datetime(2026, 11, 24, tzinfo=UTC)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
BYTES = bytes(range(256))


@pytest.fixture
def store(engine: Engine) -> ProfileStore:
    return ProfileStore(engine)


def test_a_worker_replaces_only_its_own_profiles(store: ProfileStore):
    later = NOW + timedelta(seconds=10)
    store.write([ProfilePart("a", PART, "one", b"1"), ProfilePart("a", PART, "two", BYTES)], NOW, LONG_AGO)
    store.write([ProfilePart("a", PART, "one", b"11")], later, LONG_AGO)
    assert store.read("a", PART) == [b"11", BYTES]
    assert store.written("a", PART) == {PART: {"one": later, "two": NOW}}


def test_models_and_parts_are_kept_apart(store: ProfileStore):
    earlier = PART - timedelta(hours=21)
    rows = [ProfilePart("a", PART, "w", b"1"), ProfilePart("a", earlier, "w", b"2"), ProfilePart("b", PART, "w", b"3")]
    store.write(rows, NOW, LONG_AGO)
    assert (store.read("a", PART), store.read("a", earlier), store.read("b", PART)) == ([b"1"], [b"2"], [b"3"])
    assert store.read("b", earlier) == []
    assert set(store.written("a", LONG_AGO)) == {PART, earlier}
    assert set(store.written("a", PART)) == {PART}
    assert store.written("c", LONG_AGO) == {}


def test_parts_older_than_the_window_are_forgotten_by_any_process(store: ProfileStore):
    earlier = PART - timedelta(hours=21)
    store.write([ProfilePart("a", earlier, "dead", b"1"), ProfilePart("b", earlier, "dead", b"2")], NOW, LONG_AGO)
    store.write([ProfilePart("a", PART, "w", b"3")], NOW, earlier)
    assert store.read("a", earlier) == [b"1"]
    store.write([], NOW, PART)
    assert set(store.written("a", LONG_AGO)) == {PART}
    assert store.written("b", LONG_AGO) == {}


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_workers_that_write_at_once_all_arrive(store: ProfileStore):
    def work(worker: str) -> None:
        for n in range(20):
            store.write([ProfilePart("a", PART, worker, b"%s %d" % (worker.encode(), n))], NOW, LONG_AGO)

    threads = [Thread(target=work, args=(name,)) for name in "pqrs"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.read("a", PART) == [b"p 19", b"q 19", b"r 19", b"s 19"]


def test_a_database_that_does_not_answer_is_one_line(engine: Engine, store: ProfileStore):
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE profiles"))
    for ask in (
        lambda: store.write([], NOW, PART),
        lambda: store.written("a", PART),
        lambda: store.read("a", PART),
    ):
        with pytest.raises(JournalError, match=r"\Athe journal's database failed: .*\Z"):
            ask()
