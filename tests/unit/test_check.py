"""The check of a deployment against faulty servers; tests/loop uses the real API."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from churnops.model import Bundle
from churnops.retraining import check
from churnops.retraining.check import MAX_ANSWER_BYTES, Check, check_deployment
from churnops.training.train import TrainedModels
from churnops.wire import PROBLEM
from tests.support.clocks import Clock
from tests.support.processes import free_port

KEY = "churnops_0123456789ab_hunter2hunter2hunter2hunter2hunter2hunter2h"
SECONDS = 0.5  # for a server that may not answer at all
ENOUGH = 60.0


SOME = {
    "churn_probability": 0.5,
    "churn_prediction": False,
    "base_value": 0.1,
    "explanation_scale": "probability",
    "top_shap_features": [],
    "model_version": "x",
}


@pytest.fixture(scope="module")
def bundle(trained: TrainedModels) -> Bundle:
    return trained.refit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Three answers in `ENOUGH` seconds, however long they take here."""
    clock = Clock()
    monkeypatch.setattr(check, "time", clock)
    monkeypatch.setattr(check, "PAUSE_SECONDS", ENOUGH / 3)
    return clock


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check, "ANSWER_SECONDS", ENOUGH)


@dataclass
class Impostor:
    """A server that reads a request and leaves the connection to a function."""

    port: int
    asked: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Speak = Callable[[socket.socket, int], None]
"""Answers a connection, the n-th, after its request was read."""


@contextmanager
def impostor(speak: Speak) -> Iterator[Impostor]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Impostor(listener.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection, suppress(OSError):
                    server.asked.append(_request(connection))
                    speak(connection, len(server.asked))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (piece := connection.recv(65536)):
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if b"content-length" in line.lower()), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def http(status: int, document: Any = None, *, kind: str = "application/json", headers: str = "") -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def problem(status: int, slug: str, detail: str) -> bytes:
    document = {"type": f"{PROBLEM}{slug}", "title": "X", "status": status, "detail": detail, "request_id": "1"}
    return http(status, document, kind="application/problem+json")


def says(*answers: bytes) -> Speak:
    """Send these answers one after another, then repeat the last."""
    return lambda connection, number: connection.sendall(answers[min(number, len(answers)) - 1])


def right(bundle: Bundle, **changes: Any) -> list[dict[str, Any]]:
    scores = bundle.predict(bundle.probes).probability.tolist()
    return [SOME | {"model_version": bundle.version_name, "churn_probability": score} | changes for score in scores]


def checked(bundle: Bundle, speak: Speak, *, seconds: float = SECONDS) -> tuple[Check, Impostor]:
    with impostor(speak) as server:
        found = check_deployment(bundle, server.url, key=KEY, seconds=seconds)
    assert "hunter2" not in str(found)
    assert "\n" not in found.reason
    assert len(found.reason) < 400
    return found, server


def test_five_agreeing_answers_pass_each_over_a_new_connection(bundle: Bundle):
    found, server = checked(bundle, says(http(200, right(bundle))), seconds=ENOUGH)
    rows = len(right(bundle))
    assert (found.status, found.rows) == ("passed", rows)
    assert found.reason.endswith(f"answers as {bundle.version_name} does: {rows} probe rows, 5 times")
    assert len(server.asked) == 5
    head, _, body = server.asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /predict/probe HTTP/1.1")
    assert f"X-API-Key: {KEY}".encode() in head
    customers = json.loads(body)
    assert len(customers) == rows
    assert all(set(customer) == set(bundle.probes) for customer in customers)
    assert bundle.schema.target.name not in customers[0]


def test_the_check_waits_for_the_model_and_restarts_its_five_answers(bundle: Bundle):
    new, old = http(200, right(bundle)), http(200, right(bundle, model_version="old-1"))
    answers = says(old, problem(422, "validation", "state is required"), new, old, new)
    found, server = checked(bundle, answers, seconds=ENOUGH)
    assert found.status == "passed"
    assert len(server.asked) == 4 + 5


@pytest.mark.parametrize(("each", "words"), [(45.0, "rows, once"), (15.0, "rows, 2 times"), (0.0, "rows, 3 times")])
def test_a_slow_server_passes_with_the_answers_there_was_time_for(
    bundle: Bundle, clock: Clock, each: float, words: str
):
    def slowly(connection: socket.socket, _number: int) -> None:
        clock.seconds += each
        connection.sendall(http(200, right(bundle)))

    found, _ = checked(bundle, slowly, seconds=ENOUGH)
    assert found.status == "passed"
    assert found.reason.endswith(words)


