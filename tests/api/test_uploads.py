"""`POST /predict/batch` with files: the answer is the file with its scores, recorded before it is sent, or nothing."""

import asyncio
import errno
import io
import json
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet
import pytest
from fastapi.testclient import TestClient

from churnops.api.problems import Problem
from churnops.api.uploads import answer as uploads
from churnops.api.uploads import ndjson, tables
from churnops.api.uploads.formats import FORMATS, UPLOADS
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings
from tests.support.api import LOCAL, a_customer, assert_problem, client_of, recorded
from tests.support.api_server import Server, serving
from tests.support.processes import PATIENCE, wait_for
from tests.support.projects import RAW, deployed
from tests.support.uploads import CSV, KINDS, NDJSON, PARQUET, from_file, send, to_file

ADDED = [
    "churn_probability",
    "churn_prediction",
    "model_version",
    "base_value",
    "explanation_scale",
    "top_shap_features",
    "prediction_id",
]
RAW_NAMES = ["Account length", "State"]


def customers(rows: int) -> list[dict[str, Any]]:
    return [
        a_customer(customer_id=f"Kündin-{i}", total_day_minutes=round(i * 37.7 % 350, 1), customer_service_calls=i % 9)
        for i in range(rows)
    ]


def raw_headers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same rows; some columns have the headers of the raw table."""
    names = {name.lower().replace(" ", "_"): name for name in RAW_NAMES}
    return [{names.get(name, name): value for name, value in row.items()} for row in rows]


def test_a_csv_of_another_dialect_gets_the_same_answers(client: TestClient):
    given = customers(5)
    plain = from_file(CSV, send(client, CSV, to_file(CSV, given)).content)
    text = pl.read_csv(io.BytesIO(to_file(CSV, given)), infer_schema=False).write_csv(separator=";").replace(".", ",")
    response = send(client, CSV, text.encode("utf-16"))
    assert response.status_code == 200
    for answer, expected in zip(from_file(CSV, response.content), plain, strict=True):
        del answer["prediction_id"], expected["prediction_id"]
        assert answer == expected
    problem = assert_problem(send(client, CSV, (text + "1;2\n").encode()), 422)
    assert "row 6 has 2 values, but the header has" in problem["detail"]


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, kind in FORMATS.items() if name not in UPLOADS])
def test_a_file_is_accepted_under_other_media_types(client: TestClient, name: str, kind: str):
    [media_type] = [media_type for media_type, format in UPLOADS.items() if format == kind]
    response = send(client, name, to_file(media_type, customers(2)))
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, media_type)
    assert len(from_file(media_type, response.content)) == 2


@pytest.mark.parametrize("kind", ["application/xml", "multipart/form-data; boundary=x", "", "application/gzip"])
def test_a_refused_media_type_names_the_accepted_ones(client: TestClient, kind: str):
    problem = assert_problem(send(client, kind, b"--x"), 415)
    assert all(accepted in problem["detail"] for accepted in UPLOADS)
    assert ("send the file itself as the body" in problem["detail"]) is kind.startswith("multipart")


@KINDS
@pytest.mark.parametrize("renamed", [False, True], ids=["names", "raw-headers"])
def test_a_file_comes_back_with_the_answers_of_predict(client: TestClient, kind: str, renamed: bool):
    given = customers(25)
    sent = raw_headers(given) if renamed else given
    response = send(client, kind, to_file(kind, sent))
    assert (response.status_code, response.headers["content-type"].partition(";")[0]) == (200, kind)
    answers = from_file(kind, response.content)
    assert len(answers) == len(given)
    for customer, row, answer in zip(given, sent, answers, strict=True):
        expected = client.post("/predict", json=customer).json()
        if kind != NDJSON:
            expected.pop("warnings", None)  # a table has a column of warnings only if it is requested
        found = {name: answer[name] for name in expected}
        assert found["prediction_id"] != expected["prediction_id"]
        if kind == CSV:
            reasons = zip(found["top_shap_features"], expected["top_shap_features"], strict=True)
            for ours, theirs in reasons:
                assert ours == {
                    "feature": theirs["feature"],
                    "shap_value": pytest.approx(theirs["shap_value"], rel=1e-5),
                }
            found["top_shap_features"] = expected["top_shap_features"]
        assert found | {"prediction_id": ""} == expected | {"prediction_id": ""}
        if kind != NDJSON:
            assert list(answer) == [*row, *ADDED]
            assert {name: str(answer[name]) for name in row} == {name: str(value) for name, value in row.items()}


@KINDS
def test_each_row_is_recorded_as_predict_records_it(client: TestClient, api_settings: Settings, kind: str):
    given = customers(12)
    answers = from_file(kind, send(client, kind, to_file(kind, raw_headers(given))).content)
    assert recorded(api_settings) == 12
    for customer, answer in zip(given, answers, strict=True):
        found = client.get(f"/predictions/{answer['prediction_id']}").json()
        alone = client.post("/predict", json=customer).json()
        expected = client.get(f"/predictions/{alone['prediction_id']}").json()
        different = {"prediction_id": "", "at": ""}
        if kind == CSV:
            for one, other in zip(found["top_shap_features"], expected["top_shap_features"], strict=True):
                assert one["shap_value"] == pytest.approx(other["shap_value"], rel=1e-5)
        different["top_shap_features"] = ""
        assert found | different == expected | different


@KINDS
def test_a_row_is_recorded_before_it_is_sent(
    client: TestClient, api_settings: Settings, kind: str, monkeypatch: pytest.MonkeyPatch
):
    """When a piece leaves the application, the journal already has its rows."""
    monkeypatch.setattr("churnops.api.uploads.tables.ROWS", 10)
    monkeypatch.setattr(ndjson, "LINES", 10)
    real, counts = uploads.Uploads._stream, []

    async def watched(self: Any, *arguments: Any) -> Any:
        async for piece in real(self, *arguments):
            counts.append(recorded(api_settings))
            yield piece

    monkeypatch.setattr(uploads.Uploads, "_stream", watched)
    assert send(client, kind, to_file(kind, customers(35))).status_code == 200
    assert counts[:4] == [10, 20, 30, 35]


@KINDS
def test_a_bad_row_anywhere_refuses_the_whole_file(
    client: TestClient, api_settings: Settings, kind: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("churnops.api.uploads.tables.ROWS", 10)
    monkeypatch.setattr(ndjson, "LINES", 10)
    rows = customers(40)
    rows[36]["total_day_minutes"] = -1.0
    problem = assert_problem(send(client, kind, to_file(kind, rows)), 422)
    assert problem["detail"].startswith("row 37: ")
    assert [(e["row"], e["field"], e["rule"]) for e in problem["errors"]] == [(37, "total_day_minutes", "minimum")]
    assert recorded(api_settings) == 0


@pytest.mark.parametrize("kind", [CSV, PARQUET], ids=["csv", "parquet"])
def test_an_answer_can_be_sent_again_and_a_header_says_so(client: TestClient, kind: str):
    first = send(client, kind, to_file(kind, customers(5)))
    assert "x-replaced-columns" not in first.headers
    second = send(client, kind, first.content)
    assert second.headers["x-replaced-columns"] == ", ".join(ADDED)
    for one, other in zip(from_file(kind, first.content), from_file(kind, second.content), strict=True):
        assert one.pop("prediction_id") != other.pop("prediction_id")
        assert one == other


def test_columns_outside_the_schema_pass_through_unchanged(client: TestClient):
    notes = ['two\nlines, "quoted"', "Grüße 😀", "", "a,b;c", " spaces ", "=1+1", "null", "0012", "\ttab"]
    rows = [a_customer(customer_id=f"C-{i}") | {"Notiz (€)": note} for i, note in enumerate(notes)]
    for kind in (CSV, PARQUET):
        answers = from_file(kind, send(client, kind, to_file(kind, rows)).content)
        assert [answer["Notiz (€)"] or "" for answer in answers] == notes
    refused = assert_problem(send(client, NDJSON, to_file(NDJSON, rows)), 422)
    assert refused["errors"][0]["rule"] == "unknown"  # as in /predict


def test_columns_outside_the_schema_may_hold_anything(client: TestClient):
    lines = to_file(CSV, customers(2)).splitlines()
    content = b"\n".join([lines[0] + b",note,x,x", lines[1] + b',27" caf\xe9,,', lines[2] + b",=1+1,,", b""])
    response = send(client, CSV, content)
    assert [row["note"] for row in from_file(CSV, response.content)] == ['27" caf\ufffd', "=1+1"]
    assert b",x," not in response.content.splitlines()[0]  # a repeated column is left out
    table = pl.DataFrame(customers(2)).to_arrow()
    for column in (
        pa.array([Decimal("1.5"), None], pa.decimal256(60, 2)),
        pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
        pa.array([b"caf\xe9", None]).view(pa.string()),
        pa.array(["z" * 3_000_000, None]),
    ):
        file = io.BytesIO()
        pyarrow.parquet.write_table(table.append_column("note", column), file)
        response = send(client, PARQUET, file.getvalue())
        assert response.status_code == 200, response.text
        assert len(from_file(PARQUET, response.content)) == 2


def test_a_csv_answer_is_safe_in_spreadsheets_by_a_setting(api_settings: Settings):
    given = [customer | {"@note": "=1+1", "debt": "-5"} for customer in customers(2)]
    for safe, header, note in ((False, "@note", "=1+1"), (True, "'@note", "'=1+1")):
        with client_of(api_settings.model_copy(update={"safe_csv": safe})) as client:
            rows = from_file(CSV, send(client, CSV, to_file(CSV, given)).content)
        assert [(row[header], row["debt"], row["customer_id"]) for row in rows] == [
            (note, "-5", "Kündin-0"),
            (note, "-5", "Kündin-1"),
        ]


def test_the_raw_table_itself_is_answered(client: TestClient):
    content = RAW[1].read_bytes()
    answers = from_file(CSV, send(client, CSV, content).content)
    header = content.decode().partition("\n")[0].strip().split(",")
    assert list(answers[0]) == [*header, *ADDED]
    left = [answer["churn_probability"] for answer in answers if answer["Churn"] == "True"]
    stayed = [answer["churn_probability"] for answer in answers if answer["Churn"] == "False"]
    assert sum(left) / len(left) > 3 * sum(stayed) / len(stayed)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order-mark"])
def test_csv_as_spreadsheets_write_it(client: TestClient, end: str, mark: bytes):
    content = mark + to_file(CSV, customers(3)).replace(b"\n", end.encode())
    assert len(from_file(CSV, send(client, f"{CSV}; charset=UTF-8", content).content)) == 3


@KINDS
def test_a_file_that_is_too_large_is_refused(make_settings, kind: str):
    settings = make_settings(api={"max_upload_bytes": 10_000})
    with client_of(settings) as client:
        content = to_file(kind, customers(3000))
        assert len(content) > 10_000
        assert_problem(send(client, kind, content), 413)
        assert_problem(send(client, kind, b"", **{"content-length": "10001"}), 413)
        assert send(client, CSV, to_file(CSV, customers(3))).status_code == 200
    assert recorded(settings) == 3


@KINDS
def test_more_customers_than_allowed_are_refused(make_settings, kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("churnops.api.uploads.tables.ROWS", 10)
    monkeypatch.setattr(ndjson, "LINES", 10)
    settings = make_settings(api={"max_upload_rows": 25})
    with client_of(settings) as client:
        problem = assert_problem(send(client, kind, to_file(kind, customers(26))), 413)
        assert problem["detail"] == "the file has more than 25 customers: send several files"
        assert recorded(settings) == 0
        assert send(client, kind, to_file(kind, customers(25))).status_code == 200
    assert recorded(settings) == 25


async def ask(client: TestClient, content: bytes, send: Any, stays: bool) -> None:
    """Send a CSV to the application and its answer to `send`; then the client leaves, or stays without reading."""
    messages = [{"type": "http.request", "body": content, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        if stays:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    headers = [(b"host", b"localhost"), (b"content-type", CSV.encode())]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/predict/batch",
        "raw_path": b"/predict/batch",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": headers,
        "client": LOCAL,
        "server": ("127.0.0.1", 80),
    }
    await client.app(scope, receive, send)  # type: ignore[arg-type]


@pytest.mark.parametrize(("length", "status"), [(90_000, 413), (10, 200)])
def test_a_text_stored_once_counts_as_often_as_it_is_repeated(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, length: int, status: int
):
    monkeypatch.setattr(tables, "PAGES_BYTES", 2**20)
    monkeypatch.setattr(tables, "PAGES_SHARE", 0)
    body = to_file(PARQUET, [row | {"note": "x" * length} for row in customers(30)])
    assert len(body) < 60_000
    answer = client.post("/predict/batch", content=body, headers={"Content-Type": PARQUET})
    assert answer.status_code == status
    if status == 413:
        assert "more than 1 MiB when it is decompressed" in assert_problem(answer, 413)["detail"]


def test_a_client_that_leaves_before_the_answer_frees_its_place(client: TestClient):
    """A slow client lets the server wait at the start of the answer, where it can be cancelled."""
    content = to_file(CSV, customers(3))
    assert client.portal is not None
    for _ in range(uploads.AT_ONCE + 1):
        client.portal.call(ask, client, content, lambda _message: asyncio.sleep(0), False)
    assert send(client, CSV, content).status_code == 200


def test_a_client_that_reads_no_more_gives_its_place_back(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(uploads, "UPLOAD_TIMES", 0.02)
    content = to_file(CSV, customers(3))

    async def never(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    assert client.portal is not None
    for _ in range(2):
        with pytest.raises(Problem, match="not read within"):
            client.portal.call(ask, client, content, never, True)
    monkeypatch.undo()
    for _ in range(uploads.AT_ONCE + 1):
        assert send(client, CSV, content).status_code == 200


@pytest.mark.parametrize("failing", ["open", "write", "flush"])
def test_a_full_disk_is_a_problem(client: TestClient, monkeypatch: pytest.MonkeyPatch, failing: str):
    class Full(io.BytesIO):
        name = "/nowhere"

        def fail(self, *_: Any) -> Any:
            raise OSError(errno.ENOSPC, "No space left on device")

        write = fail if failing == "write" else io.BytesIO.write
        flush = fail if failing == "flush" else io.BytesIO.flush
        close = fail if failing == "flush" else io.BytesIO.close

    def opened(_: str) -> tuple[Full, Path]:
        return (Full() if failing != "open" else Full().fail()), Path(Full.name)

    content = to_file(CSV, customers(3))
    with monkeypatch.context() as patch:
        patch.setattr(uploads, "temporary_file", opened)
        for _ in range(uploads.AT_ONCE + 1):
            problem = assert_problem(send(client, CSV, content), 503)
            assert problem["type"] == "urn:churnops:problem:storage"
    assert send(client, CSV, content).status_code == 200


def test_a_list_may_be_larger_than_the_limit_of_one_customer(client: TestClient):
    assert len(client.post("/predict/batch", json=customers(400)).json()) == 400


def test_a_list_may_be_longer_than_the_journal_usually_lets_wait(make_settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("churnops.api.service.MAX_PENDING", 20)
    with client_of(make_settings(api={"max_batch_rows": 100})) as client:
        assert len(client.post("/predict/batch", json=customers(100)).json()) == 100


# A server in a process of its own


@pytest.fixture
def server(tmp_path: Path, project: tuple[Settings, RunSummary]) -> Iterator[tuple[Server, Settings]]:
    settings = deployed(tmp_path, project[0])
    with serving(settings, fresh=True) as server:
        yield server, settings


def head(kind: str, length: int) -> bytes:
    return (
        f"POST /predict/batch HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n"
        "connection: close\r\n\r\n"
    ).encode()


def temporary_files(server: tuple[Server, Settings]) -> list[str]:
    """Return the files without a name that a service has open."""
    service, settings = server
    found = []
    for descriptor in Path(f"/proc/{service.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.append(str(descriptor.readlink()))
    return [path for path in found if path.startswith(f"{settings.root}/tmp/#")]


def body_of(answer: bytes) -> bytes:
    """Undo chunked transfer; fail where the last chunk is missing."""
    rest, body = answer.partition(b"\r\n\r\n")[2], b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if not size:
            raise ConnectionError("the answer is cut off")
        if int(size, 16) == 0:
            return body
        if len(rest) < int(size, 16) + 2:
            raise ConnectionError("the answer is cut off")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]


def receive_all(connection: socket.socket) -> bytes:
    received = []
    try:
        while data := connection.recv(2**20):
            received.append(data)
    except ConnectionError:
        pass
    return b"".join(received)


def test_a_large_file_is_answered_in_constant_memory(server: tuple[Server, Settings]):
    """Six times the rows need little more memory, and leave no file."""
    service, settings = server
    peaks = []
    for rows in (5_000, 30_000):
        content = to_file(CSV, customers(rows))
        with socket.create_connection(("127.0.0.1", service.port), timeout=300) as connection:
            connection.sendall(head(CSV, len(content)) + content)
            answer = receive_all(connection)
        assert body_of(answer).count(b"\n") == rows + 1
        peaks.append(service.megabytes("VmHWM"))
    assert peaks[1] < peaks[0] + 100
    assert recorded(settings) == 35_000
    assert temporary_files(server) == []


def test_clients_that_leave_give_their_places_back(server: tuple[Server, Settings]):
    """Clients leave while sending, during the check, before the first byte and in the middle of the answer."""
    service, _ = server
    content = to_file(CSV, customers(12_000))
    for _ in range(2):
        for wait in ("sending", 0.05, 0.3, "answer"):
            with socket.create_connection(("127.0.0.1", service.port), timeout=300) as connection:
                if wait == "sending":
                    connection.sendall(head(CSV, len(content)) + content[:100_000])
                    time.sleep(0.1)
                else:
                    connection.sendall(head(CSV, len(content)) + content)
                    if wait == "answer":
                        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
                    else:
                        time.sleep(float(wait))
            wait_for("its place is free", lambda: temporary_files(server) == [])
    small = to_file(CSV, customers(2))
    for _ in range(uploads.AT_ONCE + 1):
        assert service.send(head(CSV, len(small)) + small, timeout=300).startswith(b"HTTP/1.1 200")


def test_more_uploads_than_places_are_refused(server: tuple[Server, Settings]):
    service, _ = server
    content = to_file(CSV, customers(3))
    waiting = []
    try:
        for _ in range(uploads.AT_ONCE):
            waiting.append(socket.create_connection(("127.0.0.1", service.port), timeout=300))
            waiting[-1].sendall(head(CSV, len(content)) + content[:10])
        wait_for("all places are taken", lambda: len(temporary_files(server)) == uploads.AT_ONCE)
        refused = service.send(head(CSV, len(content)) + content)
        assert refused.startswith(b"HTTP/1.1 503")
        assert b"retry-after: 5" in refused.lower()
        one = json.dumps(a_customer()).encode()
        alone = service.send(head("application/json", len(one)).replace(b"/batch", b"") + one)
        assert alone.startswith(b"HTTP/1.1 200")  # one customer is answered all the same
        for connection in waiting:
            connection.sendall(content[10:])
            assert body_of(receive_all(connection)).count(b"\n") == 4
        assert service.send(head(CSV, len(content)) + content).startswith(b"HTTP/1.1 200")
    finally:
        for connection in waiting:
            connection.close()


@KINDS
def test_a_journal_that_fails_midway_breaks_the_connection(server: tuple[Server, Settings], kind: str):
    """A file with a regular end would look complete."""
    service, settings = server
    content = to_file(kind, customers(60_000))
    with socket.create_connection(("127.0.0.1", service.port), timeout=300) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        thread = threading.Thread(target=connection.sendall, args=(head(kind, len(content)) + content,))
        thread.start()
        first = connection.recv(1000)
        thread.join()
        assert first.startswith(b"HTTP/1.1 200")
        with sqlite3.connect(settings.path("journal.db"), timeout=PATIENCE) as database:
            database.execute("DROP TABLE predictions")
        database.close()
        answer = first + receive_all(connection)
    with pytest.raises(ConnectionError):
        body_of(answer)
    wait_for("its place is free", lambda: temporary_files(server) == [])
    live = service.send(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
    assert live.startswith(b"HTTP/1.1 200")


@KINDS
def test_a_journal_that_fails_at_once_is_a_problem_or_a_cut_answer(
    client: TestClient, api_settings: Settings, kind: str
):
    with sqlite3.connect(api_settings.path("journal.db"), timeout=PATIENCE) as database:
        database.execute("DROP TABLE predictions")
    database.close()
    with pytest.raises(Exception, match="recorded") as failed:
        send(client, kind, to_file(kind, customers(3)))
    assert getattr(failed.value, "status", 503) == 503


def test_blank_lines_are_counted(
    make_settings: Callable[..., Settings], customer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ndjson, "MAX_READ", 3)  # a step ends amid them
    line = json.dumps(customer) + "\n"
    headers = {"content-type": "application/x-ndjson"}
    with client_of(make_settings(api={"max_upload_rows": 10})) as client:
        response = client.post("/predict/batch", content="\n" * 5 + line + "\n" * 5 + line, headers=headers)
        assert response.status_code == 200
        assert len(response.text.splitlines()) == 2
        response = client.post("/predict/batch", content=line + "\n" * 20 + line, headers=headers)
        assert "blank lines" in assert_problem(response, 413)["detail"]
