"""The log of alerts on every database: recorded once, kept over restarts, offered until delivered."""

import multiprocessing
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from churnops.errors import JournalError
from churnops.journal import open_database
from churnops.journal.alerts import UNDER_WAY, Alert, AlertLog, Notice, Try
from tests.support.journals import LASTING

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LEASE = timedelta(minutes=2)
DRIFT = Notice("feature_drift", "firing", "warning", "größer", "one\ntwo", reasons=("größe", "tenure"))
OVER = Notice("feature_drift", "recovered", "info", "over", "")
DEPLOYED = Notice("deployed", "event", "info", "version 2", "")


def take(
    log: AlertLog, *notices: Notice, channels: tuple[str, ...] = ("a", "b"), at: datetime = NOW
) -> list[tuple[str, str]]:
    """Record notices, and return title and channel of each delivery to make."""
    _, mine = log.take(lambda _: notices, channels, now=at, since=at - 24 * HOUR, lease=LEASE)
    return [(alert.notice.title, channel) for alert, channel in mine]


def latest(log: AlertLog) -> Mapping[str, Alert]:
    seen: list[Mapping[str, Alert]] = []

    def look(known: Mapping[str, Alert]) -> list[Notice]:
        seen.append(known)
        return []

    log.take(look, (), now=NOW, since=NOW, lease=LEASE)
    return seen[0]


def test_the_latest_alert_of_each_subject_decides(engine: Engine):
    log = AlertLog(engine)
    assert latest(log) == {}
    news, mine = log.take(lambda _: [DRIFT, DEPLOYED], ("a",), now=NOW, since=NOW - HOUR, lease=LEASE)
    assert [(alert.notice, alert.at) for alert in news] == [(DRIFT, NOW), (DEPLOYED, NOW)]
    assert mine == [(alert, "a") for alert in news]
    assert latest(log) == {"feature_drift": news[0]}, "an event is not a state"
    take(log, OVER, at=NOW + HOUR)
    assert latest(AlertLog(engine))["feature_drift"].notice == OVER


def test_only_undelivered_alerts_are_offered_again(engine: Engine):
    log = AlertLog(engine)
    (alert,), _ = log.take(lambda _: [DRIFT], ("a", "b"), now=NOW, since=NOW - HOUR, lease=LEASE)
    assert alert.id is not None
    assert log.undelivered(NOW - HOUR) == 1
    log.finish([Try(alert.id, "a", "refused"), Try(alert.id, "a", None), Try(alert.id, "b", "refused")], NOW)
    assert log.undelivered(NOW - HOUR) == 1
    assert log.undelivered(NOW + HOUR) == 0
    assert take(log, channels=("a", "c")) == [], (
        "a channel that is there no more is not told, nor a new one of old news"
    )
    assert take(log) == [("größer", "b")]
    log.finish([Try(alert.id, "b", None)], NOW)
    assert log.undelivered(NOW - HOUR) == 0
    assert take(log, at=NOW + HOUR) == []


def test_deliveries_of_a_killed_process_return_after_their_lease(engine: Engine):
    log = AlertLog(engine)
    assert take(log, DRIFT) == [("größer", "a"), ("größer", "b")]  # and nothing is heard of it
    assert take(log, at=NOW + LEASE - timedelta(seconds=1)) == []
    assert take(log, at=NOW + LEASE) == [("größer", "a"), ("größer", "b")]
    assert take(log, at=NOW + LEASE) == [], "the lease is another's now"
    assert take(log, at=NOW + 25 * HOUR) == [], "a day later nobody wants to know"


def test_an_alert_replaced_by_a_later_one_is_not_delivered(engine: Engine):
    log = AlertLog(engine)
    take(log, DRIFT, DEPLOYED)
    later = NOW + HOUR
    assert take(log, OVER, at=later) == [("version 2", "a"), ("version 2", "b"), ("over", "a"), ("over", "b")]
    assert log.undelivered(NOW - HOUR) == 2