@pytest.mark.usefixtures("clock")
def test_a_rate_limit_does_not_fail_the_check(bundle: Bundle):
    busy, new = problem(429, "rate-limit", "more than 1 requests a second"), http(200, right(bundle))
    assert checked(bundle, says(busy), seconds=ENOUGH)[0].status == "not reached"
    found, _ = checked(bundle, says(new, busy), seconds=ENOUGH)
    assert found.status == "passed"
    assert found.reason.endswith("probe rows, once")
    old = http(200, right(bundle, model_version="old-1"))
    assert checked(bundle, says(old, busy), seconds=ENOUGH)[0].status == "failed"


@pytest.mark.parametrize("off", [2e-9, -2e-9, 0.5, float("nan"), float("inf"), 10**400])
def test_a_number_that_differs_is_a_failure_at_once(bundle: Bundle, off: float):
    answers = right(bundle)
    answers[-1]["churn_probability"] = off if off > 1 else answers[-1]["churn_probability"] + off
    found, server = checked(bundle, says(http(200, right(bundle)), http(200, answers)), seconds=ENOUGH)
    assert (found.status, found.rows) == ("failed", len(answers))
    assert f"for probe row {len(answers)}, but the model {bundle.version_name} itself gives" in found.reason
    assert len(server.asked) == 2


def test_a_number_may_differ_by_as_much_as_allowed(bundle: Bundle):
    answers = right(bundle)
    answers[0]["churn_probability"] += 2e-9
    with impostor(says(http(200, answers))) as server:
        assert check_deployment(bundle, server.url, seconds=ENOUGH, tolerance=1e-8).status == "passed"


@pytest.mark.parametrize("answers", [lambda rows: rows[:-1], lambda rows: rows + rows[:1]], ids=["fewer", "more"])
def test_another_number_of_answers_is_a_failure(bundle: Bundle, answers: Callable[[list[Any]], list[Any]]):
    found, _ = checked(bundle, says(http(200, answers(right(bundle)))), seconds=ENOUGH)
    assert found.status == "failed"
    assert "answers with" in found.reason


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (problem(500, "defect", "something went wrong here"), "(status 500): something went wrong here"),
        (problem(503, "no-model", "the deployed model is refused"), "(status 503): the deployed model is refused"),
        (problem(422, "no-score", "a value is so large"), "(status 422): a value is so large"),
        (problem(422, "validation", "evil\n\x1b[31m" + "x" * 10_000), "(status 422): evil  [31mxxx"),
    ],
    ids=["500", "503", "422", "long"],
)
def test_a_problem_that_stays_is_a_failure(bundle: Bundle, answer: bytes, words: str):
    found, server = checked(bundle, says(answer), seconds=ENOUGH)
    assert (found.status, found.rows) == ("failed", 0)
    assert words in found.reason
    assert server.asked[-1].startswith(b"GET /health/ready")


@pytest.mark.usefixtures("clock")
def test_a_model_that_stays_is_a_failure_naming_both_and_the_refusal(bundle: Bundle):
    def speak(connection: socket.socket, number: int) -> None:
        if server.asked[number - 1].startswith(b"GET /health/ready"):
            warnings = ["the newest deployment is refused: estimator.npz was changed"]
            connection.sendall(http(200, {"status": "ready", "model_version": "old-1", "warnings": warnings}))
        else:
            connection.sendall(http(200, right(bundle, model_version="old-1")))

    with impostor(speak) as server:
        found = check_deployment(bundle, server.url, seconds=ENOUGH)
    assert found.status == "failed"
    assert f"answers with old-1, not with {bundle.version_name}" in found.reason
    assert found.reason.endswith(": the newest deployment is refused: estimator.npz was changed")


NOT_THE_API = {
    "silent": b"",
    "no-http": b"SSH-2.0-OpenSSH_9.2\r\n",
    "page": http(200, b"<html>It works</html>", kind="text/html"),
    "json": http(200, {"status": "ok"}),
    "empty-list": http(200, []),
    "list": http(200, [SOME | {"model_version": 1}]),
    "texts": http(200, [SOME | {"churn_probability": "0.5"}]),
    "flags": http(200, [SOME | {"churn_probability": True}]),
    "cut": http(200, [1] * 100)[:-20],
    "not-found": http(404, b"nothing here", kind="text/plain"),
    "an-older-api": problem(404, "not-found", "there is nothing at this path"),
    "gateway": http(502, b"<html>Bad Gateway</html>", kind="text/html"),
    "other-problem": http(500, {"type": f"about:blank?{KEY}", "detail": KEY}, kind="application/problem+json"),
    "large": http(200, b" " * MAX_ANSWER_BYTES + b"[]"),
    "deep": http(200, b"[" * 100_000),
    "digits": http(200, b"1" * 10_000),
    "not-text": http(200, b"\xff\xfe\x00\xd8"),
    "many-headers": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000,
    "redirect-loop": http(307, b"", headers="Location: /predict/probe\r\n"),
}


