"""Traces of requests: their spans and attributes, the caller's trace, and what they never contain."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from churnops.errors import JournalError
from churnops.journal.writer import JournalWriter
from churnops.settings import Settings
from tests.support.api import client_of, make_key
from tests.support.spans import Spans, kept_spans, named, paths

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    return kept_spans(monkeypatch)


@pytest.fixture
def traced(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(traces=True)


def test_a_prediction_is_one_tree_in_the_trace_of_its_caller(
    traced: Settings, spans: Spans, customer: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    with client_of(traced) as client:
        answer = client.post("/predict", json=customer, headers={"traceparent": f"00-{TRACE}-{CALLER}-01"})
        assert client.get("/health/ready").status_code == client.get("/metrics").status_code == 200
    root = "POST /predict"
    parts = [root, *(f"{root} > {part}" for part in ("check", "receive body", "record"))]
    assert paths(spans()) == [*parts, f"{root} > record > INSERT predictions", f"{root} > score and explain"]
    assert {f"{span.context.trace_id:032x}" for span in spans()} == {TRACE}
    request, commit = named(spans(), root), named(spans(), "INSERT predictions")
    assert f"{request.parent.span_id:016x}" == CALLER
    assert request.kind.name == "SERVER"
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "url.path": "/predict",
        "url.scheme": "http",
        "churnops.model.version": answer.json()["model_version"],
    }
    assert dict(commit.attributes) == {
        "db.system.name": "sqlite",
        "db.operation.name": "INSERT",
        "db.collection.name": "predictions",
    }
    assert commit.kind.name == "CLIENT"
    [line] = [line for line in map(json.loads, capsys.readouterr().err.splitlines()) if line.get("route") == "/predict"]
    assert line["trace_id"] == TRACE


def test_a_list_is_computed_in_a_thread_and_stays_one_tree(traced: Settings, spans: Spans, customer: dict[str, Any]):
    with client_of(traced) as client:
        assert client.post("/predict/batch", json=[customer] * 600).status_code == 200
    root = "POST /predict/batch"
    assert paths(spans()) == [
        root,
        f"{root} > compute",
        *[f"{root} > compute > score and explain"] * 2,
        f"{root} > receive body",
        f"{root} > record",
        f"{root} > record > INSERT predictions",
    ]
    assert named(spans(), "record").attributes["churnops.rows"] == 600


def test_a_mistake_of_the_client_is_no_error_of_the_service(
    traced: Settings, spans: Spans, customer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    async def failing(*_: object) -> None:
        raise JournalError("the disk of C-1 is full")

    with client_of(traced) as client:
        assert client.post("/predict", json={}).status_code == 422
        assert client.get("/nowhere/C-1").status_code == 404
        assert client.request("BREW", "/predict").status_code == 405
        monkeypatch.setattr(JournalWriter, "append", failing)
        assert client.post("/predict", json=customer).status_code == 503
    refused, lost, other, failed = [span for span in spans() if span.parent is None]
    assert (refused.name, refused.status.is_ok, "error.type" in refused.attributes) == ("POST /predict", True, False)
    assert (lost.name, lost.attributes.get("url.path")) == ("GET", None)
    assert (other.name, other.attributes["http.request.method"]) == ("HTTP /predict", "_OTHER")
    assert (failed.status.is_ok, failed.attributes["error.type"]) == (False, "journal")
    assert named(spans(), "record").attributes["error.type"] == "churnops.errors.JournalError"


def test_no_attribute_has_a_value_of_a_customer_or_a_secret(
    traced: Settings, spans: Spans, customer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    key = make_key(traced, "admin")
    secrets = ["C-7261", "265.137", "Atlantis", "req-7261", "agent-7261", key]
    own = customer | {"customer_id": "C-7261", "total_day_minutes": 265.137}
    table = f"{','.join(own)}\n{','.join(map(str, own.values()))}\n"
    headers = {"x-api-key": key, "x-request-id": "req-7261", "user-agent": "agent-7261"}
    with client_of(traced) as client:
        client.headers.update(headers)
        for body in (own, own | {"international_plan": "Atlantis"}, own | {"C-7261": 1}, ["C-7261"]):
            client.post("/predict", json=body)
            client.post("/predict/batch", json=[body])
        client.post("/labels", json={"customer_id": "C-7261", "churned": True})
        client.get("/predictions/C-7261?customer=C-7261")
        for text in (table, table.replace("265.137", "Atlantis")):
            client.post("/predict/batch", content=text, headers={"content-type": "text/csv"})
        monkeypatch.setattr(JournalWriter, "_commit", lambda *_: 1 / 0)
        monkeypatch.setattr(JournalWriter, "_committed_on_loop", lambda *_: False)
        client.post("/predict", json=own)
    assert {"POST /predict", "POST /predict/batch", "POST /labels", "GET /predictions/{prediction_id}"} <= {
        span.name for span in spans()
    }
    assert any(span.attributes.get("error.type") == "builtins.ZeroDivisionError" for span in spans())
    text = "\n".join(span.to_json() for span in spans())
    assert [secret for secret in secrets if secret in text] == []


def test_a_sampler_leaves_requests_out(
    traced: Settings, spans: Spans, customer: dict[str, Any], capsys: pytest.CaptureFixture[str]
):
    with client_of(traced) as client:
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-00"}  # the caller does not record this trace
        assert client.post("/predict", json=customer, headers=headers).status_code == 200
    assert spans() == []
    assert "trace_id" not in capsys.readouterr().err


def test_without_the_setting_nothing_is_recorded(
    make_settings: Callable[..., Settings], spans: Spans, customer: dict[str, Any]
):
    with client_of(make_settings()) as client:
        headers = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
        assert client.post("/predict", json=customer, headers=headers).status_code == 200
    assert spans() == []
