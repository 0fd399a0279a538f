"""The log of cycles and looks, over every database."""

import multiprocessing
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from churnops.journal import open_database
from churnops.journal.cycles import Cycle, CycleLog
from tests.contract.conftest import LASTING

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_looks_are_numbered_for_each_model_and_the_same_evidence_is_the_same_look(engine: Engine):
    log = CycleLog(engine)
    assert [log.look("a", batch) for batch in ("x", "y", "x", "z")] == [1, 2, 1, 3]
    assert [log.look("b", batch) for batch in ("x", "y")] == [1, 2]
    assert CycleLog(engine).look("a", "new") == 4


def _look(url: str, start: int) -> list[int]:
    engine = open_database(url)
    try:
        return [CycleLog(engine).look("a", f"{start + i}") for i in range(10)]
    finally:
        engine.dispose()


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_looks_of_processes_at_once_have_different_numbers(url: str):
    open_database(url).dispose()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        different = pool.starmap(_look, [(url, 0), (url, 100)])
        assert sorted(look for found in different for look in found) == list(range(1, 21))
        same = pool.starmap(_look, [(url, 1000), (url, 1000)])
    assert same[0] == same[1]


def test_cycles_come_back_newest_first_and_chosen(engine: Engine):
    log = CycleLog(engine)
    made = [
        Cycle(NOW, "a", False, "finished", "one.json", {"drift_rate": 0.25, "name": "ä"}),
        Cycle(NOW + timedelta(hours=1), "a", True, "finished", "two.json", {"drift_rate": None}),
        Cycle(NOW + timedelta(hours=2), None, False, "failed", None, {"error": "no model"}),
    ]
    assert log.newest() == []
    for cycle in made:
        log.record(cycle)
    assert log.newest(9, aside=None) == made[::-1]
    assert log.newest(9) == [made[2], made[0]]
    assert log.newest(status="finished") == [made[0]]


def test_what_had_fired_is_told_of_the_newest_cycle_of_a_model(engine: Engine):
    log = CycleLog(engine)
    assert log.established("a") == frozenset()

    def summary(**triggers: bool | None) -> dict[str, object]:
        return {"recommend_retraining": {"triggers": triggers}}

    log.record(Cycle(NOW, "a", False, "finished", "1", summary(performance=True, target_drift=True)))
    log.record(
        Cycle(NOW + timedelta(hours=1), "a", False, "finished", "2", summary(performance=True, target_drift=None))
    )
    log.record(Cycle(NOW + timedelta(hours=2), "b", False, "finished", "3", summary(feature_drift=True)))
    log.record(Cycle(NOW + timedelta(hours=3), "a", True, "finished", "4", summary(prediction_drift=True)))
    log.record(Cycle(NOW + timedelta(hours=4), "a", False, "failed", None, {"error": "x"}))
    assert log.established("a") == {"performance"}


def test_what_is_not_json_is_not_recorded(engine: Engine):
    with pytest.raises(ValueError, match="JSON"):
        CycleLog(engine).record(Cycle(NOW, "a", False, "finished", "r", {"drift_rate": float("nan")}))
    assert CycleLog(engine).newest() == []
