"""`POST /predict/probe`: the answers of `/predict/batch`, without a trace."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from churnops.api.customers import CustomerForm
from churnops.api.documents import MAX_PROBES
from churnops.api.service import Service
from churnops.model import Bundle
from churnops.model.reference import SCORE
from churnops.settings import Settings
from tests.support.api import a_customer, assert_problem, client_of, make_key, recorded, service_of, stored

CUSTOMERS = [a_customer(customer_id=f"C-{i}", total_day_minutes=float(i)) for i in range(MAX_PROBES)]


def without_ids(answers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in item.items() if name != "prediction_id"} for item in answers]


@pytest.mark.parametrize("customers", [CUSTOMERS[:1], CUSTOMERS], ids=["one", "as-many-as-allowed"])
def test_a_probe_answers_like_a_batch_without_prediction_ids(client: TestClient, customers: list[dict[str, Any]]):
    response = client.post("/predict/probe", json=customers)
    assert response.status_code == 200
    assert response.json() == without_ids(client.post("/predict/batch", json=customers).json())


def test_the_probe_rows_of_the_bundle_are_answered_with_its_own_bits(client: TestClient, bundle: Bundle):
    form = CustomerForm(bundle.schema)
    rows = [form.example(bundle.probes, row) for row in range(len(next(iter(bundle.probes.values()))))]
    answers = client.post("/predict/probe", json=rows).json()
    assert [answer["churn_probability"] for answer in answers] == bundle.predict(bundle.probes).probability.tolist()
    assert {answer["model_version"] for answer in answers} == {bundle.version_name}


def test_a_long_body_is_computed_beside_the_event_loop(client: TestClient):
    """A long id and spaces make a long body with the same answers."""
    padded = b" " * 70_000
    body = client.build_request("POST", "/predict/probe", json=CUSTOMERS).content
    headers = {"content-type": "application/json"}
    answers = [client.post("/predict/probe", content=c, headers=headers).json() for c in (body, body + padded)]
    assert answers[0] == answers[1]
    assert len(answers[0]) == MAX_PROBES


def test_nothing_is_recorded_and_nothing_counted(api_settings: Settings):
    with client_of(api_settings) as client:
        for _ in range(3):
            assert client.post("/predict/probe", json=CUSTOMERS).status_code == 200
        client.post("/predict", json=CUSTOMERS[0])
        metrics = client.get("/metrics").text
        counted = [line for line in metrics.splitlines() if line.startswith("churnops_predictions_total{")]
        assert sum(float(line.rpartition(" ")[2]) for line in counted) == 1
        assert 'churnops_http_request_seconds_count{method="POST",route="/predict/probe",status="200"} 3.0' in metrics
        served = service_of(client).model.require()
    assert recorded(api_settings) == 1
    assert stored(api_settings, served)[SCORE].rows == 1


def test_a_probe_is_answered_while_the_journal_cannot_be_written(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
):
    with client_of(make_settings()) as client:
        service: Service = service_of(client)
        monkeypatch.setattr(service.recorder, "record", None)  # would fail if it were called
        assert client.post("/predict/probe", json=CUSTOMERS).status_code == 200
        assert_problem(client.post("/predict/batch", json=CUSTOMERS), 500)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 422),
        ({}, 422),
        (a_customer(), 422),
        ([a_customer()] * (MAX_PROBES + 1), 413),
        ([a_customer(total_day_minutes="much")], 422),
        ([a_customer(), 3], 422),
        (np.pi, 422),
    ],
    ids=["none", "no-list", "one", "too-many", "not-a-number", "no-customer", "number"],
)
def test_any_body_but_a_short_list_of_customers_is_refused(client: TestClient, body: Any, status: int):
    assert_problem(client.post("/predict/probe", json=body), status)


def test_a_file_is_refused(client: TestClient):
    response = client.post("/predict/probe", content=b"State\nKS\n", headers={"content-type": "text/csv"})
    assert_problem(response, 415)


def test_without_a_model_there_is_no_answer(api_settings: Settings):
    api_settings.path("models/production").unlink()
    with client_of(api_settings) as client:
        assert_problem(client.post("/predict/probe", json=CUSTOMERS), 503)


def test_a_probe_needs_an_admin_key(api_settings: Settings):
    allowed, refused = make_key(api_settings, "admin", name="ops"), make_key(api_settings, "predict", "label")
    with client_of(api_settings) as client:
        assert client.post("/predict/probe", json=CUSTOMERS, headers={"x-api-key": allowed}).status_code == 200
        assert_problem(client.post("/predict/probe", json=CUSTOMERS, headers={"x-api-key": refused}), 403)
