"""The table of experiments, on every database."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine

from churnops.errors import JournalError
from churnops.journal.experiments import ExperimentStore
from tests.support.experiments import CHAMPION, an_experiment


@pytest.fixture
def store(engine: Engine) -> ExperimentStore:
    return ExperimentStore(engine)


def test_an_experiment_is_read_as_it_was_started(store: ExperimentStore):
    started = store.start(an_experiment(share=0.2, why="cheaper", details={"over": [1, 0.5]}))
    assert started == an_experiment(share=0.2, why="cheaper", details={"over": [1, 0.5]}, id=1)
    assert store.running() == store.running("shadow") == store.get(1) == started
    assert store.running("split") is store.get(2) is None


def test_only_one_experiment_runs(store: ExperimentStore):
    first = store.start(an_experiment())
    with pytest.raises(JournalError, match="shadow 1 of version 7 is running: `churnops shadow stop` ends it"):
        store.start(an_experiment(kind="split"))
    assert store.end(first.id, "stopped", "bob", "enough")
    assert store.start(an_experiment(kind="split")).id == 2


def test_an_experiment_ends_once_and_keeps_its_first_end(store: ExperimentStore):
    first = store.start(an_experiment(details={"a": 1}))
    assert not store.end(first.id + 1, "stopped", "bob", "another one")
    assert store.end(first.id, "success", "evidence", "it is better", {"labels": 900})
    assert not store.end(first.id, "stopped", "bob", "too late")
    ended = store.get(first.id)
    assert ended is not None
    assert ended.ended_at is not None
    assert ended.ended_at > first.started_at
    expected = replace(first, state="success", ended_by="evidence", ended_why="it is better", ended_at=ended.ended_at)
    assert ended == replace(expected, details={"a": 1, "labels": 900})


def test_the_newest_experiments_can_be_chosen_by_kind_and_champion(store: ExperimentStore):
    for kind, champion in (("shadow", CHAMPION), ("split", CHAMPION), ("shadow", "e" * 64)):
        store.end(store.start(an_experiment(kind=kind, champion=champion)).id, "stopped", "ann", "")
    assert [one.id for one in store.newest(10)] == [3, 2, 1]
    assert [one.id for one in store.newest()] == [3]
    assert [one.id for one in store.newest(10, kind="shadow", champion=CHAMPION)] == [1]


def test_details_are_counted_and_replaced(store: ExperimentStore):
    first = store.start(an_experiment(details={"kept": True}))
    assert store.count(first.id, {"dropped": 3}) == {"kept": True, "dropped": 3}
    assert store.count(first.id, {"dropped": 2, "late": 1}) == {"kept": True, "dropped": 5, "late": 1}
    store.note(first.id, {"kept": False})
    noted = store.get(first.id)
    assert noted is not None
    assert noted.details == {"kept": False, "dropped": 5, "late": 1}


def test_of_several_threads_one_notes_a_fact(store: ExperimentStore):
    first = store.start(an_experiment(details={"kept": True}))
    with ThreadPoolExecutor(4) as threads:
        notes = [*threads.map(lambda number: store.note_once(first.id, "seen", number), range(4))]
    noted = store.get(first.id)
    assert noted is not None
    assert notes.count(True) == 1
    assert noted.details == {"kept": True, "seen": notes.index(True)}


def test_shadows_of_one_champion_are_numbered(store: ExperimentStore):
    kinds = ("shadow", CHAMPION), ("split", CHAMPION), ("shadow", "e" * 64), ("shadow", CHAMPION)
    started = []
    for kind, champion in kinds:
        started.append(store.start(an_experiment(kind=kind, champion=champion)))
        store.end(started[-1].id, "stopped", "ann", "")
    assert [store.place(one) for one in started] == [1, 1, 1, 2]
    assert store.first_start("shadow", CHAMPION) == started[0].started_at
    assert store.first_start("split", "e" * 64) is None
