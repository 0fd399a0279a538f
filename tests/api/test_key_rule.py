"""Rules for API keys: when a request needs one, also behind a proxy and after a loss of the journal."""

import os
import socket
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from churnops.api import security
from churnops.api.local import is_forwarding, is_local, listens_elsewhere
from churnops.errors import JournalError, SettingsError
from churnops.journal.database import open_database
from churnops.journal.key_record import KeyRecord
from churnops.journal.keys import KeyStore
from churnops.settings import Settings
from tests.support.api import LOCAL, PATHS, assert_problem, client_of, from_elsewhere, make_key
from tests.support.api_server import Server, serving, wait_for_server
from tests.support.processes import PATIENCE, free_port, start, wait_for

FORWARDED = """forwarded x-forwarded-for x-forwarded-host x-forwarded-proto x-forwarded-port x-forwarded-server
    x-forwarded x-forwarded-prefix x-forwarded-user x-real-ip via cf-connecting-ip cf-ray cdn-loop true-client-ip
    x-client-ip client-ip x-cluster-client-ip fastly-client-ip fly-client-ip x-original-for
    x-original-host x-original-url x-originating-ip x-envoy-external-address x-azure-clientip x-amzn-trace-id
    x-appengine-user-ip x-arr-ssl x-remote-ip x-remote-addr wl-proxy-client-ip proxy-client-ip
    x-proxyuser-ip x-forward-for forwarded-for X_Forwarded_For x-akamai-edgescape x-goog-iap-jwt-assertion
    x-ms-client-principal x-varnish x-scheme x-url-scheme x-request-start x-ssl-client-cert ssl-client-verify x-host
    x-rewrite-url x-http-host-override x-remote-user remote-user x-auth-request-user x-authenticated-user
    x-jwt-assertion x-nginx-proxy proxy-authorization front-end-https max-forwards x-kong-request-id x-consumer-username
    x-haproxy-server-state x-traefik-router x-heroku-request-id tailscale-user-login x-middleware-proxy"""


@pytest.mark.parametrize("name", FORWARDED.split())
def test_a_forwarded_request_is_not_this_machines(client: TestClient, customer: dict[str, Any], name: str):
    """A proxy on the same machine: every request comes from 127.0.0.1."""
    for value in ("127.0.0.1", ""):
        assert_problem(client.post("/predict", json=customer, headers={name: value}), 401)


def test_nginx_as_it_comes_is_not_this_machine(api_settings: Settings):
    """Nginx by default adds no header, sends its configured address as host, and speaks HTTP/1.0."""
    with serving(api_settings) as server:
        request = b"GET /model HTTP/%s\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
        assert b" 401 " in server.send(request % b"1.0")
        assert b" 200 " in server.send(request % b"1.1")


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("localhost:8000", True),
        ("LocalHost", True),
        ("[::1]", True),
        ("[::1]:8000", True),
        ("localhost:80@example.org", False),
        ("127.0.0.1:80, example.org", False),
        ("localhost:example.org", False),
        ("[localhost]", False),
        ("localhost]", False),
        ("::1", False),
        ("", False),
    ],
)
def test_the_whole_host_header_is_compared(host: str, local: bool):
    headers = {b"host": host.encode()}
    scope = {"type": "http", "client": ("127.0.0.1", 5), "http_version": "1.1", "state": {"headers": headers}}
    assert is_local(scope) is local


def test_headers_of_ordinary_programs_are_not_forwarding():
    names = """accept accept-encoding accept-language cache-control connection content-length content-type cookie
        dnt host if-none-match origin pragma priority referer sec-ch-ua sec-fetch-site sec-gpc te traceparent tracestate
        upgrade-insecure-requests user-agent x-request-id x-b3-traceid baggage expect x-requested-with"""
    for name in names.split():
        assert not is_forwarding(name.encode()), name


# The record beside the models


def lose_journal(settings: Settings) -> None:
    for file in settings.root.glob("journal.db*"):
        file.unlink()


def record_of(settings: Settings) -> KeyRecord:
    return KeyRecord(settings.path(settings.registry.directory))


def closed(client: TestClient) -> bool:
    """Return whether every path that needs a key refuses a request without one."""
    statuses = {
        client.request(m, p.format(prediction_id="x", id=1), json=b).status_code for m, p, needed, b in PATHS if needed
    }
    return statuses == {401}


def test_without_its_journal_a_service_still_needs_keys(api_settings: Settings):
    with client_of(api_settings) as client:
        assert not closed(client)
    token = make_key(api_settings, "admin")
    lose_journal(api_settings)
    for _ in range(2):
        with client_of(api_settings) as client:
            assert closed(client)
            assert_problem(client.get("/model", headers={"x-api-key": token}), 401)
    again = make_key(api_settings, "predict")
    with client_of(api_settings) as client:
        assert client.get("/model", headers={"x-api-key": again}).status_code == 200


def test_the_record_is_private_and_holds_no_secret(api_settings: Settings):
    token = make_key(api_settings, "admin")
    path = record_of(api_settings).path
    assert path.name == "models.keys"
    assert path.stat().st_mode & 0o777 == 0o600
    assert not [part for part in token.split("_") if part and part in path.read_text().replace("churnops", "")]


def test_a_service_records_the_keys_of_an_earlier_version(api_settings: Settings):
    make_key(api_settings, "admin")
    record_of(api_settings).path.unlink()
    with client_of(api_settings):
        assert record_of(api_settings).exists()
    lose_journal(api_settings)
    with client_of(api_settings) as client:
        assert closed(client)


