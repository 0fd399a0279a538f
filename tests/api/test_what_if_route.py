"""`POST /predict/what-if`: the smallest change by the present declaration, and no trace of the question."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from churnops.api.customers import CustomerForm
from churnops.model import Bundle
from churnops.settings import Settings
from tests.support.api import a_customer, assert_problem, client_of, recorded

ACTIONABLE = ("international_plan", "total_day_minutes", "customer_service_calls")
LEAVING = a_customer(total_day_minutes=320.0, voice_mail_plan="No", number_vmail_messages=0)


def score(bundle: Bundle, customer: dict[str, Any]) -> float:
    values = CustomerForm(bundle.schema).encode_one(CustomerForm(bundle.schema).read(customer))
    return float(bundle.predict({name: np.array([value]) for name, value in values.items()}).probability[0])


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    """The model is older than the declaration of actionable columns."""
    columns = make_settings().table.model_dump()["columns"]
    return make_settings(schema={"columns": [c | {"actionable": c["name"] in ACTIONABLE} for c in columns]})


def test_changes_bring_the_customer_below_and_nothing_is_recorded(settings: Settings, bundle: Bundle):
    with client_of(settings) as client:
        answer = client.post("/predict/what-if", json=LEAVING).json()
        counted = client.get("/metrics").text
    assert answer["churn_probability"] == score(bundle, LEAVING) >= answer["threshold"] == bundle.threshold
    assert answer["columns"] == list(ACTIONABLE)
    assert answer["below_threshold"]
    assert 1 <= len(answer["changes"]) <= 3
    assert {change["column"]: change["before"] for change in answer["changes"]}.items() <= LEAVING.items()
    changed = LEAVING | {change["column"]: change["after"] for change in answer["changes"]}
    assert answer["changed_probability"] == score(bundle, changed) < bundle.threshold
    assert recorded(settings) == 0
    assert "churnops_predictions_total{" not in counted


def test_without_actionable_columns_no_change_is_claimed(client: TestClient):
    answer = client.post("/predict/what-if", json=LEAVING).json()
    assert (answer["columns"], answer["changes"], answer["below_threshold"]) == ([], [], False)
    assert answer["changed_probability"] == answer["churn_probability"]


def test_a_customer_below_the_threshold_needs_no_change(settings: Settings):
    with client_of(settings) as client:
        answer = client.post("/predict/what-if", json=a_customer(total_day_minutes=150.0)).json()
        assert_problem(client.post("/predict/what-if", json=[LEAVING]), 422)
    assert (answer["below_threshold"], answer["changes"]) == (True, [])


def test_the_threshold_is_the_one_in_force(settings: Settings):
    with client_of(settings) as client:
        assert client.put("/decision", json={"threshold": 0.9, "reason": "spring offer"}).status_code == 200
        answer = client.post("/predict/what-if", json=LEAVING).json()
    assert answer["threshold"] == 0.9
    assert answer["below_threshold"] == (answer["changed_probability"] < 0.9)
