"""Entries dated ahead of the clock hide nothing that is written later, and are reported; over every database."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, update

from churnops.journal import DecisionLog, DeploymentLog, Journal, Label, RecordedDecision
from churnops.journal.alerts import AlertLog, Notice, Try
from churnops.journal.clock import entries_ahead
from churnops.journal.cycles import Cycle, CycleLog
from churnops.journal.deployment_log import Intent
from churnops.journal.labels import write_labels
from churnops.journal.predictions import write_predictions
from churnops.journal.profiles import ProfilePart, ProfileStore
from churnops.journal.tables import cycles, deployments
from tests.support.journals import prediction_row

YEAR, DAY, HOUR = timedelta(days=365), timedelta(days=1), timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC)


def cycle(at: datetime, report: str, *, fired: bool = False, content: str = "a") -> Cycle:
    summary = {"recommend_retraining": {"triggers": {"performance": fired}}}
    return Cycle(at, content, False, "finished", report, summary)


def deploy(log: DeploymentLog, engine: Engine, at: datetime, content: str = "a") -> int:
    intent = log.open_intent(
        Intent(folder=content, version=1, content_sha256=content, previous=None, reason="r", by="me")
    )
    with engine.begin() as connection:
        connection.execute(update(deployments).where(deployments.c.id == intent).values(at=at))
    return intent


def test_a_cycle_dated_ahead_hides_no_later_one(engine: Engine):
    log, start = CycleLog(engine), now()
    log.record(cycle(start + YEAR, "ahead", fired=True))
    assert log.newest()[0].at <= now(), "it counts as of now"
    log.record(cycle(start - HOUR, "later"))
    assert [c.report for c in log.newest(2)] == ["later", "ahead"]
    assert [c.at for c in log.newest(2)] == [log.newest()[0].at] * 2, "as of the next entry"
    assert log.established("a") == frozenset()
    shown = log.between(start - DAY, start + HOUR)
    assert [c.report for c in shown.cycles] == ["ahead", "later"]
    assert all(c.at <= now() for c in shown.cycles)
    assert log.between(start - DAY, start - HOUR).cycles == ()
    assert [c.report for c in log.between(start - DAY, start + HOUR, limit=1).cycles] == ["later"]


def test_a_decision_dated_ahead_hides_no_later_one_on_any_subject(engine: Engine):
    log, start = DecisionLog(engine), now()
    log.record(RecordedDecision(start + YEAR, "deploy", "keep", "ahead"))
    assert start <= log.newest()[0].at <= now()
    log.record(RecordedDecision(start - HOUR, "retrain", "no", "later"))
    log.record(RecordedDecision(start - HOUR / 2, "deploy", "keep", "latest"))
    assert [d.reason for d in log.newest(9, subject="deploy")] == ["latest", "ahead"]
    assert abs(log.newest(9, subject="deploy")[1].at - (start - HOUR)) < timedelta(milliseconds=1)


def test_a_deployment_dated_ahead_counts_as_of_what_follows_it(engine: Engine):
    log, watched, start = DeploymentLog(engine), CycleLog(engine), now()
    deploy(log, engine, start - 30 * DAY, "old")
    watched.record(cycle(start - 40 * DAY, "of an earlier time in production"))
    watched.record(cycle(start - 20 * DAY, "old model", content="old"))
    deploy(log, engine, start + YEAR)
    assert start <= log.history()[-1].at <= now()
    watched.record(cycle(start + YEAR, "its clock was ahead too"))
    watched.record(cycle(start - 3 * DAY, "first"))
    watched.record(cycle(start - 2 * DAY, "second"))
    assert abs(log.history()[-1].at - (start - 3 * DAY)) < timedelta(milliseconds=1), "cooldowns end"
    deploy(log, engine, start - HOUR, "new")
    assert [abs(d.at - start) < 2 * HOUR for d in log.history()] == [False, True, True]


def test_an_alert_dated_ahead_is_delivered_and_forgotten_as_others(engine: Engine):
    log, start = AlertLog(engine), now()
    notice = Notice("performance", "event", "critical", "title", "body")

    def take(at: datetime, *notices: Notice) -> list[int | None]:
        options: dict[str, Any] = {"now": at, "since": at - DAY, "lease": timedelta(minutes=1)}
        return [alert.id for alert, _ in log.take(lambda latest: notices, ["mail"], **options)[1]]

    (mine,) = take(start + YEAR, notice)
    assert take(start) == [mine], "whoever took it, at a time that is to come, is not waited for"
    assert mine is not None
    assert log.newest()[0].alert.at <= now()
    log.finish([Try(mine, "mail", "refused")], start)
    assert take(start + HOUR) == [mine]
    assert take(start + 3 * DAY) == [], "what a channel has not heard of in a day, it is not told any more"


def test_a_label_dated_ahead_counts_as_of_the_next_one(engine: Engine):
    journal, start = Journal(engine, label_horizon=10 * DAY), now()
    asked = [("p1", start - 60 * DAY), ("p2", start - 5 * DAY)]
    write_predictions(
        engine,
        [prediction_row(i, at, i, "m", "f", 0.5, True, None, None, None, "{}", "api") for i, at in asked],
    )

    def label(at: datetime, customer: str, *, churned: bool) -> int:
        with engine.begin() as connection:
            return write_labels(connection, [Label(churned, customer_id=customer)], at).recorded

    def known() -> dict[str, tuple[bool | None, datetime | None]]:
        found = journal.resolved(start - 99 * DAY, now(), now())
        return {each.row.id: (each.churned, each.known_at) for each in found}

    assert label(start + YEAR, "p2", churned=True) == 1
    assert known()["p2"][0] is True, "not: stayed, as they left in a year"
    assert label(start - 55 * DAY, "p1", churned=True) == 1
    churned, at = known()["p2"]
    assert (churned, at) == (True, asked[1][1]), "known as soon as it can be: not new for ever"
    found = journal.prediction("p2")
    assert found is not None
    assert found.churned is True
    assert label(start + YEAR, "p3", churned=False) == 1
    assert label(start, "p3", churned=False) == 1, "the right time is news"


def test_profile_parts_dated_ahead_are_ignored_and_forgotten(engine: Engine):
    store, start = ProfileStore(engine), now()
    store.write([ProfilePart("a", start + YEAR, "w", b"1"), ProfilePart("a", start, "v", b"2")], start, start)
    assert set(store.written("a", start - DAY, start + DAY)) == {start}
    store.write([], start, start - DAY, start + DAY)
    assert set(store.written("a", start - DAY)) == {start}


@pytest.mark.parametrize("table", ["deployments", "cycles", "decisions", "alerts", "labels", "predictions"])
def test_entries_dated_ahead_are_reported_by_name(engine: Engine, table: str):
    at = now() + YEAR + HOUR
    row = prediction_row("p1", at, None, "m", "f", 0.5, True, None, None, None, "{}", "api")

    def write_label() -> None:
        with engine.begin() as connection:
            write_labels(connection, [Label(True, customer_id="c")], at)

    def write_alert() -> None:
        notice = Notice("performance", "firing", "critical", "title", "body")
        AlertLog(engine).take(lambda latest: [notice], [], now=at, since=at - DAY, lease=DAY)

    write: dict[str, Callable[[], object]] = {
        "deployments": lambda: deploy(DeploymentLog(engine), engine, at),
        "cycles": lambda: CycleLog(engine).record(cycle(at, "r")),
        "decisions": lambda: DecisionLog(engine).record(RecordedDecision(at, "deploy", "keep", "r")),
        "alerts": write_alert,
        "labels": write_label,
        "predictions": lambda: write_predictions(engine, [row]),
    }
    assert entries_ahead(engine, now()) == ()
    write[table]()
    (message,) = entries_ahead(engine, now())
    assert f"the journal's table {table} has entries dated ahead" in message
    assert f"entry {'p1' if table == 'predictions' else 1} by 365 days" in message
    assert entries_ahead(engine, at) == ()


def test_only_the_newest_entries_are_searched(engine: Engine):
    row = {"at": 2**60, "aside": False, "status": "failed", "summary": "{}"}
    with engine.begin() as connection:
        connection.execute(insert(cycles), row)
        connection.execute(insert(cycles), [row | {"at": 0}] * 10_000)
    assert entries_ahead(engine, now()) == ()
