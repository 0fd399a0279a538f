"""Web pages of other origins: allowed by `api.cors_origins` only, for every path and for errors too."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from churnops.errors import SettingsError
from churnops.settings import Settings, load_settings
from tests.support.api import assert_problem, client_of, make_key
from tests.support.projects import write_project

PAGE, OTHER = "https://crm.example.org", "https://evil.example.org"
ALLOWED = "access-control-allow-origin"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(api={"cors_origins": [PAGE, "http://localhost:3000"]})


def preflight(client: TestClient, path: str, origin: str = PAGE, **headers: str) -> Any:
    asked = {"origin": origin, "access-control-request-method": "POST"}
    asked["access-control-request-headers"] = "content-type, x-api-key"
    return client.options(path, headers=asked | {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/labels"])
def test_a_page_of_an_allowed_origin_sends_and_reads(settings: Settings, path: str, customer: dict[str, Any]):
    key = make_key(settings, "admin")
    with client_of(settings) as client:
        asked = preflight(client, path)
        assert asked.status_code == 200
        assert asked.headers[ALLOWED] == PAGE
        assert asked.headers["x-request-id"]
        assert {"X-API-Key", "Authorization"} <= set(asked.headers["access-control-allow-headers"].split(", "))
        assert asked.headers["access-control-allow-methods"] == "GET, POST"
        assert "access-control-allow-credentials" not in asked.headers
        label = {"customer_id": "C-1", "churned": True}
        body = {"/predict": customer, "/predict/batch": [customer], "/labels": label}[path]
        answer = client.post(path, json=body, headers={"origin": PAGE, "x-api-key": key})
        assert (answer.status_code, answer.headers[ALLOWED]) == (200, PAGE)
        assert "X-Request-ID" in answer.headers["access-control-expose-headers"]
        refused = client.post(path, json=body, headers={"origin": PAGE})
        assert_problem(refused, 401)
        assert refused.headers[ALLOWED] == PAGE
        assert 'route="(preflight)"' in client.get("/metrics", headers={"x-api-key": key}).text


def test_a_page_needs_a_key_even_if_none_was_made(settings: Settings, customer: dict[str, Any]):
    with client_of(settings) as client:
        assert client.post("/predict", json=customer).status_code == 200
        assert_problem(client.post("/predict", json=customer, headers={"origin": PAGE}), 401)


def test_another_origin_is_refused(settings: Settings, customer: dict[str, Any]):
    key = make_key(settings, "predict")
    with client_of(settings) as client:
        for origin in (OTHER, f"{PAGE}:8443", "http://crm.example.org", f"{PAGE}.evil.org", "null"):
            asked = preflight(client, "/predict", origin)
            assert "api.cors_origins" in assert_problem(asked, 403)["detail"]
            answer = client.post("/predict", json=customer, headers={"origin": origin, "x-api-key": key})
            assert ALLOWED not in {*asked.headers, *answer.headers}


def test_another_method_or_header_is_refused(settings: Settings):
    with client_of(settings) as client:
        assert_problem(preflight(client, "/predict", access_control_request_method="DELETE"), 403)
        assert_problem(preflight(client, "/predict", access_control_request_headers="cookie"), 403)


def test_no_origin_is_allowed_by_default(client: TestClient, customer: dict[str, Any]):
    asked = preflight(client, "/predict")
    answer = client.post("/predict", json=customer, headers={"origin": "http://localhost:3000"})
    assert (asked.status_code, answer.status_code) == (405, 200)
    assert not [name for name in (*asked.headers, *answer.headers) if name.startswith("access-control")]


def test_options_without_a_preflight_is_answered_as_before(settings: Settings):
    with client_of(settings) as client:
        assert_problem(client.options("/predict"), 405)
        assert_problem(client.options("/labels", headers={"origin": PAGE}), 405)


@pytest.mark.parametrize("origin", ["*", "crm.example.org", f"{PAGE}/", f"{PAGE}:443", "https://*.example.org", "null"])
def test_an_origin_that_no_browser_sends_is_refused_by_the_settings(tmp_path, origin: str):
    def change(document: dict[str, Any]) -> None:
        document["api"]["cors_origins"] = [origin]

    with pytest.raises(SettingsError, match=r"api\.cors_origins.*an origin such as https://crm\.example\.org"):
        load_settings(write_project(tmp_path, change))
