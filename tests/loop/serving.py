"""`churnops serve` in a process of its own, and clients that keep it busy and remember everything it said."""

import asyncio
import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

from churnops.api.customers import CustomerForm
from churnops.journal import DeploymentLog, open_database
from churnops.model import Bundle
from churnops.registry import DeploymentFolder
from churnops.settings import Settings
from tests.loop.test_mlflow_processes import free_port

SERVE = (sys.executable, "-m", "churnops.cli", "serve")
PATIENCE = 60.0  # seconds until what must happen counts as not happening; far beyond what it takes
CLIENTS = 16
RECORDED = (
    "id",
    "customer_id",
    "model_version",
    "churn_probability",
    "churn_prediction",
    "base_value",
    "explanation_scale",
    "top_shap_features",
    "inputs",
)


def wait_for(what: str, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Return what `condition` returns once it is true; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not after {seconds:g} seconds: {what}"
        time.sleep(0.02)


async def until(what: str, condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Do as `wait_for` does, beside the clients of this loop."""
    deadline = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        assert time.monotonic() < deadline, f"not after {seconds:g} seconds: {what}"
        await asyncio.sleep(0.001)


@dataclass(frozen=True)
class Answer:
    """One complete response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """`churnops serve` on a free port of loopback, in the project of `settings`; started again, it has another port."""

    def __init__(self, settings: Settings, *arguments: str, cwd: Path | None = None) -> None:
        self.settings = settings
        self._arguments = arguments
        self._cwd = cwd or settings.root
        self.temporary = settings.root / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self._log_path = settings.root / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
            self.kill()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.port = free_port()
        command = (*SERVE, "--port", str(self.port), *self._arguments)
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._cwd, stdout=log, stderr=log, env=os.environ | {"TMPDIR": str(self.temporary)}
            )
        wait_for("the service answers", self._lives)

    def unnamed_bytes(self) -> int:
        """Return the bytes of the files without a name that it has open in its temporary folder."""
        assert self._process is not None
        size = 0
        for path in Path(f"/proc/{self._process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed meanwhile
                if str(path.readlink()).startswith(f"{self.temporary}/#"):
                    size += path.stat().st_size
        return size

    def _lives(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.log()[-4000:]
        try:
            return self.get("/health/live").status == 200
        except OSError:
            return False

    def kill(self) -> None:
        """Kill it as nothing can be refused."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def terminate(self) -> None:
        """Tell it to stop."""
        assert self._process is not None
        self._process.terminate()

    def exit_code(self) -> int:
        """Wait until it has stopped."""
        assert self._process is not None
        return self._process.wait(timeout=PATIENCE)

    def refuses_connections(self) -> bool:
        """Whether nobody listens any more."""
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) != 0

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        kind: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request over a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request(
                method, path, body or None, dict(headers or {}) | ({"Content-Type": kind} if body else {})
            )
            response = connection.getresponse()
            answered = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, answered, response.read())

    def get(self, path: str) -> Answer:
        return self.ask("GET", path)

    def metric(self, name: str, *labels: str) -> float:
        """Return the sum of a metric over the lines that hold all `labels`."""
        lines = self.get("/metrics").body.decode().splitlines()
        found = [line for line in lines if line.partition(" ")[0].partition("{")[0] == name]
        return sum(float(line.rpartition(" ")[2]) for line in found if all(label in line for label in labels))

    def workers(self) -> set[int]:
        """Return the processes that answer, by the files that each keeps its metrics in."""
        files = self.temporary.glob("churnops-metrics-*/gauge_livemax_*.db")
        return {int(path.stem.rpartition("_")[2]) for path in files}

    def loaded(self) -> int:
        """Return how often a worker has said that it loaded a model; before the first time it is not ready."""
        return self.log().count(" answers, from ")

    @contextmanager
    def only(self, worker: int) -> Iterator[None]:
        """Let no other worker answer. Be short: uvicorn takes one that is stopped for seconds for dead."""
        others = self.workers() - {worker}
        _signal(others, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(others, signal.SIGCONT)


def _signal(processes: Iterable[int], number: signal.Signals) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


class Deployer:
    """Deploys as the product does, but for MLflow's aliases."""

    def __init__(self, settings: Settings, kind: type[DeploymentFolder] = DeploymentFolder) -> None:
        self._engine = open_database(settings.database_url(settings.journal.url))
        models = settings.path(settings.registry.directory)
        self.folder = kind(models, DeploymentLog(self._engine), lambda content_sha256: None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def deploy(self, bundle: Bundle) -> Path:
        with self.folder.locked():
            return self.folder.deploy(bundle, 1, "a test")


class Connection:
    """One HTTP/1.1 connection that is kept alive, for one request after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.received = b""  # of the answer under way

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int) -> AsyncIterator[Self]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    @staticmethod
    def head(method: str, path: str, length: int, kind: str = "application/json") -> bytes:
        lines = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        )
        return lines.encode()

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> Answer:
        self.writer.write(self.head(method, path, len(body), kind) + body)
        return await self.answer()

    async def answer(self) -> Answer:
        """Return the next response; if the connection ends first (OSError, EOFError), `received` is what came."""
        self.received = b""
        status, headers = await self.answer_head()
        if (length := headers.get("content-length")) is not None:
            body = await self._exactly(int(length))
        else:
            body = b"".join([chunk async for chunk in self.chunks()])
        self.received = b""
        return Answer(status, headers, body)

    async def answer_head(self) -> tuple[int, dict[str, str]]:
        head = await self._until(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")[:-2]
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(status.split(" ")[1]), headers

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the pieces of a streamed body."""
        while size := int(await self._until(b"\r\n"), 16):
            yield (await self._exactly(size + 2))[:-2]
        await self._until(b"\r\n")

    async def _until(self, mark: bytes) -> bytes:
        with self._remembering():
            self.received = data = await self._reader.readuntil(mark)
            return data

    async def _exactly(self, size: int) -> bytes:
        with self._remembering():
            return await self._reader.readexactly(size)

    @contextmanager
    def _remembering(self) -> Iterator[None]:
        try:
            yield
        except asyncio.IncompleteReadError as error:
            self.received += error.partial
            raise
        except OSError:  # the connection was reset; what had come before is still in the buffer
            self.received += bytes(self._reader._buffer)  # type: ignore[attr-defined]
            raise


@dataclass(slots=True)
class Asked:
    """One request: whose, when it was sent and answered (in the order of events), and what came back."""

    customer_id: str
    row: int
    sent: int
    done: int = 0
    seconds: float = 0.0
    answer: Answer | None = None
    broken: bytes | None = None  # what had come of the answer when the connection ended

    @property
    def version(self) -> str:
        """The version that the answer names."""
        assert self.answer is not None
        return str(self.answer.json()["model_version"])


@dataclass
class Load:
    """Clients that send one customer after another, each under an id of its own, until told to stop or cut off."""

    customers: Sequence[Mapping[str, Any]]
    ids: "count[int]" = field(default_factory=count)
    asked: list[Asked] = field(default_factory=list)
    acknowledged: list[Asked] = field(default_factory=list)
    refused: list[Asked] = field(default_factory=list)
    in_flight: int = 0
    events: int = 0
    _stopped: bool = False

    @asynccontextmanager
    async def on(self, port: int, clients: int = CLIENTS) -> AsyncIterator[Self]:
        """Send requests until the block ends; what is under way then is answered."""
        self._stopped = False
        bodies = [json.dumps(customer).encode()[1:] for customer in self.customers]
        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(self._client(port, bodies))
            try:
                yield self
            finally:
                self._stopped = True

    async def _client(self, port: int, bodies: Sequence[bytes]) -> None:
        async with Connection.open(port) as connection:
            while not self._stopped:
                number = next(self.ids)
                asked = Asked(f"C-{number}", number % len(bodies), self._event())
                self.asked.append(asked)
                body = b'{"customer_id": "%b", %b' % (asked.customer_id.encode(), bodies[asked.row])
                started = time.perf_counter()
                self.in_flight += 1
                try:
                    asked.answer = await connection.ask("POST", "/predict", body)
                except (OSError, EOFError):
                    asked.broken = connection.received
                    return
                finally:
                    self.in_flight -= 1
                    asked.done, asked.seconds = self._event(), time.perf_counter() - started
                (self.acknowledged if asked.answer.status == 200 else self.refused).append(asked)

    def _event(self) -> int:
        self.events += 1
        return self.events


class Recomputed:
    """What each of some bundles answers for each of some customers."""

    def __init__(self, customers: Sequence[Mapping[str, Any]], bundles: Iterable[Bundle]) -> None:
        self._answers = {bundle.version_name: _answers(bundle, customers) for bundle in bundles}

    def check(self, row: int, answer: Mapping[str, Any]) -> None:
        """Fail unless the version that an answer names gives exactly this answer for the customer of this row."""
        expected = self._answers[answer["model_version"]][row]
        found = {name: answer[name] for name in expected}
        assert found == expected, f"customer {row}: {found} is not what its version answers, {expected}"


def _answers(bundle: Bundle, customers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    form = CustomerForm(bundle.schema)
    explanation = bundle.explain(form.encode(form.read_all([dict(customer) for customer in customers])))
    positions, values = explanation.top(bundle.selected)
    return [
        {
            "churn_probability": float(explanation.prediction.probability[row]),
            "base_value": explanation.base_value,
            "top_shap_features": [
                {"feature": bundle.selected[feature], "shap_value": share}
                for feature, share in zip(positions[row].tolist(), values[row].tolist(), strict=True)
            ],
        }
        for row in range(len(customers))
    ]


def sqlite_rows(settings: Settings) -> list[tuple[Any, ...]]:
    """Return the journal's predictions, as `RECORDED` names their columns."""
    with closing(sqlite3.connect(settings.path("journal.db"))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return connection.execute(f"SELECT {', '.join(RECORDED)} FROM predictions").fetchall()


def check_recorded(rows: Iterable[tuple[Any, ...]], load: Load) -> int:
    """Fail unless every acknowledged answer is in the journal as it was sent, once; return how many more rows are."""
    documents = [dict(zip(RECORDED, row, strict=True)) for row in rows]
    by_id = {document["id"]: document for document in documents}
    assert len(by_id) == len(documents), "an id is in the journal twice"
    assert len({document["customer_id"] for document in documents}) == len(documents), "a request is recorded twice"
    answers = [(asked, asked.answer.json()) for asked in load.acknowledged if asked.answer]
    assert len({answer["prediction_id"] for _, answer in answers}) == len(answers), "two answers have one id"
    for asked, answer in answers:
        row = by_id.get(answer["prediction_id"])
        assert row is not None, f"acknowledged, and not in the journal: {answer}"
        expected = answer | {
            "id": answer["prediction_id"],
            "customer_id": asked.customer_id,
            "inputs": load.customers[asked.row],
        }
        found = row | {name: json.loads(row[name]) for name in ("top_shap_features", "inputs")}
        assert found == {name: expected[name] for name in RECORDED}, f"{found} is not what was answered, {expected}"
    return len(documents) - len(answers)
