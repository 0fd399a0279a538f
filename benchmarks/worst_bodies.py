"""Worst bodies of each size, path and format: their time and memory, and the latency of an honest client meanwhile."""

import asyncio
import http.client
import itertools
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import IO, Any

import numpy as np

from benchmarks.bodies import CSV, FORMS, JSON, KIB, LABELS, MIB, NDJSON, ONE, PARQUET, Form
from benchmarks.harness import ROOT, Claim, Result
from benchmarks.serving import CLIENT_CORE, SERVER_CORE, served_project
from churnops.api.customers import CustomerForm
from churnops.data.read import encode, read_table
from churnops.data.validate import check_customers
from churnops.model import Bundle

PORT = 8105
REPEATS = 3
HONEST_RATE = 20.0  # requests a second of the honest client
AT_ONCE = 12  # largest bodies of labels sent together
NOTICEABLE = 0.05  # shortest time in seconds whose growth is not noise
TIMEOUT = 120.0
FORMATS = {JSON: "JSON", CSV: "CSV", NDJSON: "NDJSON", PARQUET: "Parquet"}


@dataclass(frozen=True)
class Cost:
    """Cost of a form's bodies: seconds and MiB above idle for each size, and the last answer's status."""

    form: Form
    seconds: Sequence[float]
    peaks: Sequence[float]
    status: int
    honest: Sequence[float]

    @property
    def growth(self) -> float:
        """Exponent of the seconds' growth with the size over the last step: 1 is linear."""
        sizes = self.form.sizes
        return math.log(self.seconds[-1] / self.seconds[-2]) / math.log(sizes[-1] / sizes[-2])


def measure() -> Result:
    """Send every form in every size, one after another, beside an honest client."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keys = _keys(folder)
        customer, *others = _customers(folder)
        with _serving(folder) as pid:
            for form in FORMS:
                if form.name.startswith("customers"):  # loads the format's libraries
                    _send(keys, form, form.make(form.sizes[0], customer))
            idle = _megabytes(pid, "VmRSS")
            with _honest(keys["predict"], [customer, *others]) as honest:
                costs = [_cost(form, customer, keys, pid, idle, honest) for form in FORMS]
                crowd = _crowd(customer, keys, pid, idle)
    return _result(costs, crowd, idle)


def _cost(form: Form, customer: Any, keys: Mapping[str, str], pid: int, idle: float, honest: "_Honest") -> Cost:
    started, seconds, peaks, status = time.monotonic(), [], [], 0
    for size in form.sizes:
        body, taken, peak = form.make(size, customer), [], 0.0
        for _ in range(REPEATS):
            _reset_peak(pid)
            begun = time.perf_counter()
            status = _send(keys, form, body)
            taken.append(time.perf_counter() - begun)
            peak = max(peak, _megabytes(pid, "VmHWM") - idle)
        seconds.append(statistics.median(taken))
        peaks.append(peak)
    return Cost(form, seconds, peaks, status, honest.since(started))


def _crowd(customer: Any, keys: Mapping[str, str], pid: int, idle: float) -> tuple[float, float, list[int]]:
    """Send the largest bodies of labels together; return MiB above idle, seconds, and the status of each answer."""
    form = next(form for form in FORMS if form.path == LABELS and form.name == "unknown keys in each object")
    body = form.make(form.sizes[-1], customer)
    _reset_peak(pid)
    begun = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        statuses = list(pool.map(lambda _: _send(keys, form, body), range(AT_ONCE)))
    return _megabytes(pid, "VmHWM") - idle, time.perf_counter() - begun, statuses


def _send(keys: Mapping[str, str], form: Form, body: bytes) -> int:
    """Send a body, read all of its answer, and return the status; 0 if the connection broke."""
    key = keys["label" if form.path == LABELS else "predict"]
    headers = {"Content-Type": form.media_type, "X-API-Key": key}
    with closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=TIMEOUT)) as connection:
        with suppress(BrokenPipeError, ConnectionResetError):  # refused before the end of the body
            connection.request("POST", form.path, body, headers)
        try:
            response = connection.getresponse()
            while response.read(MIB):
                pass
        except (http.client.HTTPException, OSError):
            return 0
        return response.status


class _Honest:
    """Client of `/predict` in its own process, with the waiting time of each request since it was due."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def since(self, started: float) -> list[float]:
        """Return the seconds of the requests that were due after `started` (`time.monotonic`)."""
        lines = self._file.read_text().splitlines()
        pairs = [tuple(map(float, line.split())) for line in lines if line.count(" ") == 1]
        return [taken for due, taken in pairs if due >= started]


@contextmanager
def _honest(key: str, customers: Sequence[Any]) -> Iterator[_Honest]:
    context = get_context("spawn")
    stop = context.Event()
    with tempfile.NamedTemporaryFile() as file:
        process = context.Process(target=_ask_always, args=(key, customers, stop, file.name), daemon=True)
        process.start()
        honest = _Honest(Path(file.name))
        while not honest.since(0.0):
            time.sleep(0.05)
        try:
            yield honest
        finally:
            stop.set()
            process.join()


def _ask_always(key: str, customers: Sequence[Any], stop: Event, name: str) -> None:
    head = f"POST {ONE} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: {JSON}\r\nx-api-key: {key}\r\ncontent-length: "
    bodies = [json.dumps(customer).encode() for customer in customers]
    os.sched_setaffinity(0, {int(CLIENT_CORE)})
    with Path(name).open("w", buffering=1, encoding="utf-8") as file:
        asyncio.run(_ask_on_time([head.encode() + b"%d\r\n\r\n%s" % (len(b), b) for b in bodies], stop, file))


