"""Golden answers of the HTTP service: every path with valid and invalid requests."""

import json
import sqlite3
from contextlib import closing
from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response
from pydantic_core import to_json

from tests.golden.project import GoldenProject
from tests.support.api import LOCAL, a_customer
from tests.support.fixture_project import ACTIVE_TOKEN, PROJECT_1, REVOKED_TOKEN

KEY = {"X-API-Key": ACTIVE_TOKEN}
HEADERS = ("content-type", "allow", "retry-after", "www-authenticate", "content-disposition", "cache-control")
JSON, CSV, NDJSON = "application/json", "text/csv", "application/x-ndjson"
ONE = json.dumps(a_customer())

WRONG: dict[str, tuple[str, bytes | str | Any, str]] = {
    "no JSON": ("/predict", "{", JSON),
    "a list": ("/predict", [a_customer()], JSON),
    "nothing": ("/predict", "{}", JSON),
    "a missing value": ("/predict", {k: v for k, v in a_customer().items() if k != "account_length"}, JSON),
    "null": ("/predict", a_customer(account_length=None), JSON),
    "a text for a number": ("/predict", a_customer(total_day_minutes="many"), JSON),
    "a number out of range": ("/predict", a_customer(account_length=1001), JSON),
    "an unknown level": ("/predict", a_customer(state="ZZ"), JSON),
    "an unknown flag": ("/predict", a_customer(voice_mail_plan="ZZ"), JSON),
    "an unknown field": ("/predict", a_customer(acount_length=1), JSON),
    "the outcome": ("/predict", a_customer(Churn="True"), JSON),
    "both names": ("/predict", a_customer(**{"Account length": 128}), JSON),
    "a key twice": ("/predict", ONE[:-1] + ', "state": "NJ"}', JSON),
    "NaN": ("/predict", ONE.replace("265.1", "NaN"), JSON),
    "too deep": ("/predict", "[" * 10_000 + "]" * 10_000, JSON),
    "too large": ("/predict", b" " * 65_537, JSON),
    "another type": ("/predict", ONE, "text/plain"),
    "an empty list": ("/predict/batch", [], JSON),
    "no list": ("/predict/batch", a_customer(), JSON),
    "two wrong rows": (
        "/predict/batch",
        [a_customer(voice_mail_plan="ZZ"), a_customer(), a_customer(account_length=0)],
        JSON,
    ),
    "a list too long": ("/predict/batch", "[" + "1," * 10_000 + "1]", JSON),
    "CSV without rows": ("/predict/batch", ",".join(a_customer()) + "\n", CSV),
    "CSV with a short row": ("/predict/batch", f"{','.join(a_customer())}\na,b\n", CSV),
    "CSV with other columns": ("/predict/batch", "x,y\n1,2\n", CSV),
    "NDJSON with a broken line": ("/predict/batch", f"{ONE}\n{{\n", NDJSON),
    "NDJSON with a wrong value": ("/predict/batch", f"{ONE}\n{json.dumps(a_customer(voice_mail_plan='ZZ'))}\n", NDJSON),
    "no Parquet": ("/predict/batch", "PAR1", "application/vnd.apache.parquet"),
    "an unknown type": ("/predict/batch", "<a/>", "application/xml"),
    "a label of two": ("/labels", {"churned": True, "prediction_id": "a", "customer_id": "b"}, JSON),
    "a label of nobody": ("/labels", {"churned": True}, JSON),
    "a label without outcome": ("/labels", {"customer_id": "a"}, JSON),
    "a label of the future": ("/labels", {"churned": True, "customer_id": "a", "outcome_at": "2999-01-01"}, JSON),
    "a label of an unknown prediction": ("/labels", {"churned": True, "prediction_id": "a"}, JSON),
    "many wrong labels": ("/labels", [{}] * 30, JSON),
    "probes that are no list": ("/predict/probe", a_customer(), JSON),
}


