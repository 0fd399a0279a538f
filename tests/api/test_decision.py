"""The decision policy in the service: read, set, followed, and in each answer."""

import json
from concurrent.futures import wait
from threading import Event
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from churnops.api import service as services
from churnops.api.service import Service
from churnops.decision.in_force import newest_policy, set_policy
from churnops.decision.policy import DecisionPolicy
from churnops.project import Project
from churnops.settings import Settings
from tests.support.api import a_customer, assert_problem, client_of, make_key, service_of
from tests.support.processes import PATIENCE, wait_for

LOW = {"threshold": 1e-9, "reason": "call everybody"}


def test_without_a_policy_the_models_threshold_counts(client: TestClient, bundle):
    answer = client.get("/decision").json()
    assert (answer["version"], answer["threshold"], answer["at"]) == (0, None, None)
    assert answer["threshold_in_force"] == answer["own_threshold"] == bundle.threshold
    assert "decision_version" not in client.get("/model").json()


def test_a_policy_is_in_force_for_every_form_of_answer(client: TestClient, customer: dict[str, Any]):
    before = client.post("/predict", json=customer).json()
    assert not before["churn_prediction"]
    answer = client.put("/decision", json=LOW).json()
    assert (answer["version"], answer["threshold_in_force"], answer["reason"]) == (1, 1e-9, "call everybody")
    assert client.put("/decision", json=LOW).json() == answer  # sent again
    after = client.post("/predict", json=customer).json()
    assert after["churn_prediction"]
    assert after["decision_version"] == 1
    assert all(after[name] == before[name] for name in ("churn_probability", "model_version"))
    batch = client.post("/predict/batch", json=[customer, customer]).json()
    assert [(one["churn_prediction"], one["decision_version"]) for one in batch] == [(True, 1)] * 2
    csv = pl.DataFrame([customer]).write_csv()
    text = client.post("/predict/batch", content=csv, headers={"Content-Type": "text/csv"}).text
    row = pl.read_csv(text.encode()).row(0, named=True)
    assert (row["churn_prediction"], row["decision_version"]) == (True, 1)
    model = client.get("/model").json()
    assert (model["threshold"], model["decision_version"]) == (1e-9, 1)
    recorded = client.get(f"/predictions/{after['prediction_id']}").json()
    assert recorded["churn_prediction"]


def test_other_processes_are_followed_and_a_new_model_keeps_it(
    api_settings: Settings, customer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(services, "POLICY_SECONDS", 0.05)
    with client_of(api_settings) as client, Project.open(api_settings) as project:
        set_policy(project.policies, DecisionPolicy(threshold=1e-9), by="ann", reason="elsewhere")
        wait_for("it is followed", lambda: "decision_version" in client.post("/predict", json=customer).json())
        client.post("/model/reload")
        assert client.post("/predict", json=customer).json()["churn_prediction"]
    with client_of(api_settings) as client:  # from the first request on
        assert client.get("/decision").json()["by"] == "ann"
        assert client.post("/predict", json=customer).json()["decision_version"] == 1


@pytest.mark.usefixtures("quiet")
def test_a_slow_look_does_not_bring_an_older_policy_back(api_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    read, begun, hang = Service._read_policy, Event(), Event()

    def slow(service: Service) -> DecisionPolicy | None:
        policy = read(service)
        if not begun.is_set():
            begun.set()
            assert hang.wait(PATIENCE)
        return policy

    with client_of(api_settings) as client, Project.open(api_settings) as project:
        monkeypatch.setattr(Service, "_read_policy", slow)
        assert client.portal is not None
        looks = [client.portal.start_task_soon(service_of(client).refresh_policy)]
        assert begun.wait(PATIENCE)
        set_policy(project.policies, DecisionPolicy(threshold=1e-9), by="ann", reason="meanwhile")
        looks.append(client.portal.start_task_soon(service_of(client).refresh_policy))
        wait(looks[1:], timeout=0.5)
        hang.set()
        for look in looks:
            look.result()
        assert client.get("/decision").json()["version"] == 1


def test_no_name_or_reason_keeps_a_policy_from_being_read(client: TestClient, api_settings: Settings):
    answer = client.put("/decision", json=LOW | {"reason": "spring\u0000 \u202eoffer\x1b"}).json()
    assert answer["reason"] == "spring offer"
    with Project.open(api_settings) as project:
        set_policy(project.policies, DecisionPolicy(threshold=0.2), by="ann\x00\u202e\n" + "n" * 300, reason="x")
        assert newest_policy(project.policies).by.startswith("ann nnn")
        project.policies.add({"threshold": 0.3}, "bob\x00", "from an earlier version of churnops")
        assert newest_policy(project.policies).by == project.policy().by == "bob"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"threshold": 0.3}, "needs a reason"),
        ({"threshold": 2, "reason": "x"}, "threshold"),
        ({"value": "plan", "reason": "x"}, "not a number column"),
        ({"version": 3, "reason": "x"}, "leave out version"),
        ([1], "JSON object"),
    ],
)
def test_a_wrong_policy_changes_nothing(client: TestClient, body: Any, message: str):
    response = client.put("/decision", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert message in assert_problem(response, 422)["detail"]
    assert client.get("/decision").json()["version"] == 0


def test_setting_needs_an_admin_key_and_records_its_name(api_settings: Settings):
    tokens = {scope: make_key(api_settings, scope, name=f"{scope} key") for scope in ("predict", "admin")}
    with client_of(api_settings) as client:
        for scope, status in (("predict", 403), ("admin", 200)):
            response = client.put("/decision", json=LOW, headers={"X-API-Key": tokens[scope]})
            assert response.status_code == status
        answer = client.get("/decision", headers={"X-API-Key": tokens["predict"]}).json()
        assert answer["by"] == "admin key"
        headers = {"X-API-Key": tokens["predict"]}
        assert client.post("/predict", json=a_customer(), headers=headers).json()["decision_version"] == 1