def test_nothing_is_recorded_if_the_decision_fails(engine: Engine):
    log = AlertLog(engine)

    def fails(_: Mapping[str, Alert]) -> list[Notice]:
        raise RuntimeError("decided nothing")

    with pytest.raises(RuntimeError):
        log.take(fails, ("a",), now=NOW, since=NOW, lease=LEASE)
    assert take(log, at=NOW + HOUR) == []


def test_a_damaged_database_is_one_line(engine: Engine):
    log = AlertLog(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE deliveries")
    calls: list[Callable[[], object]] = [
        lambda: take(log, DRIFT),
        lambda: log.finish([Try(1, "a", None)], NOW),
        lambda: log.undelivered(NOW),
        log.newest,
    ]
    for call in calls:
        with pytest.raises(JournalError, match=r"\Athe journal's database .*\Z"):
            call()


def _once(url: str) -> int:
    engine = open_database(url)

    def decide(known: Mapping[str, Alert]) -> list[Notice]:
        return [] if "feature_drift" in known else [DRIFT]

    try:
        handed_out = 0
        for _ in range(20):
            _, mine = AlertLog(engine).take(decide, ("a",), now=NOW, since=NOW - HOUR, lease=LEASE)
            handed_out += len(mine)
        return handed_out
    finally:
        engine.dispose()


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_only_one_of_two_processes_takes_an_alert(url: str):
    open_database(url).dispose()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert sorted(pool.map(_once, [url, url], chunksize=1)) == [0, 1]


def test_the_newest_alerts_come_with_their_delivery_results(engine: Engine):
    log = AlertLog(engine)
    assert log.newest() == []
    (drift, deployed), _ = log.take(lambda _: [DRIFT, DEPLOYED], ("a", "b"), now=NOW, since=NOW, lease=LEASE)
    assert drift.id is not None
    log.finish([Try(drift.id, "a", "refused"), Try(drift.id, "a", None), Try(drift.id, "b", "refused")], NOW)
    newest = log.newest()
    assert [told.alert for told in newest] == [deployed, drift]
    assert newest[1].tries == (Try(drift.id, "a", None), Try(drift.id, "b", "refused"))
    assert {one.error for one in newest[0].tries} == {UNDER_WAY}
    assert log.newest(1) == newest[:1]
    take(log, OVER, channels=())
    assert log.newest(1)[0].tries == ()


def test_an_open_alert_begins_after_the_last_recovery(engine: Engine):
    log = AlertLog(engine)
    subjects = ("feature_drift", "performance", "deployed")
    assert log.firing(subjects) == []
    for hour, notice in enumerate((DRIFT, OVER, DRIFT, DEPLOYED, DRIFT)):
        take(log, notice, at=NOW + hour * HOUR)
    (firing,) = log.firing(subjects)
    assert firing.alert.notice == DRIFT
    assert (firing.since, firing.alert.at) == (NOW + 2 * HOUR, NOW + 4 * HOUR)
    take(log, Notice("performance", "firing", "critical", "worse", ""), at=NOW + HOUR)
    assert [one.alert.notice.subject for one in log.firing(subjects)] == ["performance", "feature_drift"]
    assert log.firing(("performance",)) != log.firing(subjects)
    take(log, OVER, at=NOW + 9 * HOUR)
    assert [one.alert.notice.subject for one in log.firing(subjects)] == ["performance"]


def test_an_alarm_is_its_subject_and_its_source(engine: Engine):
    log = AlertLog(engine)
    weekly = replace(DRIFT, source="weekly")
    take(log, DRIFT, weekly)
    assert set(latest(log)) == {"feature_drift", "feature_drift@weekly"}
    take(log, replace(OVER, source="weekly"), at=NOW + HOUR)
    assert [one.alert.notice for one in log.firing(("feature_drift", "performance"))] == [DRIFT]
    assert len(take(log, at=NOW + HOUR)) == 0, "of each incident only the latest is delivered"
