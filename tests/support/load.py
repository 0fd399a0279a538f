"""Clients that keep a service busy and keep every answer."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Self

from churnops.api.customers import CustomerForm
from churnops.model import Bundle
from tests.support.serving import RECORDED, Answer

CLIENTS = 16


class Connection:
    """One HTTP/1.1 connection for several requests."""

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
    def head(method: str, path: str, length: int, kind: str = "application/json", key: str = "") -> bytes:
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", f"Content-Length: {length}"]
        if key:
            lines.append(f"X-API-Key: {key}")
        return "\r\n".join([*lines, "", ""]).encode()

    async def ask(self, method: str, path: str, body: bytes = b"", key: str = "") -> Answer:
        self.writer.write(self.head(method, path, len(body), key=key) + body)
        return await self.answer()

    async def answer(self) -> Answer:
        """Return the next response. If the connection ends first (OSError, EOFError), `received` has its start."""
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
        except OSError:  # the connection was reset; earlier bytes are still in the buffer
            self.received += bytes(self._reader._buffer)  # type: ignore[attr-defined]
            raise


@dataclass(slots=True)
class Asked:
    """One request: its customer, the numbers of the events of sending and answering, and its answer."""

    customer_id: str
    row: int
    sent: int
    done: int = 0
    seconds: float = 0.0
    answer: Answer | None = None
    broken: bytes | None = None  # bytes of the answer when the connection ended

    @property
    def version(self) -> str:
        """Model version in the answer."""
        assert self.answer is not None
        return str(self.answer.json()["model_version"])


@dataclass
class Load:
    """Clients that send one customer after another, each with a new id, until the block or the connection ends.

    With `reconnects`, a client whose connection ended opens another.
    """

    customers: Sequence[Mapping[str, Any]]
    key: str = ""
    reconnects: bool = False
    ids: "count[int]" = field(default_factory=count)
    asked: list[Asked] = field(default_factory=list)
    acknowledged: list[Asked] = field(default_factory=list)
    refused: list[Asked] = field(default_factory=list)
    in_flight: int = 0
    events: int = 0
    _stopped: bool = False

    @asynccontextmanager
    async def on(self, port: int, clients: int = CLIENTS) -> AsyncIterator[Self]:
        """Send requests until the block ends, and wait for the last answers."""
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
        goes_on = True
        while goes_on and not self._stopped:
            async with Connection.open(port) as connection:
                goes_on = await self._use(connection, bodies)

    async def _use(self, connection: Connection, bodies: Sequence[bytes]) -> bool:
        """Send requests over one connection; return whether the client goes on with another."""
        while not self._stopped:
            number = next(self.ids)
            asked = Asked(f"C-{number}", number % len(bodies), self._event())
            self.asked.append(asked)
            body = b'{"customer_id": "%b", %b' % (asked.customer_id.encode(), bodies[asked.row])
            started = time.perf_counter()
            self.in_flight += 1
            try:
                asked.answer = await connection.ask("POST", "/predict", body, self.key)
            except (OSError, EOFError):
                asked.broken = connection.received
                return self.reconnects
            finally:
                self.in_flight -= 1
                asked.done, asked.seconds = self._event(), time.perf_counter() - started
            (self.acknowledged if asked.answer.status == 200 else self.refused).append(asked)
            if asked.answer.headers.get("connection") == "close":
                return self.reconnects
        return False

    def _event(self) -> int:
        self.events += 1
        return self.events


class Recomputed:
    """Expected answers of several bundles for several customers."""

    def __init__(self, customers: Sequence[Mapping[str, Any]], bundles: Iterable[Bundle]) -> None:
        self._answers = {bundle.version_name: _answers(bundle, customers) for bundle in bundles}

    def check(self, row: int, answer: Mapping[str, Any]) -> None:
        """Fail unless an answer is exactly that of its model version for the customer of this row."""
        expected = self._answers[answer["model_version"]][row]
        actual = {name: answer[name] for name in expected}
        assert actual == expected, f"customer {row}: {actual} instead of its version's answer, {expected}"


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


def check_recorded(rows: Iterable[tuple[Any, ...]], load: Load) -> int:
    """Fail unless the journal has every acknowledged answer once and unchanged; return the number of other rows."""
    documents = [dict(zip(RECORDED, row, strict=True)) for row in rows]
    by_id = {document["id"]: document for document in documents}
    assert len(by_id) == len(documents), "an id is in the journal twice"
    assert len({document["customer_id"] for document in documents}) == len(documents), "a request is recorded twice"
    answers = [(asked, asked.answer.json()) for asked in load.acknowledged if asked.answer]
    assert len({answer["prediction_id"] for _, answer in answers}) == len(answers), "two answers have one id"
    for asked, answer in answers:
        row = by_id.get(answer["prediction_id"])
        assert row is not None, f"acknowledged but not in the journal: {answer}"
        expected = answer | {
            "id": answer["prediction_id"],
            "customer_id": asked.customer_id,
            "inputs": load.customers[asked.row],
        }
        assert row == {name: expected[name] for name in RECORDED}, f"{row} instead of the answer, {expected}"
    return len(documents) - len(answers)