def answers(project: GoldenProject) -> None:
    """Record answers to valid and invalid requests, and the journal's rows afterwards."""
    with _client(project) as client:
        _right(project, client)
        for name, (path, body, kind) in WRONG.items():
            content = body if isinstance(body, str | bytes) else json.dumps(body)
            _record(
                project,
                f"POST {path}: {name}",
                client.post(path, content=content, headers=KEY | {"content-type": kind}),
            )
        for method, path in (("GET", "/predict"), ("DELETE", "/labels"), ("GET", "/unknown"), ("GET", "/model/reload")):
            _record(project, f"{method} {path}", client.request(method, path, headers=KEY))
        for name, headers in (("without a key", {}), ("with a revoked key", {"X-API-Key": REVOKED_TOKEN})):
            _record(project, f"POST /predict {name}", client.post("/predict", json=a_customer(), headers=headers))
    with closing(sqlite3.connect(project.root / "journal.db")) as connection:
        connection.row_factory = sqlite3.Row
        for table, key in (("predictions", "rowid"), ("labels", "id")):
            rows = [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY {key} DESC LIMIT 6")]
            if table == "predictions":
                rows = [_unpacked(connection, row) for row in rows]
            project.record(f"journal: newest {table}", rows)


def _unpacked(connection: sqlite3.Connection, row: dict[str, Any]) -> dict[str, Any]:
    """Return a prediction with inputs and reasons as JSON texts, and the values of its layout."""
    from churnops.journal.layouts import Layout

    query = "SELECT document FROM layouts WHERE id = ?"
    layout = Layout.read(connection.execute(query, (row.pop("layout"),)).fetchone()[0])
    documents = {
        "top_shap_features": to_json(layout.reasons(row["reasons"], row["rest"])).decode(),
        "inputs": to_json(layout.record(row["inputs"], row["rest"])).decode(),
    }
    head, middle = ("model_version", "content_sha256"), ("base_value", "explanation_scale")
    names = ("id", "at", "customer_id", *head, "churn_probability", "churn_prediction", *middle)
    known = row | {name: getattr(layout, name) for name in (*head, *middle)} | documents
    return {name: known[name] for name in (*names, *documents, "source", "key")}


def _right(project: GoldenProject, client: TestClient) -> None:
    """Record answers to valid requests."""
    customers = json.loads((PROJECT_1 / "answers.json").read_text())["customers"][:3]
    first = client.post("/predict", json=a_customer(), headers=KEY)
    _record(project, "POST /predict", first)
    _record(project, "POST /predict/batch", client.post("/predict/batch", json=customers, headers=KEY))
    lines = "".join(json.dumps(customer) + "\n" for customer in customers)
    upload = client.post("/predict/batch", content=lines, headers=KEY | {"content-type": NDJSON})
    _record(project, "POST /predict/batch: NDJSON", upload)
    table = (project.root / "batches/later.csv").read_text().splitlines(keepends=True)[:4]
    upload = client.post("/predict/batch", content="".join(table), headers=KEY | {"content-type": CSV})
    _record(project, "POST /predict/batch: CSV", upload)
    _record(project, "POST /predict/probe", client.post("/predict/probe", json=customers, headers=KEY))
    prediction_id = first.json()["prediction_id"]
    label = {"prediction_id": prediction_id, "churned": True}
    for name in ("POST /labels", "POST /labels again"):
        _record(project, name, client.post("/labels", json=label, headers=KEY))
    known = [{"customer_id": "C-1", "churned": True, "outcome_at": "2026-10-25T00:00:00Z"}, label | {"churned": False}]
    _record(project, "POST /labels: a list", client.post("/labels", json=known, headers=KEY))
    found = client.get(f"/predictions/{prediction_id}", headers=KEY)
    _record(project, "GET /predictions/<id>", found)
    _record(project, "GET /predictions/unknown", client.get("/predictions/unknown", headers=KEY))
    for path in ("/", "/model", "/health/live", "/health/ready"):
        _record(project, f"GET {path}", client.get(path, headers=KEY))
    _record(project, "POST /model/reload", client.post("/model/reload", headers=KEY))
    text = client.get("/metrics", headers=KEY).text
    project.record("GET /metrics: names", [line for line in text.splitlines() if line.startswith("# TYPE churnops")])


def openapi(project: GoldenProject) -> None:
    """Record the OpenAPI document."""
    with _client(project) as client:
        _record(project, "GET /openapi.json", client.get("/openapi.json", headers=KEY))


def _client(project: GoldenProject) -> TestClient:
    from churnops.api.main import create_app
    from churnops.settings import load_settings

    app = create_app(load_settings(project.root / "config.yaml"))
    return TestClient(app, base_url="http://127.0.0.1", client=LOCAL)


def _record(project: GoldenProject, name: str, response: Response) -> None:
    kind = response.headers.get("content-type", "")
    body: Any = response.json() if kind.partition(";")[0].endswith("json") and "nd" not in kind else response.text
    if isinstance(body, str):
        body = [json.loads(line) if line.startswith("{") else line for line in body.splitlines()]
    headers = {header: response.headers[header] for header in HEADERS if header in response.headers}
    project.record(name, {"status": response.status_code, "headers": headers, "body": body})
