"""Access: keys by scope, this machine while there is no key, rate limits, and secrets that stay secret."""

import json
import logging
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from churnops.api import routes, security, service
from churnops.api.metrics import Metrics
from churnops.api.security import Access
from churnops.api.split import SplitAnswers
from churnops.journal import keys as keys_module
from churnops.journal.database import open_database
from churnops.journal.keys import SCOPES, KeyStore
from churnops.settings import Settings
from tests.support.api import (
    ANSWERED,
    LABEL,
    LOCAL,
    PATHS,
    a_customer,
    assert_problem,
    client_of,
    from_elsewhere,
    make_key,
)
from tests.support.clocks import Clock
from tests.support.processes import wait_for

CLOSED = [pytest.param(*path, id=path[1]) for path in PATHS if path[2]]


def test_the_table_has_every_path(client: TestClient):
    documented = {
        (m.upper(), p) for p, operations in client.get("/openapi.json").json()["paths"].items() for m in operations
    }
    assert documented == {(method, path) for method, path, _, _ in PATHS}


def ask(client: TestClient, method: str, path: str, body: Any, key: str | None, prediction_id: str = "0" * 36) -> Any:
    headers = {"x-api-key": key} if key is not None else {}
    return client.request(method, path.format(prediction_id=prediction_id, id=1), json=body, headers=headers)


@pytest.mark.parametrize(("method", "path", "needed", "body"), PATHS, ids=[path for _, path, _, _ in PATHS])
def test_each_path_takes_the_keys_with_its_scope(
    api_settings: Settings, method: str, path: str, needed: str | None, body: Any
):
    tokens = {scope: make_key(api_settings, scope, name=scope) for scope in SCOPES}
    tokens["both"] = make_key(api_settings, "predict", "label", name="both")
    with client_of(api_settings) as client:
        known = client.post("/predict", json=a_customer(), headers={"x-api-key": tokens["predict"]}).json()
        for scope, token in tokens.items():
            response = ask(client, method, path, body, token, known["prediction_id"])
            if needed in (None, scope) or scope == "admin" or (scope == "both" and needed in ("predict", "label")):
                assert response.status_code == ANSWERED.get((method, path), 200), (scope, response.text)
            else:
                assert f"'{needed}'" in assert_problem(response, 403)["detail"]


@pytest.mark.parametrize(("method", "path", "needed", "body"), CLOSED)
def test_without_a_valid_key_each_path_is_closed(
    api_settings: Settings, method: str, path: str, needed: str, body: Any
):
    token = make_key(api_settings, "admin")
    key_id = token.split("_")[1]
    wrong = [
        None,
        "",
        "x",
        " ",
        token[:-1],
        token + "x",
        token.upper(),
        f" {token[1:]}",
        f"churnops_{key_id}_",
        "_" * 50,
        "é",
        f"churnops_{key_id}_{'A' * 43}",
        key_id,
        "a" * 100_000,
        "' OR 1=1 --",
        f"Bearer {token}",
    ]
    with client_of(api_settings) as client:
        for key in wrong:
            headers = {} if key is None else {"x-api-key": key.encode("latin-1")}
            response = client.request(method, path.format(prediction_id="x", id=1), json=body, headers=headers)
            assert_problem(response, 401)
            assert response.headers["www-authenticate"] == "ApiKey, Bearer"
            assert not key or len(key) < 5 or key not in response.text


def test_a_key_in_the_address_or_a_cookie_is_no_key(api_settings: Settings, customer: dict[str, Any]):
    """An address is written into logs."""
    token = make_key(api_settings, "admin")
    with client_of(api_settings) as client:
        assert_problem(client.post(f"/predict?x-api-key={token}&api_key={token}", json=customer), 401)
        headers = {"cookie": f"x-api-key={token}", "authorization": f"Basic {token}"}
        assert_problem(client.post("/predict", json=customer, headers=headers), 401)