def test_a_service_keeps_the_record_when_it_is_lost_with_the_journal(api_settings: Settings):
    make_key(api_settings, "admin")
    with client_of(api_settings) as client:
        lose_journal(api_settings)
        record_of(api_settings).path.unlink()
        with suppress(JournalError):
            client.app.state.service.access.refresh()  # type: ignore[attr-defined]
        assert record_of(api_settings).exists()
    with ExitStack() as stack:
        client = wait_for("the first service has let go of the lost files", lambda: restarted(stack, api_settings))
        assert closed(client)


def restarted(stack: ExitStack, settings: Settings) -> TestClient | None:
    """Return a client of a new service; None while threads of the old one still use the journal that it lost."""
    with suppress(JournalError):
        return stack.enter_context(client_of(settings))
    return None


@pytest.mark.parametrize("damage", ["folder", "link", "unreadable", "empty"])
def test_a_damaged_record_still_counts(api_settings: Settings, damage: str):
    path = record_of(api_settings).path
    match damage:
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to("nowhere")
        case _:
            path.touch(0o000 if damage == "unreadable" else 0o600)
    with client_of(api_settings) as client:
        assert closed(client)


def test_a_record_that_may_not_be_looked_at_counts(api_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "lstat", refuse)
        assert record_of(api_settings).exists()
    assert not record_of(api_settings).exists()


def test_keys_lost_from_the_journal_while_serving_are_still_needed(
    api_settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(KeyRecord, "write", lambda _: None)
    make_key(api_settings, "admin")
    with client_of(api_settings) as client:
        engine = open_database(api_settings.database_url(api_settings.journal.url))
        with engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM api_keys")
        engine.dispose()
        client.app.state.service.access.refresh()  # type: ignore[attr-defined]
        assert closed(client)


def test_a_key_that_cannot_be_recorded_is_not_made(api_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(KeyRecord, "write", refuse)
    with pytest.raises(JournalError, match=r"models\.keys cannot be written \(Permission denied\)"):
        make_key(api_settings, "admin")
    engine = open_database(api_settings.database_url(api_settings.journal.url))
    assert KeyStore(engine).list() == []
    engine.dispose()


# api.require_key


def test_a_setting_makes_keys_always_required(make_settings):
    for value in ("always", True):
        with client_of(make_settings(api={"require_key": value})) as client:
            assert closed(client)


@pytest.mark.parametrize("value", ["never", False, "off"])
def test_a_key_cannot_be_made_unnecessary(make_settings, value: Any):
    with pytest.raises(SettingsError, match=r"api\.require_key.*keys cannot be turned off"):
        make_settings(api={"require_key": value})


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 200), ("0.0.0.0", 401)])
def test_uvicorn_beyond_this_machine_needs_a_key(api_settings: Settings, host: str, status: int):
    """Uvicorn that listens beyond this machine without `churnops serve`: also a local request needs a key."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "churnops.api.main:app", "--host", host, "--port", str(port)]
    environment = os.environ | {"CHURNOPS_CONFIG": str(api_settings.root / "config.yaml")}
    log = api_settings.root / "uvicorn.log"
    with log.open("wb") as output:
        process = start(command, stderr=output, stdout=output, env=environment)
    try:
        server = Server(port, process, log)
        wait_for_server(server)
        answer = server.send(b"GET /model HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert b" %d " % status in answer.partition(b"\r\n")[0]
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_looking_for_sockets_leaves_no_file_open():
    def files() -> int:
        return len(list(Path("/dev/fd").iterdir()))

    before = files()
    with socket.create_server(("127.0.0.1", 0)):
        assert not listens_elsewhere()
    with socket.create_server(("0.0.0.0", 0)):
        assert listens_elsewhere()
    with socket.create_server(("::", 0), family=socket.AF_INET6):
        assert listens_elsewhere()
    wait_for("no file is open any more", lambda: files() <= before)  # other threads open and close some, too


@pytest.mark.parametrize("server", [("127.0.0.1", 8000), None, ("10.0.0.1", 8000), ("/run/churnops.sock", None)])
def test_the_address_that_was_called_counts(server: tuple[str, int | None] | None):
    headers = {b"host": b"localhost"}
    scope = {"client": LOCAL, "server": server, "http_version": "1.1", "state": {"headers": headers}}
    assert is_local(scope) is (server is None or server[0] == "127.0.0.1")
    assert not is_local(scope | {"client": None})  # a Unix socket: whoever may open it


def test_the_rule_in_force_is_in_the_log(api_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    lines: list[str] = []
    monkeypatch.setattr(security.log, "log", lambda _, line: lines.append(line))

    def rule() -> str:
        lines.clear()
        with client_of(api_settings) as client:
            client.app.state.service.access.refresh()  # type: ignore[attr-defined]
        (line,) = lines
        return line

    assert rule().startswith("THERE IS NO API KEY: every program on this machine")
    make_key(api_settings, "predict")
    assert rule() == "every request needs an API key (valid keys: 1)"
    lose_journal(api_settings)
    assert "the journal has no valid key: restore the journal" in rule()


# Metrics


def test_metrics_need_a_key_unless_they_are_public(make_settings):
    settings = make_settings()
    token = make_key(settings, "predict")
    with client_of(settings) as client:
        answer = client.get("/metrics")
        assert_problem(answer, 401)
        assert_problem(client.get("/metrics", headers={"x-api-key": token}), 403)
    with from_elsewhere(make_settings(api={"public_metrics": True})) as client:
        assert "churnops_monitoring_metric" in client.get("/metrics").text
        assert_problem(client.get("/model"), 401)
