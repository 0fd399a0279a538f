"""No route repeats a submitted value in an error: it may be personal."""

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings
from tests.support.api import a_customer, client_of
from tests.support.projects import deployed

SECRET, NUMBER = "hunter2", 98765.4321
WRONG: tuple[Any, ...] = (SECRET, NUMBER, -NUMBER, [SECRET], {SECRET: SECRET}, [[SECRET]], SECRET * 1000, None)
IDENTIFIED = {"customer_id": "C-1", "at": "2026-01-05T00:00:00Z"}
BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "/predict": ("post", a_customer()),
    "/predict/batch": ("post", a_customer()),
    "/predict/probe": ("post", a_customer()),
    "/predict/what-if": ("post", a_customer()),
    "/labels": ("post", {**IDENTIFIED, "prediction_id": "p", "churned": True, "outcome_at": "2026-01-05T00:00:00Z"}),
    "/contacts": ("post", {**IDENTIFIED, "status": "kept", "call_list": 1, "note": "n", "offer": "o"}),
    "/features": ("post", a_customer(**IDENTIFIED)),
    "/call-lists": ("post", {"budget": 5.0, "contacts": 3, "where": {"state": ["OH"]}, "days": 3, "name": "Week 1"}),
    "/decision": (
        "put",
        {
            "reason": "spring",
            "threshold": 0.2,
            "budget": 5.0,
            "contacts": 3,
            "cost": 1.0,
            "value": 5.0,
            "success_rate": 0.5,
            "currency": "EUR",
        },
    ),
}
"""Path, method and a body with all fields of each route that reads JSON."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Iterator[TestClient]:
    with client_of(deployed(tmp_path_factory.mktemp("values"), project[0])) as client:
        yield client


def test_every_route_with_a_body_is_tried(client: TestClient):
    paths = client.get("/openapi.json").json()["paths"]
    assert {path for path, methods in paths.items() if any("requestBody" in one for one in methods.values())} == {
        *BODIES
    }


@pytest.mark.parametrize("path", BODIES)
def test_no_error_repeats_a_submitted_value(client: TestClient, path: str):
    method, body = BODIES[path]
    wrong = [body | {name: value} for name in body for value in WRONG]
    wrong += [{"where": {"state": value}} for value in WRONG] + [{**body, "unknown": SECRET}]
    refused = 0
    for sent in (*wrong, *([one] for one in wrong), SECRET, [SECRET]):
        answer = client.request(method, path, json=sent)
        refused += answer.status_code == 422
        if answer.status_code >= 400:
            assert not any(str(value) in answer.text for value in (SECRET, NUMBER)), (sent, answer.text)
    assert refused > len(wrong) / 2