def test_a_key_may_come_as_a_bearer_token(api_settings: Settings, customer: dict[str, Any]):
    """Prometheus before 2.55, and many clients, cannot send a header of their own."""
    token, metrics = make_key(api_settings, "predict"), make_key(api_settings, "metrics", name="prometheus")
    with client_of(api_settings) as client:
        for given, status in (
            (f"Bearer {token}", 200),
            (f"bearer  {token} ", 200),
            (token, 401),
            (f"Basic {token}", 401),
            (f"Bearer {token}x", 401),
            (f"Bearer {token} {token}", 401),
            ("Bearer", 401),
            ("Bearer ", 401),
            (f"Bearer {metrics}", 403),
        ):
            answer = client.post("/predict", json=customer, headers={"authorization": given})
            assert answer.status_code == status, given
        assert client.get("/metrics", headers={"authorization": f"Bearer {metrics}"}).status_code == 200


def test_two_keys_are_refused(api_settings: Settings, customer: dict[str, Any]):
    """A proxy may have checked the other key."""
    token, other = make_key(api_settings, "predict"), make_key(api_settings, "admin", name="other")
    with client_of(api_settings) as client:
        for headers in (
            [("x-api-key", token), ("x-api-key", other)],
            [("x-api-key", token), ("X-API-Key", token)],
            [("x-api-key", ""), ("x-api-key", token)],
            [("x-api-key", token), ("authorization", f"Bearer {token}")],
            [("x-api-key", ""), ("authorization", f"Bearer {token}")],
            [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {other}")],
            [("x-api-key", token), ("host", "localhost"), ("host", "localhost")],
            [("x-api-key", token), ("origin", "http://localhost"), ("origin", "https://evil.com")],
            [("x-api-key", token), ("content-type", "application/json"), ("content-type", "text/csv")],
        ):
            for path, body in (("/predict", customer), ("/predict/batch", [customer])):
                assert_problem(client.post(path, json=body, headers=headers), 400)
        basic = {"x-api-key": token, "authorization": "Basic dXNlcjpwYXNzd29yZA=="}  # a proxy's
        assert client.post("/predict", json=customer, headers=basic).status_code == 200
        several = [("x-api-key", token), ("accept", "a/b"), ("accept", "*/*"), ("via", "1"), ("via", "2")]
        assert client.post("/predict", json=customer, headers=several).status_code == 200


def test_predictions_and_labels_record_the_key_that_wrote_them(api_settings: Settings):
    one, other = (make_key(api_settings, "predict", "label", name=name) for name in ("one", "other"))
    csv = ",".join(a_customer()) + "\n" + ",".join(map(str, a_customer().values()))
    ndjson = json.dumps(a_customer())
    with client_of(api_settings) as client:
        for key in (one, other):
            ask(client, "POST", "/predict", a_customer(), key)
            ask(client, "POST", "/predict/batch", [a_customer()] * 2, key)
            for kind, content in (("text/csv", csv), ("application/x-ndjson", ndjson)):
                headers = {"content-type": kind, "x-api-key": key}
                client.post("/predict/batch", content=content, headers=headers).raise_for_status()
            ask(client, "POST", "/labels", {"customer_id": key[-3:], "churned": True}, key)
        prediction_id = ask(client, "POST", "/predict", a_customer(), one).json()["prediction_id"]
        shown = ask(client, "GET", "/predictions/{prediction_id}", None, one, prediction_id).text
    ids = [token.split("_")[1] for token in (one, other)]
    assert not [part for part in (*ids, one, other) if part in shown]
    engine = open_database(api_settings.database_url(api_settings.journal.url))
    with engine.connect() as connection:
        for table, counts in (("predictions", [6, 5]), ("labels", [1, 1])):
            query = f"SELECT key, count(*) FROM {table} GROUP BY key"
            assert dict(map(tuple, connection.exec_driver_sql(query))) == dict(zip(ids, counts, strict=True))
    engine.dispose()


def test_without_a_key_none_is_recorded(client: TestClient, api_settings: Settings):
    client.post("/predict", json=a_customer())
    client.post("/labels", json=LABEL)
    engine = open_database(api_settings.database_url(api_settings.journal.url))
    with engine.connect() as connection:
        for table in ("predictions", "labels"):
            assert connection.exec_driver_sql(f"SELECT key FROM {table}").scalars().all() == [None]
    engine.dispose()


def test_a_refused_key_is_refused_before_the_body_is_looked_at(api_settings: Settings):
    make_key(api_settings, "admin")
    with client_of(api_settings) as client:
        for path in ("/predict", "/predict/batch", "/predict/probe", "/labels"):
            assert_problem(client.post(path, content=b"{", headers={"content-type": "text/csv"}), 401)


def test_a_new_key_is_known_and_a_revoked_one_refused_within_seconds(
    api_settings: Settings, customer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(service, "KEY_SECONDS", 0.05)
    engine = open_database(api_settings.database_url(api_settings.journal.url))
    store = KeyStore(engine)
    with client_of(api_settings) as client:
        assert client.post("/predict", json=customer).status_code == 200  # from this machine, and there is no key
        token = store.add("phones", ["predict"])
        headers = {"x-api-key": token}
        wait_for("it is known", lambda: client.post("/predict", json=customer, headers=headers).status_code == 200)
        wait_for("a key is needed", lambda: client.post("/predict", json=customer).status_code == 401)
        store.revoke("phones")
        wait_for("it is refused", lambda: client.post("/predict", json=customer, headers=headers).status_code == 401)
        time.sleep(0.5)
        assert client.post("/predict", json=customer).status_code == 401  # once there was a key, one is needed
    engine.dispose()


def test_keys_are_looked_for_every_few_seconds():
    assert service.KEY_SECONDS <= 5


def test_tokens_are_compared_in_constant_time(api_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """By digest, and also where no key has the id: the time does not tell which ids there are."""
    compared = []
    real = keys_module.hmac.compare_digest
    monkeypatch.setattr(keys_module.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    token = make_key(api_settings, "predict")
    with client_of(api_settings) as client:
        for key in (token, token[:-1], "churnops_nobody_x", "x"):
            ask(client, "POST", "/predict", a_customer(), key)
    assert len(compared) == 4
    assert all(len(text) == 64 for pair in compared for text in pair)
    assert token not in str(compared)


# Without keys


@pytest.mark.parametrize(("method", "path", "needed", "body"), CLOSED)
def test_while_no_key_exists_only_this_machine_is_served(
    api_settings: Settings, method: str, path: str, needed: str, body: Any
):
    with from_elsewhere(api_settings) as client:
        for headers in (
            {},
            {"x-forwarded-for": "127.0.0.1"},
            {"forwarded": "for=127.0.0.1"},
            {"x-real-ip": "127.0.0.1"},
            {"x-client-ip": "::1"},
            {"true-client-ip": "127.0.0.1"},
            {"host": "localhost"},
            {"x-api-key": "development"},
        ):
            response = client.request(method, path.format(prediction_id="x", id=1), json=body, headers=headers)
            assert_problem(response, 401)


@pytest.mark.parametrize(
    "address", ["0.0.0.0", "10.0.0.9", "8.8.8.8", "::", "fe80::1", "localhost.evil.com", "", "x" * 999]
)
def test_clients_at_other_addresses_are_refused_without_a_key(
    api_settings: Settings, customer: dict[str, Any], address: str
):
    with from_elsewhere(api_settings, (address, 1)) as client:
        assert_problem(client.post("/predict", json=customer), 401)


@pytest.mark.parametrize(
    "host",
    [
        "evil.com",
        "evil.com:8000",
        "127.0.0.1.evil.com",
        "localhost.evil.com",
        "10.0.0.1",
        "0.0.0.0",
        "",
        "evil.com#127.0.0.1",
        "127.0.0.1@evil.com",
        "[::1].evil.com",
        "localhost:80:evil.com",
    ],
)
def test_a_rebound_host_name_is_refused(client: TestClient, customer: dict[str, Any], host: str):
    """DNS rebinding: the browser believes that it asks evil.com, and connects to this machine."""
    assert_problem(client.post("/predict", json=customer, headers={"host": host}), 401)


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "127.8.8.8"])
def test_this_machine_is_served_under_each_of_its_names(client: TestClient, customer: dict[str, Any], host: str):
    assert client.post("/predict", json=customer, headers={"host": host}).status_code == 200


def test_a_request_from_a_foreign_page_is_refused(client: TestClient):
    """A form needs no permission to post, and the browser runs on this machine."""
    assert_problem(client.post("/model/reload", headers={"origin": "https://evil.com"}), 401)
    assert_problem(client.post("/model/reload", headers={"origin": "null"}), 401)
    assert client.post("/model/reload", headers={"origin": "http://localhost:8501"}).status_code == 200


def test_no_cors_header_lets_a_foreign_page_read_answers(client: TestClient):
    for method in ("OPTIONS", "GET"):
        response = client.request(method, "/health/live", headers={"origin": "https://evil.com"})
        assert not [name for name in response.headers if name.startswith("access-control")]


# Rates


def test_a_client_that_asks_too_often_waits_and_others_do_not(make_settings, monkeypatch: pytest.MonkeyPatch):
    clock = Clock()
    monkeypatch.setattr(security, "time", clock)
    settings = make_settings(api={"rate_limit": 3})
    busy, other = (make_key(settings, "predict", name=name) for name in ("busy", "other"))
    with client_of(settings) as client:
        statuses = [ask(client, "GET", "/model", None, busy).status_code for _ in range(5)]
        assert statuses == [200] * 3 + [429] * 2
        response = ask(client, "GET", "/model", None, busy)
        assert "3 requests a second" in assert_problem(response, 429)["detail"]
        assert int(response.headers["retry-after"]) == 1
        assert ask(client, "GET", "/model", None, other).status_code == 200
        clock.seconds += int(response.headers["retry-after"])
        assert ask(client, "GET", "/model", None, busy).status_code == 200


def test_requests_with_wrong_keys_do_not_use_up_a_clients_rate(make_settings):
    settings = make_settings(api={"rate_limit": 2})
    token = make_key(settings, "predict")
    with client_of(settings) as client:
        for _ in range(10):
            assert ask(client, "GET", "/model", None, token[:-1]).status_code == 401
        assert ask(client, "GET", "/model", None, token).status_code == 200


# What must never be seen


def test_a_token_is_in_no_answer_log_or_file(
    api_settings: Settings, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    token = make_key(api_settings, "admin")
    secret = token.split("_", 2)[2]
    caplog.set_level(logging.DEBUG)
    with client_of(api_settings) as client:
        seen = [
            ask(client, *path, key).text for path in [(m, p, b) for m, p, _, b in PATHS] for key in (token, token[:-1])
        ]
        seen.append(client.get("/metrics").text)
    captured = capfd.readouterr()
    assert '"client":"tests"' in captured.err
    for text in (*seen, captured.out, captured.err, caplog.text):
        assert secret[:-1] not in text
    for file in api_settings.root.glob("journal.db*"):
        assert secret[:-1].encode() not in file.read_bytes()


quiet = pytest.mark.usefixtures("quiet")


def log_lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capfd.readouterr().err.splitlines()]


@quiet
def test_each_request_is_one_line_of_json(
    client: TestClient, capfd: pytest.CaptureFixture[str], customer: dict[str, Any]
):
    capfd.readouterr()
    response = client.post("/predict", json=customer, headers={"x-request-id": "my-id.7_A"})
    assert response.headers.get_list("x-request-id") == ["my-id.7_A"]
    (line,) = log_lines(capfd)
    assert line["request_id"] == "my-id.7_A"
    assert (line["method"], line["route"], line["status"]) == ("POST", "/predict", 200)
    assert (line["client"], line["address"]) == ("development", LOCAL[0])
    assert line["model_version"] == response.json()["model_version"]
    assert "C-1" not in json.dumps(line)


@quiet
@pytest.mark.parametrize(
    "given", ["a b", "a\tb", 'a"b', "é", "a" * 65, "", "a/b", "${jndi:ldap://x}", "\x1b[31m", "a;b"]
)
def test_an_ill_formed_request_id_is_replaced(client: TestClient, capfd: pytest.CaptureFixture[str], given: str):
    capfd.readouterr()
    response = client.get("/unknown", headers={"x-request-id": given.encode("latin-1")})
    (line,) = log_lines(capfd)
    request_id = response.headers["x-request-id"]
    assert request_id != given
    assert request_id == line["request_id"] == response.json()["request_id"]
    assert len(request_id) == 16


@quiet
def test_a_path_cannot_write_into_the_log(client: TestClient, capfd: pytest.CaptureFixture[str]):
    """Neither line breaks in a path nor a customer's name get into the log."""
    capfd.readouterr()
    client.get("/predictions/x%0A%7B%22level%22:%22critical%22%7D")
    client.get("/unknown/jane.doe@example.com%0D%0Ahello")
    client.get("/model?name=jane.doe")
    lines = log_lines(capfd)
    assert [line["route"] for line in lines] == ["/predictions/{prediction_id}", "(none)", "/model"]
    assert "jane" not in json.dumps(lines)


def test_ids_of_requests_do_not_repeat(client: TestClient):
    assert len({client.get("/health/live").headers["x-request-id"] for _ in range(50)}) == 50


@pytest.mark.parametrize(
    "path", ["/predict", "/predict/batch", "/predict/probe", "/labels", "/model", "/health/live", "/metrics"]
)
def test_a_defect_is_a_problem_without_internals(
    api_settings: Settings, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(f"secret detail in {api_settings.root}")

    some = [a_customer()]
    body = {"/predict": some[0], "/predict/batch": some, "/predict/probe": some, "/labels": LABEL}.get(path)
    with client_of(api_settings) as client:
        monkeypatch.setattr(logging.getLogger("churnops"), "propagate", True)
        broken = [
            (Access, "admit"),
            (SplitAnswers, "answer"),
            (routes.predict, "answer"),
            (routes.labels, "read_labels"),
        ]
        broken += [(routes.predict, "as_json"), (routes.model, "as_json"), (routes.health, "as_json")]
        for target, name in broken:
            monkeypatch.setattr(target, name, fail)
        monkeypatch.setattr(Metrics, "text", fail)
        response = client.request("POST" if body else "GET", path, json=body)
        problem = assert_problem(response, 500)
    assert "secret" not in response.text
    assert str(api_settings.root) not in response.text
    assert "RuntimeError" not in response.text
    assert problem["request_id"] in caplog.text
    assert "secret detail" in caplog.text


def test_answers_are_not_kept_or_guessed_at_by_browsers(client: TestClient):
    for path in ("/model", "/health/live", "/unknown", "/metrics"):
        response = client.get(path)
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "server" not in response.headers


def test_a_refusal_ends_the_connection_whose_body_was_not_read(client: TestClient, customer: dict[str, Any]):
    """The server would read on for as long as the client sends."""
    wrong = {"x-api-key": "wrong"}
    endless = iter([b"x"])
    for response in (
        client.post("/predict", json=customer, headers=wrong),
        client.post("/predict/batch", json=[customer], headers=wrong),
        client.post("/predict", content=b"x", headers={"content-type": "text/plain"}),
        client.post("/predict", content=endless, headers=wrong),
        client.post("/predict", content=b"x" * 100_000, headers={"content-type": "application/json"}),
        client.post("/unknown", content=b"x"),
        client.request("GET", "/health/live", content=b"x"),
    ):
        assert response.headers.get_list("connection") == ["close"], response.text
    for response in (
        client.post("/predict", json=customer),
        client.post("/predict", json={}),
        client.post("/predict/batch", json=[customer]),
        client.get("/model", headers=wrong),
        client.get("/health/live"),
        client.post("/model/reload"),
    ):
        assert "connection" not in response.headers


@pytest.mark.parametrize("path", ["/health/live", "/health/ready"])
def test_load_balancers_may_ask_for_the_head_only(client: TestClient, path: str):
    assert client.head(path).status_code == 200


def test_the_openapi_document_is_made_once_for_a_model(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    first = client.get("/openapi.json").json()
    monkeypatch.setattr("churnops.api.main.openapi_document", lambda app: {"paths": {"/made-again": {}}})
    assert client.get("/openapi.json").json() == first
    served = client.app.state.service.model  # type: ignore[attr-defined]
    monkeypatch.setattr(served, "current", None)
    assert client.get("/openapi.json").json() == {"paths": {"/made-again": {}}}
