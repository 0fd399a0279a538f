"""Outcomes from the database are those of a slow reading of the rule, and never look ahead."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, delete

from churnops.journal import Journal, Label, PredictionRow, open_database
from churnops.journal.labels import SAME_STATEMENT, write_labels
from churnops.journal.predictions import write_predictions
from churnops.journal.tables import labels, predictions
from tests.support.journals import prediction_row

START, DAY = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=1)
HORIZON = 10 * DAY
CUSTOMERS = (None, "a", "b", " ")  # earlier versions accepted blank ids
days = st.integers(0, 40).map(lambda n: START + n * DAY / 2)  # few, so that bounds are met exactly


class Statement(NamedTuple):
    """A label that was recorded as new, and its time."""

    label: Label
    outcome_at: datetime
    recorded_at: datetime


def slow_outcome(row: PredictionRow, told: list[Statement], known_at: datetime) -> bool | None:
    """Apply the rule literally to each prediction."""
    known = [each for each in told if each.recorded_at <= known_at]
    own = [each for each in known if each.label.prediction_id == row.id]
    customers = [
        each
        for each in known
        if (row.customer_id or "").strip() and each.label.customer_id == row.customer_id and row.at <= each.outcome_at
    ]
    if known_at < row.at or not (own or customers):
        return None
    last = (own or customers)[-1]
    end = row.at + HORIZON
    if last.label.churned and last.outcome_at <= end:
        return True
    if known_at < end or last.outcome_at < end:
        return None
    return False


def slow_write(told: list[Statement], label: Label, now: datetime) -> None:
    same = [
        each
        for each in told
        if (each.label.prediction_id, each.label.customer_id) == (label.prediction_id, label.customer_id)
    ]
    if same and same[-1].label.churned == label.churned:
        last = same[-1]
        if label.outcome_at == last.outcome_at:
            return
        if label.outcome_at is None and (label.churned or now < last.outcome_at + SAME_STATEMENT):
            return
    told.append(Statement(label, label.outcome_at or now, now))


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = open_database("sqlite:///:memory:")
    yield engine
    engine.dispose()


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[PredictionRow], list[tuple[datetime, list[Label]]]]:
    numbers = count()
    rows = [
        prediction_row(f"p{next(numbers)}", at, customer, "m", "f", 0.5, True, None, None, None, "{}", "api")
        for at, customer in draw(st.lists(st.tuples(days, st.sampled_from(CUSTOMERS)), min_size=1, max_size=5))
    ]
    subjects = st.one_of(
        st.sampled_from(rows).map(lambda row: {"prediction_id": row.id}),
        st.sampled_from(CUSTOMERS[1:]).map(lambda customer: {"customer_id": customer}),
    )
    label = st.builds(
        lambda churned, subject, at: Label(churned, outcome_at=at, **subject),
        st.booleans(),
        subjects,
        st.one_of(st.none(), days),
    )
    posts = draw(st.lists(st.tuples(days, st.lists(label, max_size=4)), max_size=5))
    return rows, sorted(posts, key=lambda post: post[0])


@given(histories(), days)
@settings(max_examples=300, deadline=None)
def test_outcomes_follow_the_rule_of_the_label_horizon(
    engine: Engine, history: tuple[list[PredictionRow], list[tuple[datetime, list[Label]]]], asked: datetime
):
    rows, posts = history
    journal = Journal(engine, label_horizon=HORIZON)
    with engine.begin() as connection:
        for table in (predictions, labels):
            connection.execute(delete(table))
    write_predictions(engine, rows)

    def answers(known_at: datetime) -> dict[str, tuple[bool | None, datetime | None]]:
        found = journal.resolved(START, START + 100 * DAY, known_at)
        return {each.row.id: (each.churned, each.known_at) for each in found}

    told: list[Statement] = []
    then: dict[datetime, object] = {}
    for now, news in posts:
        with engine.begin() as connection:
            counts = write_labels(connection, news, now)
        before = len(told)
        for label in news:
            slow_write(told, label, now)
        assert (counts.recorded, counts.unchanged) == (len(told) - before, len(news) - (len(told) - before))
        then[now] = answers(now)
    for now, answer in then.items():
        assert answers(now) == answer  # what came later changed nothing
    for known_at in (asked, START + 100 * DAY):
        found = answers(known_at)
        assert {key: churned for key, (churned, _) in found.items()} == {
            row.id: slow_outcome(row, told, known_at) for row in rows
        }
        for key, (churned, since) in found.items():
            assert (churned is None) == (since is None)
            if since is not None:
                assert since <= known_at
                assert answers(since)[key] == (churned, since)
