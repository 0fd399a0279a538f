"""Work outside the event loop: bounded, stopped when its client leaves, and no obstacle for housekeeping."""

import asyncio
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.types import Message, Scope

from churnops.api import work
from churnops.api.main import create_app
from churnops.api.metrics import Metrics
from churnops.api.problems import Problem
from churnops.api.service import Service
from churnops.api.split import SplitAnswers
from churnops.api.uploads import ndjson, tables
from churnops.api.work import Room, Steps, Work
from churnops.decision.call_list import ListMaker
from churnops.journal.journal import Journal
from churnops.model import Bundle
from churnops.project import Project
from churnops.settings import Settings
from tests.support.api import a_customer, assert_problem, client_of, make_key
from tests.support.processes import PATIENCE, wait_for

LARGE = work.LARGE_BYTES + 1


class Gate:
    """Holds threads that pass until it is opened, and counts them."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self.passed = 0

    def __call__(self, *_: object, **__: object) -> Any:
        self.passed += 1
        assert self._open.wait(PATIENCE)

    @contextmanager
    def shut(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._open.set()


@pytest.mark.parametrize("size", [work.LOOP_BYTES + 1, LARGE])
def test_computation_ends_when_its_client_leaves(size: int):
    steps_taken: list[int] = []
    left = asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    def endless() -> Steps[None]:
        for number in range(10**9):
            steps_taken.append(number)
            if number == 3:
                loops[0].call_soon_threadsafe(left.set)
            yield

    async def receive() -> Message:
        await left.wait()
        return {"type": "http.disconnect"}

    async def scenario() -> str:
        loops.append(asyncio.get_running_loop())
        work = Work(2**20)
        with pytest.raises(Problem) as raised:
            await work.compute(receive, size, endless())
        after = len(steps_taken)
        assert await work.compute(_stays, size, _result("next")) == "next"  # the thread is free
        assert len(steps_taken) <= after + 1
        work.close()
        return raised.value.slug

    assert asyncio.run(scenario()) == "disconnected"


def test_computations_take_turns():
    order: list[str] = []

    def named(name: str) -> Steps[None]:
        for _ in range(3):
            order.append(name)
            yield

    async def scenario() -> None:
        work = Work(2**20)
        await asyncio.gather(*(work.compute(_stays, LARGE - 1, named(name)) for name in "ab"))
        work.close()

    asyncio.run(scenario())
    assert order == ["a", "b"] * 3


def test_large_bodies_are_computed_one_at_a_time():
    order: list[str] = []

    def named(name: str) -> Steps[None]:
        for _ in range(3):
            order.append(name)
            yield

    async def scenario() -> None:
        work = Work(2**20)
        await asyncio.gather(*(work.compute(_stays, LARGE, named(name)) for name in "ab"))
        work.close()

    asyncio.run(scenario())
    assert order == ["a"] * 3 + ["b"] * 3


def test_large_bodies_are_held_up_to_a_limit():
    room = Room(1000 * 2**10, "full")
    small, large, third = work.Held(room), work.Held(room), work.Held(room)
    small.add(work.LARGE_BYTES)  # not counted
    large.add(600 * 2**10)
    with pytest.raises(Problem, match="full"):
        third.add(600 * 2**10)
    third.close()
    large.exchange(2000 * 2**10)  # an answer is never refused
    with pytest.raises(Problem, match="full"):
        work.Held(room).add(100 * 2**10)
    large.close()
    work.Held(room).add(600 * 2**10)


def test_a_thread_passes_errors_on_and_survives():
    def fail() -> None:
        raise RuntimeError("on purpose")

    async def scenario() -> str:
        threads = work.Threads("test", 1)
        with pytest.raises(RuntimeError, match="on purpose"):
            await threads.run(fail)
        answer = await threads.run(str, 5)
        threads.close()
        return answer

    assert asyncio.run(scenario()) == "5"


def test_held_client_threads_do_not_delay_readiness_keys_or_models(
    api_settings: Settings, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
):
    gate = Gate()
    monkeypatch.setattr(SplitAnswers, "answer", gate)
    monkeypatch.setattr(Journal, "prediction", gate)
    monkeypatch.setattr(Journal, "record_labels", gate)
    batch = [a_customer() for _ in range(200)]
    label = {"customer_id": "C-1", "churned": True}
    with client_of(api_settings) as client, ThreadPoolExecutor(12) as pool, gate.shut():
        for _ in range(4):
            pool.submit(client.post, "/predict/batch", json=batch)
            pool.submit(client.post, "/labels", json=label)
            pool.submit(client.get, f"/predictions/{'0' * 36}")
        wait_for("all client threads are held", lambda: gate.passed >= 3)
        wait_for("it is ready", lambda: client.get("/health/ready").status_code == 200)
        token = make_key(api_settings, "predict")
        headers = {"x-api-key": token}
        wait_for("the new key is known", lambda: client.get("/model", headers=headers).status_code == 200)
        link = api_settings.path("models/production")
        copied = link.resolve().with_name("another")
        shutil.copytree(link.resolve(), copied)
        link.unlink()
        link.symlink_to(copied)
        app: Any = client.app
        wait_for("the new model answers", lambda: app.state.service.model.current.folder == "another")


@pytest.mark.parametrize("path", ["/predict/batch", "/labels"])
def test_requests_beyond_the_waiting_limit_are_refused(
    api_settings: Settings, monkeypatch: pytest.MonkeyPatch, path: str
):
    gate = Gate()
    monkeypatch.setattr(SplitAnswers, "answer", gate)
    monkeypatch.setattr(Journal, "record_labels", gate)
    monkeypatch.setattr(work, "COMPUTATIONS", 2)
    monkeypatch.setattr(work, "QUESTIONS", 2)
    body: Any = [a_customer()] * 200 if path == "/predict/batch" else {"customer_id": "C-1", "churned": True}
    with client_of(api_settings) as client, ThreadPoolExecutor(3) as pool, gate.shut():
        sent = [pool.submit(client.post, path, json=body) for _ in range(3)]
        response = wait_for("one of three is refused", lambda: next((s.result() for s in sent if s.done()), None))
        problem = assert_problem(response, 503)
        assert problem["type"].endswith(":busy")
        assert response.headers["retry-after"]


def test_call_lists_are_made_one_at_a_time_and_delay_no_query(api_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    gate = Gate()
    monkeypatch.setattr(ListMaker, "make", gate)
    label = {"customer_id": "C-1", "churned": True}
    with client_of(api_settings) as client, ThreadPoolExecutor(work.LISTS + 1) as pool, gate.shut():
        sent = [pool.submit(client.post, "/call-lists", json={}) for _ in range(work.LISTS + 1)]
        response = wait_for("one is refused", lambda: next((s.result() for s in sent if s.done()), None))
        assert assert_problem(response, 503)["detail"].startswith("4 call lists are being made")
        wait_for("one of the others is made", lambda: gate.passed)
        assert gate.passed == 1
        assert client.post("/labels", json=label).status_code == 200
        assert client.post("/predict", json=a_customer()).status_code == 200


def _stays() -> Any:
    return asyncio.Event().wait()


def _result(value: str) -> Steps[str]:
    yield
    return value


KINDS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "application/json": lambda rows: json.dumps(rows).encode(),
    "application/x-ndjson": lambda rows: "".join(json.dumps(row) + "\n" for row in rows).encode(),
    "text/csv": lambda rows: "\n".join(
        [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    ).encode(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_requests_are_abandoned_when_their_client_leaves(
    api_settings: Settings, monkeypatch: pytest.MonkeyPatch, kind: str
):
    """The client leaves at the first of 20 steps: few more steps follow."""
    monkeypatch.setattr(work, "STEP_ROWS", 50)
    monkeypatch.setattr("churnops.api.customers.STEP_ROWS", 50)
    monkeypatch.setattr(ndjson, "LINES", 50)
    monkeypatch.setattr(tables, "ROWS", 50)
    taken: list[int] = []
    left = asyncio.Event()
    take = work._step

    def counting(steps: Steps[Any]) -> Any:
        taken.append(1)
        loop.call_soon_threadsafe(left.set)
        return take(steps)

    monkeypatch.setattr(work, "_step", counting)
    body = KINDS[kind]([a_customer()] * 1000)
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])
    sent: list[Message] = []

    async def receive() -> Message:
        if message := next(messages, None):
            return message
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    async def scenario() -> None:
        app = create_app(api_settings)
        async with app.router.lifespan_context(app):
            await app(_scope("/predict/batch", kind, len(body)), receive, send)
            await asyncio.sleep(0.2)

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        runner.run(scenario())
    assert sent[0]["status"] == 400
    assert 1 <= len(taken) <= 10


def _scope(path: str, kind: str, size: int) -> Scope:
    headers = [
        (b"host", b"127.0.0.1"),
        (b"content-type", kind.encode()),
        (b"content-length", b"%d" % size),
    ]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }


def test_the_journal_stays_open_for_housekeeping_under_way(api_settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """A read after the close fails, or reads another file with the same number."""
    events: list[str] = []
    gate = Gate()
    close = Project.close
    monkeypatch.setattr(Project, "close", lambda project: (events.append("closed"), close(project)))

    async def scenario() -> None:
        service = Service(api_settings, Metrics())

        def reads() -> None:
            gate()
            events.append("read")

        with gate.shut():
            working = asyncio.ensure_future(service.work.housekeeping.run(reads))
            while not gate.passed:
                await asyncio.sleep(0.01)
            stopping = asyncio.ensure_future(service.stop())
            await asyncio.sleep(0.2)
            assert events == []
        await asyncio.gather(working, stopping)

    asyncio.run(scenario())
    assert events == ["read", "closed"]
