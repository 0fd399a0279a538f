"""The log of cycles and looks, over every database."""

import multiprocessing
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from sqlalchemy import Engine, event

from churnops.journal import open_database
from churnops.journal.cycles import Cycle, CycleLog
from tests.support.journals import LASTING

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def test_looks_are_numbered_per_model_and_equal_evidence_is_one_look(engine: Engine):
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


def test_cycles_are_filtered_and_returned_newest_first(engine: Engine):
    log = CycleLog(engine)
    made = [
        Cycle(NOW, "a", False, "finished", "one.json", {"drift_rate": 0.25, "name": "ä"}),
        Cycle(NOW + timedelta(hours=1), "a", True, "finished", "two.json", {"drift_rate": None}),
        Cycle(NOW + timedelta(hours=2), None, False, "failed", None, {"error": "no model"}),
    ]
    assert log.newest() == []
    for cycle in made:
        log.record(cycle)
    assert log.newest(9, report_only=None) == made[::-1]
    assert log.newest(9) == [made[2], made[0]]
    assert log.newest(status="finished") == [made[0]]


def test_fired_triggers_are_those_of_the_models_newest_cycle(engine: Engine):
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


def test_a_summary_that_is_not_json_is_not_recorded(engine: Engine):
    with pytest.raises(ValueError, match="JSON"):
        CycleLog(engine).record(Cycle(NOW, "a", False, "finished", "r", {"drift_rate": float("nan")}))
    assert CycleLog(engine).newest() == []


def between(
    log: CycleLog, hours: int, *, report_only: bool | None = False, limit: int = 500
) -> tuple[list[str | None], bool]:
    found = log.between(NOW, NOW + timedelta(hours=hours), report_only=report_only, limit=limit)
    return [cycle.report for cycle in found.cycles], found.every is not None


def test_cycles_of_a_time_come_oldest_first_without_their_columns(engine: Engine):
    log = CycleLog(engine)
    assert log.between(NOW, NOW + timedelta(days=1)).cycles == ()
    for hour in (2, 0, 1, 5):
        summary = {"drift_rate": hour / 10, "name": "ä", "columns": {"minutes": {"effect": 0.1}}}
        log.record(Cycle(NOW + timedelta(hours=hour), "a", hour == 1, "finished", str(hour), summary))
    found = log.between(NOW, NOW + timedelta(hours=5))
    assert [(cycle.report, cycle.summary) for cycle in found.cycles] == [
        ("0", {"drift_rate": 0.0, "name": "ä"}),
        ("2", {"drift_rate": 0.2, "name": "ä"}),
    ], "the end is excluded, and report-only cycles too"
    assert found.every is None
    assert between(log, 6, report_only=None) == (["0", "1", "2", "5"], False)
    assert between(log, 6, report_only=True) == (["1"], False)


def test_of_many_cycles_the_newest_of_each_stretch_and_kind_is_taken(engine: Engine):
    log = CycleLog(engine)
    for hour in range(100):
        failed = hour == 41
        report = None if failed else str(hour)
        status: Literal["failed", "finished"] = "failed" if failed else "finished"
        log.record(Cycle(NOW + timedelta(hours=hour), "a", False, status, report, {"columns": {}}))
    names, thinned = between(log, 100, limit=10)
    assert thinned
    assert names == ["9", "19", "29", "39", None, "49", "59", "69", "79", "89", "99"]
    assert between(log, 100, limit=100) == ([None if hour == 41 else str(hour) for hour in range(100)], False)


def test_cycles_of_a_time_are_found_by_the_index():
    engine = open_database("sqlite:///:memory:")
    asked: list[tuple[str, object]] = []
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    log = CycleLog(engine)
    for number in range(20):
        log.record(Cycle(NOW + timedelta(hours=number), "a", False, "finished", "r", {}))
    asked.clear()
    log.between(NOW, NOW + timedelta(hours=20), limit=5)
    log.between(NOW, NOW + timedelta(hours=20))
    plans = []
    with engine.connect() as connection:
        for statement, values in asked:
            if statement.startswith("SELECT"):
                plans += [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert any("cycles_at" in step for step in plans)
    assert [step for step in plans if step.startswith("SCAN")] == []
    engine.dispose()


def test_looks_and_fired_triggers_belong_to_their_source(engine: Engine):
    log = CycleLog(engine)
    assert [log.look("a", batch) for batch in ("x", "y")] == [1, 2]
    assert [log.look("a", batch, "weekly") for batch in ("y", "x", "y")] == [1, 2, 1]
    assert log.look("a", "z") == 3
    fired = {"recommend_retraining": {"triggers": {"performance": True}}}
    log.record(Cycle(NOW, "a", False, "finished", "1", fired, "weekly"))
    log.record(Cycle(NOW, "a", False, "failed", None, {"error": "x"}))
    log.record(Cycle(NOW, "a", True, "finished", "2", {}, "file"))
    assert log.established("a") == frozenset()
    assert log.established("a", "weekly") == {"performance"}
    assert log.sources() == ["file", "live", "weekly"]
    assert [cycle.status for cycle in log.newest(9, source="live")] == ["failed"]
    assert log.newest(9, source="file") == []
    series = log.between(NOW - timedelta(hours=1), NOW + timedelta(hours=1), report_only=None, source="weekly")
    assert [cycle.source for cycle in series.cycles] == ["weekly", "file"]
