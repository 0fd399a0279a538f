"""The HTTP service in the test's own process: clients, keys, a customer and the form of errors."""

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from fastapi.testclient import TestClient

from churnops.api.main import create_app
from churnops.api.served import Served
from churnops.api.service import Service
from churnops.data.packing import unpack_profile
from churnops.data.profile import Profile, merge_profiles
from churnops.journal import open_database
from churnops.journal.key_record import KeyRecord
from churnops.journal.keys import KeyStore
from churnops.journal.profiles import ProfileStore
from churnops.settings import Settings

LOCAL = ("127.0.0.1", 50000)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
LABEL = {"customer_id": "C-1", "churned": True}
ELSEWHERE = ("10.0.0.9", 40000)


def client_of(settings: Settings, key: str | None = None) -> TestClient:
    headers = {"x-api-key": key} if key else {}
    return TestClient(create_app(settings), base_url="http://127.0.0.1", client=LOCAL, headers=headers)


def make_key(settings: Settings, *scopes: str, name: str = "tests") -> str:
    engine = open_database(settings.database_url(settings.journal.url))
    token = KeyStore(engine, KeyRecord(settings.path(settings.registry.directory))).add(name, scopes)
    engine.dispose()
    return token


def a_customer(**changes: Any) -> dict[str, Any]:
    customer: dict[str, Any] = json.loads(
        """{"customer_id": "C-1", "state": "KS", "account_length": 128, "area_code": "415", "international_plan": "No",
            "voice_mail_plan": "Yes", "number_vmail_messages": 25, "total_day_minutes": 265.1, "total_day_calls": 110,
            "total_day_charge": 45.07, "total_eve_minutes": 197.4, "total_eve_calls": 99, "total_eve_charge": 16.78,
            "total_night_minutes": 244.7, "total_night_calls": 91, "total_night_charge": 11.01,
            "total_intl_minutes": 10.0, "total_intl_calls": 3, "total_intl_charge": 2.7, "customer_service_calls": 1}"""
    )
    return customer | changes


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    """Check that an answer is a small error document of RFC 9457, and return it."""
    assert response.status_code == status, response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    assert len(response.content) < 4096
    problem: dict[str, Any] = response.json()
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail", "request_id"}
    assert problem["type"].startswith("urn:churnops:problem:")
    assert problem["status"] == status
    assert problem["title"] == HTTPStatus(status).phrase
    assert problem["request_id"] == response.headers["x-request-id"]
    for error in problem.get("errors", []):
        assert error["rule"]
        assert error["message"]
    return problem


def recorded(settings: Settings) -> int:
    """Return the number of predictions in the journal."""
    engine = open_database(settings.database_url(settings.journal.url))
    with engine.connect() as connection:
        count = connection.exec_driver_sql("SELECT count(*) FROM predictions").scalar()
    engine.dispose()
    return int(count or 0)


# Every path of the service: method, path, required scope, and the body of a valid request.
PATHS: list[tuple[str, str, str | None, Any]] = [
    ("POST", "/predict", "predict", a_customer()),
    ("POST", "/predict/batch", "predict", [a_customer()]),
    ("POST", "/predict/probe", "admin", [a_customer()]),
    ("POST", "/predict/what-if", "predict", a_customer()),
    ("POST", "/features", "features", [a_customer()]),
    ("GET", "/predictions/{prediction_id}", "predict", None),
    ("GET", "/model", "predict", None),
    ("POST", "/labels", "label", LABEL),
    ("POST", "/call-lists", "predict", {"contacts": 1}),
    ("GET", "/call-lists", "predict", None),
    ("GET", "/call-lists/{id}", "predict", None),
    ("POST", "/contacts", "label", {"customer_id": "C-1", "status": "kept"}),
    ("POST", "/model/reload", "admin", None),
    ("GET", "/experiments/shadow", "predict", None),
    ("GET", "/decision", "predict", None),
    ("PUT", "/decision", "admin", {"threshold": 0.3, "reason": "fewer calls"}),
    ("GET", "/health/live", None, None),
    ("GET", "/health/ready", None, None),
    ("GET", "/metrics", "metrics", None),
    ("GET", "/", None, None),
]


ANSWERED = {("POST", "/call-lists"): 409, ("GET", "/call-lists/{id}"): 404, ("GET", "/experiments/shadow"): 404}
"""Status of a valid request with a valid key, if it is not 200: there are no scores, lists and experiments yet."""


def from_elsewhere(settings: Settings, client: tuple[str, int] = ELSEWHERE, host: str = "127.0.0.1") -> TestClient:
    return TestClient(create_app(settings), base_url=f"http://{host}", client=client)


def service_of(client: TestClient) -> Service:
    return client.app.state.service  # type: ignore[attr-defined, no-any-return]


def stored(settings: Settings, served: Served) -> Profile:
    """Return a model's profile in the database, merged."""
    engine = open_database(settings.database_url(settings.journal.url))
    store, model, reference = ProfileStore(engine), served.bundle.content_sha256, served.bundle.reference
    total: Profile = {name: column.empty() for name, column in reference.items()}
    for part in store.written(model, LONG_AGO):
        for data in store.read(model, part):
            total = merge_profiles(total, unpack_profile(data, reference))
    engine.dispose()
    return total