async def _ask_on_time(requests: Sequence[bytes], stop: Event, file: IO[str]) -> None:
    """Send each request when it is due, even if earlier ones wait for their answers."""
    free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(request: bytes, due: float) -> None:
        if free and free[-1][0].at_eof():  # closed by the server after a pause
            free.clear()
        reader, writer = free.pop() if free else await asyncio.open_connection("127.0.0.1", PORT)
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        if not head.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"an honest request was answered with {head[:20]!r}")
        file.write(f"{due} {time.monotonic() - due}\n")
        free.append((reader, writer))

    due = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for request in itertools.cycle(requests):
            await asyncio.sleep(max(due - time.monotonic(), 0.0))
            if stop.is_set():
                break
            group.create_task(ask(request, due))
            due += 1.0 / HONEST_RATE


def _keys(folder: Path) -> dict[str, str]:
    """Make a project with a deployed model, and a key for each scope."""
    keys = {"predict": served_project(folder)}
    command = [str(Path(sys.executable).with_name("churnops")), "keys", "add", "labels", "--scope", "label", "--json"]
    made = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return keys | {"label": json.loads(made.stdout)["token"]}


def _customers(folder: Path) -> list[dict[str, Any]]:
    bundle = Bundle.load(folder / "models" / "production")
    table = read_table(ROOT / "data" / "raw" / "churn-20.csv").head(200)
    columns, form = encode(check_customers(table, bundle.schema, "raw"), bundle.schema), CustomerForm(bundle.schema)
    return [{"customer_id": f"C-{row}"} | form.example(columns, row) for row in range(table.height)]


@contextmanager
def _serving(folder: Path) -> Iterator[int]:
    """Run `churnops serve` on its core; yield the process id."""
    churnops = str(Path(sys.executable).with_name("churnops"))
    command = ["taskset", "-c", SERVER_CORE, churnops, "serve", "--port", str(PORT)]
    before = os.sched_getaffinity(0)
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
    try:
        os.sched_setaffinity(0, {int(CLIENT_CORE)})
        _wait(process)
        yield process.pid
    finally:
        os.sched_setaffinity(0, before)
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait(process: "subprocess.Popen[bytes]") -> None:
    for _ in range(1200):
        if process.poll() is not None:
            raise SystemExit("the server ended")
        with closing(http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)) as connection, suppress(OSError):
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise SystemExit("the server is not ready")


def _megabytes(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _result(costs: Sequence[Cost], crowd: tuple[float, float, list[int]], idle: float) -> Result:
    json_costs = [cost for cost in costs if cost.form.media_type == JSON]
    uploads = [cost for cost in costs if cost.form.media_type != JSON]
    honest = [taken * 1e3 for cost in costs for taken in cost.honest]
    grown = [cost.growth for cost in costs if cost.seconds[-2] > NOTICEABLE]
    peak, seconds, statuses = crowd
    refused = sum(status == 503 for status in statuses)
    slowest, largest = max(json_costs, key=lambda c: c.seconds[-1]), max(json_costs, key=lambda c: c.peaks[-1])
    return Result(
        title="Worst bodies",
        about=(
            f"`churnops serve` on one core, clients on the other. {len(costs)} forms of request body are sent one "
            f"after another, each in several sizes up to the limit (files: up to 16 MiB), each size {REPEATS} times. "
            f"Meanwhile an honest client sends {HONEST_RATE:g} `/predict` a second. Memory is the peak above the "
            f"{idle:.0f} MiB resident before the first body. Growth is the exponent g in time = constant × sizeᵍ, from "
            "the two largest sizes. It is shown for forms that take more than "
            f"{NOTICEABLE * 1e3:.0f} ms. Linear growth is 1."
        ),
        claims=[
            Claim(f"slowest JSON body (form: {slowest.form.name})", slowest.seconds[-1], "s", 2.0),
            Claim(f"largest memory of a JSON body (form: {largest.form.name})", largest.peaks[-1], "MiB", 150.0),
            Claim("steepest growth of time with size", max(grown, default=0.0), "", 1.25),
            Claim("honest `/predict`, median", float(np.median(honest)), "ms", 50.0),
            Claim("honest `/predict`, p99.9", float(np.quantile(honest, 0.999)), "ms", 250.0),
            Claim("slowest file", max(cost.seconds[-1] for cost in uploads), "s"),
            Claim("largest memory of a file", max(cost.peaks[-1] for cost in uploads), "MiB"),
            Claim(f"memory of {AT_ONCE} of the largest bodies of labels at once", peak, "MiB"),
        ],
        tables=[("Each form in its largest size, by path and format", _table(costs))],
        notes=[
            f"{AT_ONCE} of the largest bodies of labels, sent at once, were answered within {seconds:.1f} s, "
            f"{refused} of them with 503 `busy`."
        ],
    )


def _table(costs: Sequence[Cost]) -> list[list[str]]:
    header = ["path", "format", "body", "size", "status", "ms by size", "growth", "MiB", "honest median, worst (ms)"]
    return [
        header,
        *(
            [
                f"`{cost.form.path}`",
                FORMATS[cost.form.media_type],
                cost.form.name,
                f"{cost.form.sizes[-1] // KIB:,} KiB",
                str(cost.status or "closed"),
                " · ".join(f"{seconds * 1e3:,.0f}" for seconds in cost.seconds),
                f"{cost.growth:.2f}" if cost.seconds[-2] > NOTICEABLE else "",
                f"{max(cost.peaks[-1], 0.0):.0f}",
                f"{np.median(cost.honest) * 1e3:.1f}, {max(cost.honest) * 1e3:.0f}" if cost.honest else "",
            ]
            for cost in costs
        ),
    ]
