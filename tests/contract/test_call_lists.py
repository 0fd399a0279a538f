"""Call lists and contacts: kept once, in the ranking's order, without the customers who are left out."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy import Engine

from churnops.errors import CallListError
from churnops.journal import Journal, Label, call_lists
from churnops.journal import ranked_scores as module
from churnops.journal.call_lists import CallListStore, ListedCustomer
from churnops.journal.contacts import Contact, ContactLog, Status, UnknownCustomer
from churnops.journal.newest_scores import follow_predictions
from churnops.journal.predictions import write_predictions
from churnops.journal.ranked_scores import RankedScore, count_without_value, left_out, ranked_scores, recorded_inputs
from tests.support.journals import DAY, HORIZON, LASTING, a_prediction

NOW = datetime.now(UTC)


def listed(place: int, customer: str) -> ListedCustomer:
    return ListedCustomer(place, customer, f"p{place}", 0.75, None, 12.5, ("calls often (5)", "é; =1+1"), "call back")


def add(engine: Engine, name: str, *customers: str, request: dict[str, Any] | None = None, after: int = 0) -> Any:
    store = CallListStore(engine)
    rows = [listed(place, customer) for place, customer in enumerate(customers, 1)]
    return store.add(name, request or {"days": 30}, {"customers": len(rows)}, rows, by="ann", after=after)


@pytest.fixture
def scored(engine: Engine) -> Engine:
    """Customers whose value at risk, and then value, decides the order."""
    bills = {"a": (0.5, "40.0"), "b": (0.25, "80.0"), "c": (0.9, "10.0"), "d": (0.5, "null"), "e": (0.99, "100.0")}
    rows = [
        a_prediction(customer_id=name, churn_probability=score, inputs=f'{{"bill":{bill}}}')
        for name, (score, bill) in bills.items()
    ]
    write_predictions(engine, rows)
    while follow_predictions(engine, "bill"):
        pass
    return engine


def ranking(engine: Engine, above: float = -1.0, lowest: float = 0.0) -> list[RankedScore]:
    return [row for page in ranked_scores(engine, above, lowest) for row in page]


def test_scores_are_ranked_by_what_is_at_risk(scored: Engine, monkeypatch: pytest.MonkeyPatch):
    for page in (1, 2, 3, 500):
        monkeypatch.setattr(module, "PAGE", page)
        assert [row.customer_id for row in ranking(scored)] == ["e", "b", "a", "c"]
    assert [row.customer_id for row in ranking(scored, above=9.5)] == ["e", "b", "a"]
    assert [row.customer_id for row in ranking(scored, lowest=0.5)] == ["e", "a", "c"]
    assert count_without_value(scored) == 1


def test_inputs_of_listed_customers_are_those_of_their_predictions(scored: Engine):
    rows = ranking(scored)
    recorded = recorded_inputs(scored, [*((row.prediction, row.at) for row in rows), ("unknown", rows[0].at)])
    bills = {id_: recorded.inputs.record(place)["bill"] for place, id_ in enumerate(recorded.ids)}
    assert [bills[row.prediction] for row in rows] == [100.0, 80.0, 40.0, 10.0]
    assert recorded_inputs(scored, []).ids == []


def test_a_list_is_kept_as_it_was_made(engine: Engine):
    made, is_new = add(engine, "week 1", "c1", "c2")
    assert is_new
    store = CallListStore(engine)
    assert store.get(made.id) == store.named("week 1") == store.newest()[0] == made
    assert (made.request, made.head, made.by) == ({"days": 30}, {"customers": 2}, "ann")
    assert store.customers(made.id) == [listed(1, "c1"), listed(2, "c2")]
    assert store.customers(made.id, after=1) == [listed(2, "c2")]
    assert store.get(made.id + 1) is store.named("week 2") is None


def test_the_same_request_again_gives_the_same_list(engine: Engine):
    made, _ = add(engine, "week 1", "c1")
    assert add(engine, "week 1", "c1") == (made, False)
    with pytest.raises(CallListError, match="another call list has this name already"):
        add(engine, "week 1", "c1", request={"days": 7})
    assert add(engine, "week 2", "c1") is None, "another list was made since the customers were chosen"
    assert len(CallListStore(engine).newest()) == 1


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_processes_that_make_the_same_list_make_it_once(engine: Engine):
    with ThreadPoolExecutor(4) as threads:
        made = [one.result() for one in [threads.submit(partial(add, engine, "week 1", "c1", "c2")) for _ in range(4)]]
    assert sorted(is_new for _, is_new in made) == [False, False, False, True]
    assert len({one.id for one, _ in made}) == 1
    assert len(CallListStore(engine).customers(1)) == 2


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Lists are written in parts of two rows."""
    monkeypatch.setattr(call_lists, "PART", 2)
    return monkeypatch


FIVE = tuple(f"c{number}" for number in range(5))


def test_a_long_list_is_visible_once_it_is_complete(engine: Engine, parts: pytest.MonkeyPatch):
    store, seen = CallListStore(engine), []

    def look(_seconds: float) -> None:
        seen.append((store.newest(), store.named("week 1"), ContactLog(engine).record([Contact("c9", "kept")])))
        with pytest.raises(UnknownCustomer):
            ContactLog(engine).record([Contact("c1", "kept", 1)])

    parts.setattr(call_lists.time, "sleep", look)
    made, is_new = add(engine, "week 1", *FIVE)
    assert (is_new, seen) == (True, [([], None, 1)] * 2), "others read and write between two parts"
    assert [row.customer_id for row in store.customers(made.id)] == list(FIVE)
    assert store.newest() == [made]


