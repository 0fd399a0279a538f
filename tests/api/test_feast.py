"""Requests with nothing but a customer's id, whose columns come from Feast's feature server."""

import json
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from churnops.feature_store import online
from churnops.settings import Settings
from tests.support.api import client_of
from tests.support.processes import PATIENCE
from tests.support.web import Quiet, web_server

Settled = Callable[..., Settings]
AT = "2026-11-30T09:00:00Z"


class Feast(Quiet):
    """A server that answers as Feast 0.67 does; `tests/engines/test_feast.py` has the real one."""

    rows: ClassVar[dict[str, dict[str, Any]]] = {}
    asked: ClassVar[list[Any]] = []
    status: ClassVar[int] = 200
    filler: ClassVar[str] = ""

    def do_POST(self) -> None:
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        customers = question["entities"]["customer_id"]
        self.asked.append((self.path, question["feature_service"], customers))
        names = list(next(iter(self.rows.values())))
        results = [self.result([(who, "PRESENT") for who in customers])]
        results += [self.result([self.value(who, name) for who in customers]) for name in names]
        document = {"metadata": {"feature_names": ["customer_id", *names]}, "results": results, "filler": self.filler}
        content = json.dumps(document).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def value(self, who: str, name: str) -> tuple[Any, str]:
        if who not in self.rows:
            return None, "NOT_FOUND"
        value = self.rows[who][name]
        return value, "NULL_VALUE" if value is None else "PRESENT"

    @staticmethod
    def result(values: list[tuple[Any, str]]) -> dict[str, list[Any]]:
        return {
            "values": [value for value, _ in values],
            "statuses": [status for _, status in values],
            "event_timestamps": [AT] * len(values),
        }


@pytest.fixture
def settled(make_settings: Settled, customer: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A project whose feature store knows C-1, and C-2 without a required column."""
    monkeypatch.setattr(online, "SECONDS", PATIENCE)
    whole = customer | {"new_feature": 1.5}
    Feast.rows = {"C-1": whole, "C-2": whole | {"total_day_minutes": None}}
    Feast.asked, Feast.status, Feast.filler = [], 200, ""
    with web_server(Feast) as port:
        yield make_settings(features={"source": "feast", "feast_url": f"http://127.0.0.1:{port}"})


def test_a_customers_columns_come_from_feast(settled: Settings, customer: dict[str, Any]):
    with client_of(settled) as client:
        by_id = client.post("/predict", json={"customer_id": "C-1"}).json()
        whole = client.post("/predict", json=customer | {"customer_id": "C-1"}).json()
        kept, sent = (client.get(f"/predictions/{answer['prediction_id']}").json() for answer in (by_id, whole))
    assert by_id.pop("columns_at") == AT
    assert by_id | {"prediction_id": ""} == whole | {"prediction_id": ""}
    assert kept["inputs"] == sent["inputs"]
    assert Feast.asked == [("/get-online-features", "churnops", ["C-1"])]


def test_a_list_asks_feast_once(settled: Settings, customer: dict[str, Any]):
    with client_of(settled) as client:
        body = [{"customer_id": "C-1"}, customer, {"customer_id": "C-1"}]
        answers = client.post("/predict/batch", json=body).json()
    assert [answer.get("columns_at") for answer in answers] == [AT, None, AT]
    assert len({answer["churn_probability"] for answer in answers}) == 1
    assert [customers for _, _, customers in Feast.asked] == [["C-1"]]


def test_a_customer_without_a_row_or_with_a_broken_one_is_refused(settled: Settings):
    with client_of(settled) as client:
        absent, broken = (client.post("/predict", json={"customer_id": who}) for who in ("C-9", "C-2"))
    assert (absent.status_code, absent.json()["type"].rpartition(":")[2]) == (404, "unknown-customer")
    assert (broken.status_code, broken.json()["type"].rpartition(":")[2]) == (422, "stored-columns")
    assert "total_day_minutes ('Total day minutes') is required" in broken.json()["detail"]


@pytest.mark.parametrize("failure", ["away", "status", "size"])
def test_a_failure_of_feast_is_one_line_and_503(
    settled: Settings, make_settings: Settled, caplog: pytest.LogCaptureFixture, failure: str
):
    if failure == "away":
        settled = make_settings(features={"source": "feast", "feast_url": "http://127.0.0.1:9"})
    Feast.status, Feast.filler = (500 if failure == "status" else 200), ("x" * 2**24 if failure == "size" else "")
    with client_of(settled) as client:
        answer = client.post("/predict", json={"customer_id": "C-1"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["type"].endswith(":feature-store")
    [line] = [record.getMessage() for record in caplog.records if "feature server" in record.getMessage()]
    expected = {"away": "does not answer (Connection refused)", "status": "status 500", "size": "more than 16 MiB"}
    assert expected[failure] in line


def test_other_bodies_are_answered_without_feast(settled: Settings, customer: dict[str, Any]):
    bodies = (customer, {"customer_id": 7}, {"customer_id": "C-1", "account_length": 3}, {}, [], "C-1")
    with client_of(settled) as client:
        assert [client.post("/predict", json=body).status_code for body in bodies] == [200, *[422] * 5]
    assert Feast.asked == []
