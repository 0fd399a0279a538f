"""`/call-lists` and `/contacts`: whom to contact, and what became of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient

from churnops.decision.in_force import set_policy
from churnops.decision.policy import DecisionPolicy
from churnops.journal import newest_scores
from churnops.journal.newest_scores import follow_predictions
from churnops.journal.policies import PolicyLog
from churnops.project import Project
from churnops.settings import Settings
from tests.support.api import a_customer, assert_problem, client_of, make_key

POLICY = DecisionPolicy(contacts=3, cost=10.0, value=200.0, success_rate=0.5, currency="EUR")


@pytest.fixture
def scored(client: TestClient, api_settings: Settings) -> TestClient:
    """A service with a policy and the scores of ten customers, the last ones at the highest risk."""
    customers = [
        a_customer(customer_id=f"C-{n}", customer_service_calls=n, international_plan="Yes" if n % 2 else "No")
        for n in range(10)
    ]
    assert client.post("/predict/batch", json=customers).status_code == 200
    with Project.open(api_settings) as project:
        set_policy(PolicyLog(project.engine), POLICY, by="ann", reason="test")
        while follow_predictions(project.engine, None, datetime.now(UTC) + timedelta(minutes=1)):
            pass
    return client


def make(client: TestClient, **request: Any) -> dict[str, Any]:
    answer = client.post("/call-lists", json=request)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_list_has_the_most_profitable_customers_with_reasons(scored: TestClient):
    made = make(scored)
    assert made["head"] | {"until": None} == scored.get("/call-lists").json()["call_lists"][0]["head"] | {"until": None}
    assert (made["head"]["customers"], made["head"]["scored"], made["head"]["ended_by"]) == (3, 10, "limit")
    assert made["head"]["cost"] == 30.0
    profit = made["head"]["profit"]
    assert profit["low"] <= profit["expected"] <= profit["high"]
    whole = scored.get(f"/call-lists/{made['id']}").json()
    rows = whole.pop("customers")
    assert whole == made
    chances = [row["churn_probability"] for row in rows]
    assert chances == sorted(chances, reverse=True)
    assert [row["expected_profit"] for row in rows] == [pytest.approx(0.5 * 200 * chance - 10) for chance in chances]
    assert {row["status"] for row in rows} == {"to do"}
    assert all(1 <= len(row["reasons"]) <= 3 for row in rows)
    assert scored.get(f"/call-lists/{made['id']}?after=2").json()["customers"] == rows[2:]


def test_contacts_change_the_status_and_leave_customers_out(scored: TestClient):
    made = make(scored, contacts=2, name="Week 1")
    ids = [row["customer_id"] for row in scored.get(f"/call-lists/{made['id']}").json()["customers"]]
    sent = [{"customer_id": ids[0], "status": "kept", "call_list": made["id"], "note": "=1+1 <b>"}]
    assert scored.post("/contacts", json=sent).json() == {"recorded": 1}
    assert scored.post("/contacts", json={"customer_id": ids[1], "status": "declined"}).json() == {"recorded": 1}
    row = scored.get(f"/call-lists/{made['id']}").json()["customers"][0]
    assert (row["status"], row["note"]) == ("kept", "=1+1 <b>")
    second = make(scored, contacts=10, name="Week 2")
    assert second["head"]["left_out"] == {"contacted": 2}
    assert second["head"]["customers"] + 2 <= 10
    everybody = make(scored, contacts=10, days=0, name="All")
    assert "left_out" not in everybody["head"] or everybody["head"]["left_out"] == {}


def test_the_first_list_reads_the_scores(client: TestClient, api_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(newest_scores, "SETTLED", timedelta(0))
    assert client.post("/predict/batch", json=[a_customer(customer_id="C-1")]).status_code == 200
    with Project.open(api_settings) as project:
        assert newest_scores.newest_state(project.engine).customers == 0
    assert make(client, contacts=1)["head"]["scored"] == 1


def test_a_kept_list_shows_what_was_computed_when_it_was_made(scored: TestClient, api_settings: Settings):
    made = make(scored)
    before = scored.get(f"/call-lists/{made['id']}").json()
    assert all(row["reasons"] for row in before["customers"])
    with Project.open(api_settings) as project, project.engine.begin() as connection:
        set_policy(project.policies, DecisionPolicy(threshold=0.9), by="ann", reason="other")
        for table in ("predictions", "newest_scores"):
            connection.exec_driver_sql(f"DELETE FROM {table}")
    assert scored.get(f"/call-lists/{made['id']}").json() == before


def test_the_same_request_gives_the_same_list(scored: TestClient):
    assert make(scored, contacts=2) == make(scored, contacts=2)
    assert make(scored, contacts=3)["name"] != make(scored, contacts=2)["name"]
    make(scored, contacts=2, name="Week 1")
    assert_problem(scored.post("/call-lists", json={"contacts": 3, "name": "Week 1"}), 409)


def test_a_list_may_have_one_segment_only(scored: TestClient):
    made = make(scored, contacts=10, days=0, where={"International plan": ["Yes"]})
    rows = scored.get(f"/call-lists/{made['id']}").json()["customers"]
    assert rows
    assert {int(row["customer_id"][2:]) % 2 for row in rows} == {1}


def test_what_is_wrong_is_named(scored: TestClient):
    problem = assert_problem(scored.post("/call-lists", json={"contacts": 0}), 422)
    assert problem["errors"][0]["field"] == "contacts"
    assert assert_problem(scored.post("/call-lists", json={"contact": 1}), 422)["errors"][0]["message"].endswith(
        "did you mean 'contacts'?"
    )
    text = assert_problem(scored.post("/call-lists", json={"where": {"state": "OH"}}), 422)["detail"]
    assert text == "where: must be a list"
    wrong = {"where": {"state": ["Ohio"]}}
    assert "has no such level" in assert_problem(scored.post("/call-lists", json=wrong), 409)["detail"]
    both = {"contacts": 5, "budget": 50.0}
    assert "not both" in assert_problem(scored.post("/call-lists", json=both), 409)["detail"]
    for path in ("/call-lists/77", "/call-lists/x", "/call-lists/1?after=-1"):
        assert_problem(scored.get(path), 404)
    assert_problem(scored.post("/contacts", json={"customer_id": "C-1", "status": "called"}), 422)
    unknown = {"customer_id": "C-1", "status": "kept", "call_list": 5}
    assert "no call list 5" in assert_problem(scored.post("/contacts", json=unknown), 404)["detail"]


def test_without_scores_the_answer_names_the_next_step(client: TestClient):
    assert "cannot list" in assert_problem(client.post("/call-lists", json={"contacts": 1}), 409)["detail"]


def test_lists_need_the_scope_predict_and_contacts_the_scope_label(api_settings: Settings):
    keys = {scope: make_key(api_settings, scope, name=scope) for scope in ("predict", "label")}
    with client_of(api_settings) as client:
        contact = {"customer_id": "C-1", "status": "kept"}
        for scope, key in keys.items():
            headers = {"x-api-key": key}
            assert (client.get("/call-lists", headers=headers).status_code == 200) == (scope == "predict")
            assert (client.post("/call-lists", json={}, headers=headers).status_code == 409) == (scope == "predict")
            sent = client.post("/contacts", json=contact, headers=headers)
            assert (sent.status_code == 200) == (scope == "label")
