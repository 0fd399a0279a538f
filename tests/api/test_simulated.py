"""Simulated customers are refused, except in a demonstration, which is marked."""

import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from churnops.schema import SIMULATED
from churnops.settings import DEMONSTRATION, Settings
from tests.support.api import a_customer, assert_problem, client_of, recorded
from tests.support.serving import recorded_rows
from tests.support.uploads import CSV, KINDS, send, to_file


def marked(name: str = SIMULATED, value: Any = True) -> dict[str, Any]:
    return a_customer() | {name: value}


@pytest.fixture
def demonstration(make_settings: Callable[..., Settings]) -> Settings:
    settings = make_settings()
    shown = settings.model_copy(update={"demonstration": True})
    shown._root = settings.root
    return shown


@pytest.mark.parametrize("name", [SIMULATED, "Churnops Simulated", f" {SIMULATED}"])
@pytest.mark.parametrize("value", [True, False, None])
def test_a_simulated_customer_is_refused(client: TestClient, api_settings: Settings, name: str, value: Any):
    for path, body in (("/predict", marked(name, value)), ("/predict/batch", [marked(name, value)])):
        problem = assert_problem(client.post(path, json=body), 422)
        assert "the customer is simulated" in problem["detail"]
    assert recorded(api_settings) == 0


@KINDS
def test_a_simulated_file_is_refused_whole(client: TestClient, api_settings: Settings, kind: str):
    rows = [marked() for _ in range(3)]
    problem = assert_problem(send(client, kind, to_file(kind, rows)), 422)
    assert "the customer is simulated" in problem["detail"]
    assert recorded(api_settings) == 0


@KINDS
def test_a_demonstration_answers_simulated_customers(demonstration: Settings, kind: str):
    with client_of(demonstration) as client:
        assert client.post("/predict", json=marked()).status_code == 200
        assert send(client, kind, to_file(kind, [marked()])).status_code == 200
    assert recorded(demonstration) == 2


def test_a_demonstration_is_marked_as_such(demonstration: Settings, client: TestClient):
    assert "demonstration" not in client.get("/").json()
    assert DEMONSTRATION not in client.get("/docs").text
    with client_of(demonstration) as shown:
        assert shown.get("/").json()["demonstration"] == DEMONSTRATION
        assert DEMONSTRATION in shown.get("/docs").text
        assert shown.get("/health/ready").json()["warnings"] == [DEMONSTRATION]


def test_the_mark_is_not_recorded(demonstration: Settings):
    with client_of(demonstration) as client:
        client.post("/predict", json=marked())
        send(client, CSV, to_file(CSV, [marked()]))
    with sqlite3.connect(demonstration.root / "journal.db") as connection:
        inputs = [row[-1] for row in recorded_rows(connection)]
    assert len(inputs) == 2
    assert not any(SIMULATED in given for given in inputs)