@pytest.mark.parametrize("answer", NOT_THE_API.values(), ids=NOT_THE_API)
def test_another_program_at_the_address_does_not_fail_the_check(bundle: Bundle, answer: bytes):
    found, _ = checked(bundle, says(answer))
    assert (found.status, found.rows) == ("not reached", 0)


@pytest.mark.usefixtures("clock")
def test_the_api_that_goes_away_after_it_answered_is_a_failure(bundle: Bundle):
    for gone in (b"", http(502, b"Bad Gateway", kind="text/html")):
        found, _ = checked(bundle, says(http(200, right(bundle, model_version="old-1")), gone), seconds=ENOUGH)
        assert found.status == "failed"


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_not_accepted_ends_it_at_once(bundle: Bundle, status: int):
    found, server = checked(bundle, says(problem(status, "api-key", f"no: {KEY}")), seconds=ENOUGH)
    assert found.status == "not reached"
    assert "needs a key with the scope admin in CHURNOPS_RETRAINING__CHECK_KEY" in found.reason
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_the_key_stays_here(bundle: Bundle, status: int):
    with impostor(says(http(200, right(bundle)))) as elsewhere:
        found, _ = checked(bundle, says(http(status, b"", headers=f"Location: {elsewhere.url}/predict/probe\r\n")))
    assert found.status == "not reached"
    assert elsewhere.asked == []


def test_proxies_are_not_used(bundle: Bundle, monkeypatch: pytest.MonkeyPatch):
    with impostor(says(http(200, right(bundle)))) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        found, server = checked(bundle, says(http(200, right(bundle))), seconds=ENOUGH)
    assert found.status == "passed"
    assert len(server.asked) == 5
    assert proxy.asked == []


@pytest.mark.parametrize("begun", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n["], ids=["head", "body"])
def test_an_endless_answer_does_not_block_the_check(bundle: Bundle, begun: bytes):
    def trickle(connection: socket.socket, _number: int) -> None:
        connection.sendall(begun)
        while True:
            connection.sendall(b" ")
            time.sleep(0.02)

    assert checked(bundle, trickle)[0].status == "not reached"


def test_a_silent_server_does_not_block_the_check(bundle: Bundle):
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the system accepts for it
        found = check_deployment(bundle, f"http://127.0.0.1:{listener.getsockname()[1]}", key=KEY, seconds=SECONDS)
    assert found.status == "not reached"
    assert "does not answer within" in found.reason


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "[::1]:{port}", "localhost:{port}", "nowhere.invalid"])
def test_where_nothing_listens_there_is_no_answer(bundle: Bundle, host: str):
    found = check_deployment(bundle, "http://" + host.format(port=free_port()), key=KEY, seconds=ENOUGH)
    assert found.status == "not reached"
    assert "does not answer (" in found.reason


def test_a_server_that_does_not_speak_https_is_sent_no_key(bundle: Bundle):
    with impostor(says(http(200, right(bundle)))) as server:
        found = check_deployment(bundle, server.url.replace("http", "https"), key=KEY, seconds=SECONDS)
        assert found.status == "not reached"
        assert all(b"hunter2" not in asked for asked in server.asked)


def test_a_path_in_front_of_the_api_is_kept(bundle: Bundle):
    for path in ("/churn/v1", "/churn/v1/"):
        with impostor(says(http(200, right(bundle)))) as server:
            assert check_deployment(bundle, server.url + path, seconds=ENOUGH).status == "passed"
        assert server.asked[0].startswith(b"POST /churn/v1/predict/probe HTTP")
        assert b"X-API-Key" not in server.asked[0]


@pytest.mark.parametrize("key", ["hunter2\r\nX: y", "hunter2 ", "hünter2hunter2", "hunter2\x00"])
def test_a_key_that_cannot_be_one_is_not_sent_and_not_shown(bundle: Bundle, key: str):
    with impostor(says(http(200, right(bundle)))) as server:
        found = check_deployment(bundle, server.url, key=key, seconds=SECONDS)
    assert (found.status, server.asked) == ("not reached", [])
    assert "CHURNOPS_RETRAINING__CHECK_KEY" in found.reason
    assert "nter2" not in str(found)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "127.0.0.1:8000", "http://ann:hunter2@127.0.0.1", ""])
def test_an_invalid_address_is_not_reached_and_not_shown(bundle: Bundle, url: str):
    found = check_deployment(bundle, url, key=KEY, seconds=SECONDS)
    assert found.status == "not reached"
    assert found.reason.startswith("setting 'retraining.check_url' must be an address such as")
    assert "hunter2" not in found.reason


def test_a_check_is_kept_as_json():
    found = Check("failed", "why", 32, 0.5)
    assert json.loads(json.dumps(found.to_json())) == {
        "status": "failed",
        "reason": "why",
        "rows": 32,
        "seconds": 0.5,
    }