def test_a_list_that_is_being_written_is_not_begun_again(engine: Engine, parts: pytest.MonkeyPatch):
    others = []
    parts.setattr(call_lists.time, "sleep", lambda _: others.append(add(engine, "week 1", *FIVE, after=1)))
    made, is_new = add(engine, "week 1", *FIVE)
    assert (is_new, others) == (True, [None] * 2)
    assert CallListStore(engine).newest() == [made]


def test_a_list_whose_process_was_killed_is_removed(engine: Engine, parts: pytest.MonkeyPatch):
    parts.setattr(call_lists, "_LEASE", -1)
    with parts.context() as killed:
        killed.setattr(call_lists.time, "sleep", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            add(engine, "week 1", *FIVE)
    assert add(engine, "week 1", *FIVE) is None, "the customers are chosen again, without the rows of the killed one"
    after = CallListStore(engine).last_id()
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM call_list_rows").scalar() == after == 0
    made, is_new = add(engine, "week 1", *FIVE)
    assert is_new
    assert len(CallListStore(engine).customers(made.id)) == 5


def test_a_list_that_was_given_up_is_not_continued(engine: Engine, parts: pytest.MonkeyPatch):
    parts.setattr(call_lists, "_LEASE", -1)
    store = CallListStore(engine)

    def replaced(_seconds: float) -> None:
        parts.setattr(call_lists.time, "sleep", lambda _: None)
        add(engine, "week 2", "c7", after=store.last_id())

    parts.setattr(call_lists.time, "sleep", replaced)
    with pytest.raises(CallListError, match="was given up"):
        add(engine, "week 1", *FIVE)
    assert [(one.name, len(store.customers(one.id))) for one in store.newest()] == [("week 2", 1)]


@pytest.mark.parametrize("url", LASTING, indirect=True)
def test_processes_that_make_the_same_long_list_make_it_once(engine: Engine, parts: pytest.MonkeyPatch):
    store = CallListStore(engine)

    def make() -> Any:
        while (made := add(engine, "week 1", *FIVE, after=store.last_id())) is None:
            pass
        return made

    with ThreadPoolExecutor(4) as threads:
        made = [one.result() for one in [threads.submit(make) for _ in range(4)]]
    assert sorted(is_new for _, is_new in made) == [False, False, False, True]
    assert [one.id for one in store.newest()] == [made[0][0].id]
    assert len(store.customers(made[0][0].id)) == 5


def test_the_latest_contact_of_a_customer_counts(engine: Engine):
    add(engine, "week 1", "c1", "c2")
    log = ContactLog(engine)
    assert log.record([Contact("c1", "reached", 1, "calls back", "flat rate")], by="ann", key="k1") == 1
    log.record([Contact("c1", "kept", 1, "stays", at=NOW - DAY), Contact("c9", "declined")])
    assert log.of_list(1) == {"c1": Contact("c1", "kept", 1, "stays", at=(NOW - DAY))}
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM contacts").scalar() == 3


def test_a_contact_needs_a_customer_of_its_list(engine: Engine):
    add(engine, "week 1", "c1")
    log = ContactLog(engine)
    with pytest.raises(UnknownCustomer, match="not on list 1") as refused:
        log.record([Contact("c1", "kept", 1), Contact("c2", "kept", 1)])
    assert refused.value.index == 1
    with pytest.raises(UnknownCustomer, match="no call list 2"):
        log.record([Contact("c1", "kept", 2)])
    assert log.of_list(1) == {}


@pytest.mark.parametrize(("status", "is_out"), [("to do", False), ("reached", True), ("declined", True)])
def test_contacted_customers_are_left_out(engine: Engine, status: Status, is_out: bool):
    ContactLog(engine).record([Contact("c1", "kept", at=NOW - DAY), Contact("c1", status, at=NOW - DAY)])
    reason = {"c1": "contacted"} if is_out else {}
    assert left_out(engine, ["c1", "c2"], NOW - 2 * DAY, [0, 0]) == reason
    assert left_out(engine, ["c1", "c2"], NOW - DAY / 2, [0, 0]) == {}
    assert left_out(engine, ["c1", "c2"], None, [0, 0]) == {}


def test_listed_customers_and_those_who_left_are_left_out(engine: Engine):
    add(engine, "week 1", "c1", "c2")
    outcomes = [Label(True, customer_id="c2"), Label(True, customer_id="c3"), Label(True, customer_id="c4")]
    journal = Journal(engine, label_horizon=HORIZON)
    journal.record_labels(outcomes)
    journal.record_labels([Label(False, customer_id="c4")])
    later = int((datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1e6)
    ids, scored_at = ["c1", "c2", "c3", "c4", "c5"], [0, 0, later, 0, 0]
    assert left_out(engine, ids, NOW - DAY, scored_at) == {"c1": "listed", "c2": "left"}
    assert left_out(engine, ids, None, scored_at) == {"c2": "left"}
