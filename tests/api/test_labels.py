"""`POST /labels`: outcomes that arrive later, and their effect on recorded predictions."""

import io
import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from churnops.journal.database import open_database
from churnops.settings import Settings
from tests.support.api import assert_problem, client_of, recorded

HORIZON = timedelta(days=30)


def now() -> datetime:
    return datetime.now(UTC)


def rows(settings: Settings) -> list[tuple[Any, ...]]:
    engine = open_database(settings.database_url(settings.journal.url))
    with engine.connect() as connection:
        query = "SELECT subject_kind, subject, churned, outcome_at, revision FROM labels ORDER BY subject, revision"
        found = [tuple(row) for row in connection.exec_driver_sql(query)]
    engine.dispose()
    return found


def predict(client: TestClient, customer: dict[str, Any]) -> str:
    return str(client.post("/predict", json=customer).json()["prediction_id"])


def age(settings: Settings, by: timedelta) -> None:
    """Move the predictions to an earlier time."""
    engine = open_database(settings.database_url(settings.journal.url))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE predictions SET at = at - {by // timedelta(microseconds=1)}")
    engine.dispose()


def outcome(client: TestClient, prediction_id: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/predictions/{prediction_id}").json()["outcome"]
    return found


def test_one_label_or_a_list(client: TestClient, api_settings: Settings, customer: dict[str, Any]):
    prediction_id = predict(client, customer)
    one = client.post("/labels", json={"prediction_id": prediction_id, "churned": True})
    assert one.json() == {"recorded": 1, "unchanged": 0, "unmatched": 0}
    two = client.post(
        "/labels", json=[{"customer_id": "C-2", "churned": False}, {"customer_id": "C-3", "churned": True}]
    )
    assert two.json() == {"recorded": 2, "unchanged": 0, "unmatched": 2}
    assert {(kind, subject, bool(churned)) for kind, subject, churned, *_ in rows(api_settings)} == {
        ("prediction", prediction_id, True),
        ("customer", "C-2", False),
        ("customer", "C-3", True),
    }
    assert "churnops_labels_total 3.0" in client.get("/metrics").text


@pytest.mark.parametrize("subject", ["prediction_id", "customer_id"])
def test_who_left_is_known_at_once(client: TestClient, customer: dict[str, Any], subject: str):
    prediction_id = predict(client, customer)
    before = now()
    subjects = {"prediction_id": prediction_id, "customer_id": "C-1"}
    client.post("/labels", json={subject: subjects[subject], "churned": True})
    found = outcome(client, prediction_id)
    assert found["churned"] is True
    assert before <= datetime.fromisoformat(found["known_at"]) <= now()


def test_who_stayed_is_not_known_before_the_horizon_has_passed(
    client: TestClient, api_settings: Settings, customer: dict[str, Any]
):
    prediction_id = predict(client, customer)
    client.post("/labels", json={"prediction_id": prediction_id, "churned": False})
    assert outcome(client, prediction_id) == {"churned": None, "known_at": None}
    age(api_settings, HORIZON - timedelta(hours=1))
    assert outcome(client, prediction_id)["churned"] is None
    age(api_settings, timedelta(hours=2))
    assert outcome(client, prediction_id)["churned"] is False


def test_who_left_after_the_horizon_had_stayed(client: TestClient, api_settings: Settings, customer: dict[str, Any]):
    prediction_id = predict(client, customer)
    age(api_settings, timedelta(days=40))
    client.post("/labels", json={"customer_id": "C-1", "churned": True})
    assert outcome(client, prediction_id)["churned"] is False


def test_an_outcome_before_the_prediction_does_not_count_for_it(client: TestClient, customer: dict[str, Any]):
    prediction_id = predict(client, customer)
    client.post("/labels", json={"customer_id": "C-1", "churned": True, "outcome_at": "2020-01-01"})
    assert outcome(client, prediction_id)["churned"] is None


def test_the_horizon_is_a_setting(make_settings, customer: dict[str, Any]):
    settings = make_settings(journal={"label_horizon": 1})
    with client_of(settings) as client:
        prediction_id = predict(client, customer)
        age(settings, timedelta(days=2))
        client.post("/labels", json={"prediction_id": prediction_id, "churned": False})
        assert outcome(client, prediction_id)["churned"] is False


def test_a_missing_label_never_counts_as_stayed(client: TestClient, api_settings: Settings, customer: dict[str, Any]):
    prediction_id = predict(client, customer)
    age(api_settings, timedelta(days=999))
    assert outcome(client, prediction_id) == {"churned": None, "known_at": None}


@pytest.mark.parametrize("subject", ["prediction_id", "customer_id"])
@pytest.mark.parametrize("churned", [True, False])
@pytest.mark.parametrize("at", [None, "2026-01-31T10:00:00Z"])
def test_repeating_a_label_changes_nothing(
    client: TestClient, api_settings: Settings, customer: dict[str, Any], subject: str, churned: bool, at: str | None
):
    value = predict(client, customer) if subject == "prediction_id" else "C-1"
    label = {subject: value, "churned": churned} | ({"outcome_at": at} if at else {})
    nobody = int(subject == "customer_id")
    assert client.post("/labels", json=label).json() == {"recorded": 1, "unchanged": 0, "unmatched": nobody}
    first = rows(api_settings)
    assert client.post("/labels", json=label).json() == {"recorded": 0, "unchanged": 1, "unmatched": nobody}
    assert client.post("/labels", json=[label] * 5).json() == {"recorded": 0, "unchanged": 5, "unmatched": 5 * nobody}
    assert rows(api_settings) == first


def test_a_correction_is_a_new_row_and_counts(client: TestClient, api_settings: Settings, customer: dict[str, Any]):
    prediction_id = predict(client, customer)
    for churned in (True, False, True):
        answer = client.post("/labels", json={"prediction_id": prediction_id, "churned": churned}).json()
        assert answer == {"recorded": 1, "unchanged": 0, "unmatched": 0}
        assert outcome(client, prediction_id)["churned"] is (True if churned else None)
    assert [(bool(row[2]), row[4]) for row in rows(api_settings)] == [(True, 1), (False, 2), (True, 3)]


def test_a_label_of_the_prediction_counts_before_one_of_the_customer(client: TestClient, customer: dict[str, Any]):
    labelled, other = predict(client, customer), predict(client, customer)
    client.post("/labels", json={"prediction_id": labelled, "churned": False})
    client.post("/labels", json={"customer_id": "C-1", "churned": True})
    assert outcome(client, labelled)["churned"] is None  # stayed, and the horizon has not passed
    assert outcome(client, other)["churned"] is True


def test_a_customer_may_be_labelled_who_is_not_known_yet(client: TestClient, customer: dict[str, Any]):
    """The outcome comes from another system, which may be faster; here it precedes the prediction."""
    assert client.post("/labels", json={"customer_id": "C-1", "churned": True}).json()["recorded"] == 1
    assert outcome(client, predict(client, customer))["churned"] is None


MOMENT = datetime(2026, 1, 31, 10, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-31T10:00:00Z", MOMENT),
        ("2026-01-31T10:00:00+00:00", MOMENT),
        ("2026-01-31T10:00:00", MOMENT),
        ("2026-01-31T12:30:00+02:30", MOMENT),
        ("2026-01-31 05:00:00-05:00", MOMENT),
        ("2026-01-31", MOMENT.replace(hour=0)),
        ("2026-01-31T10:00:00.123456Z", MOMENT.replace(microsecond=123456)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_kept_in_utc(client: TestClient, api_settings: Settings, text: str, expected: datetime):
    """Times without an offset are UTC."""
    label = {"customer_id": "C-1", "churned": True, "outcome_at": text}
    assert client.post("/labels", json=label).json()["recorded"] == 1
    assert rows(api_settings)[0][3] == (expected - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert client.post("/labels", json=label | {"outcome_at": expected.isoformat()}).json()["unchanged"] == 1


def test_clocks_may_differ_a_little(client: TestClient):
    for hours, status in ((23, 200), (25, 422)):
        at = (now() + timedelta(hours=hours)).astimezone(timezone(timedelta(hours=9))).isoformat()
        response = client.post("/labels", json={"customer_id": f"C-{hours}", "churned": True, "outcome_at": at})
        assert response.status_code == status


def test_one_bad_label_keeps_the_others_out(client: TestClient, api_settings: Settings, customer: dict[str, Any]):
    good = {"customer_id": "C-1", "churned": True}
    response = client.post("/labels", json=[good, {"churned": "yes"}, good])
    assert {error["row"] for error in assert_problem(response, 422)["errors"]} == {2}
    unknown = client.post("/labels", json=[good, {"prediction_id": "0" * 36, "churned": True}])
    assert assert_problem(unknown, 404)["detail"].startswith("row 2: ")
    assert rows(api_settings) == []


def test_ten_thousand_labels_at_once(client: TestClient):
    labels = [{"customer_id": f"C-{i}", "churned": i % 7 == 0} for i in range(10_000)]
    assert client.post("/labels", json=labels).json() == {"recorded": 10_000, "unchanged": 0, "unmatched": 10_000}
    assert client.post("/labels", json=labels).json() == {"recorded": 0, "unchanged": 10_000, "unmatched": 10_000}


def test_ids_are_kept_unchanged(client: TestClient, api_settings: Settings):
    ids = ["Zoë", "Zoe\u0308", "ZOË", " C-1 ", "C-1", "'; DROP TABLE labels; --", "\u202eC", "😀" * 128, "%", "\\"]
    answer = client.post("/labels", json=[{"customer_id": name, "churned": True} for name in ids]).json()
    assert answer == {"recorded": len(ids), "unchanged": 0, "unmatched": len(ids)}
    assert {row[1] for row in rows(api_settings)} == set(ids)


def test_labels_that_match_nobody_are_counted_and_kept(client: TestClient, customer: dict[str, Any]):
    """Otherwise a wrong column of ids would show only weeks later, when no outcome arrives."""
    predict(client, customer)
    labels = [{"customer_id": id_, "churned": True} for id_ in ("C-1", "c-1", "1", "C-1 ")]
    assert client.post("/labels", json=labels).json() == {"recorded": 4, "unchanged": 0, "unmatched": 3}
    assert "churnops_labels_unmatched_total 3.0" in client.get("/metrics").text
    predict(client, customer | {"customer_id": "c-1"})
    assert client.post("/labels", json=labels).json() == {"recorded": 0, "unchanged": 4, "unmatched": 2}


BLANK = ["", " ", "\t\n", "\u00a0", "\u200b", "\ufeff\u2060", "\x1f"]


@pytest.mark.parametrize("blank", BLANK)
def test_a_blank_id_is_no_id(client: TestClient, api_settings: Settings, customer: dict[str, Any], blank: str):
    """With a blank id, all customers without an id would be one, and a label would count for all of them."""
    for name in ("customer_id", "prediction_id"):
        (error,) = assert_problem(client.post("/labels", json=[{name: blank, "churned": True}]), 422)["errors"]
        assert (error["field"], error["row"]) == (name, 1)
        assert "visible" in error["message"]
    nameless = customer | {"customer_id": blank}
    line = json.dumps(nameless)
    for path, content, kind in (
        ("/predict", line, "application/json"),
        ("/predict/batch", f"[{line}]", "application/json"),
        ("/predict/probe", f"[{line}]", "application/json"),
        ("/predict/batch", line, "application/x-ndjson"),
        ("/predict/batch", parquet([nameless]), "application/vnd.apache.parquet"),
    ):
        answer = client.post(path, content=content, headers={"content-type": kind})
        (error,) = assert_problem(answer, 422)["errors"]
        assert error["field"] == "customer_id", (path, kind)
    assert (recorded(api_settings), rows(api_settings)) == (0, [])


def parquet(rows: list[dict[str, Any]]) -> bytes:
    file = io.BytesIO()
    pl.DataFrame(rows).write_parquet(file)
    return file.getvalue()


@pytest.mark.parametrize(("cell", "status"), [("", 200), ('""', 200), (" ", 422), ("\u200b", 422)])
def test_a_csv_without_an_id_has_an_empty_cell(
    client: TestClient, api_settings: Settings, customer: dict[str, Any], cell: str, status: int
):
    customer.pop("customer_id")
    values = ",".join(map(str, customer.values()))
    content = f"customer_id,{','.join(customer)}\n{cell},{values}\n{cell},{values}\n"
    answer = client.post("/predict/batch", content=content.encode(), headers={"content-type": "text/csv"})
    assert answer.status_code == status, answer.text
    engine = open_database(api_settings.database_url(api_settings.journal.url))
    with engine.connect() as connection:
        ids = connection.exec_driver_sql("SELECT customer_id FROM predictions").scalars().all()
    engine.dispose()
    assert ids == ([None, None] if status == 200 else [])


def test_equal_labels_from_many_clients_leave_one_row_each(client: TestClient, api_settings: Settings):
    labels = [{"customer_id": f"C-{i}", "churned": True, "outcome_at": "2026-01-31"} for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        orders = [labels if number % 2 else labels[::-1] for number in range(16)]
        answers = [response.json() for response in pool.map(lambda order: client.post("/labels", json=order), orders)]
    assert sum(answer["recorded"] for answer in answers) == 40
    assert sum(answer["unchanged"] for answer in answers) == 15 * 40
    assert sorted(row[1] for row in rows(api_settings)) == sorted(f"C-{i}" for i in range(40))


def test_labels_that_disagree_leave_revisions_without_gaps(client: TestClient, api_settings: Settings):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: client.post("/labels", json={"customer_id": "C", "churned": i % 2 == 0}), range(40)))
    found = rows(api_settings)
    assert [row[4] for row in found] == list(range(1, len(found) + 1))
    assert all(earlier[2] != later[2] for earlier, later in itertools.pairwise(found))


def test_labels_need_the_journal(client: TestClient, api_settings: Settings, customer: dict[str, Any]):
    prediction_id = predict(client, customer)
    engine = open_database(api_settings.database_url(api_settings.journal.url))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE labels")
    engine.dispose()
    for response in (
        client.post("/labels", json={"customer_id": "C-1", "churned": True}),
        client.get(f"/predictions/{prediction_id}"),
    ):
        assert "labels" not in assert_problem(response, 503)["detail"]
        assert response.headers["retry-after"]
