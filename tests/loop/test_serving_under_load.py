"""The service as a process: killed, redeployed, cut off from its database and stopped while clients are asking.

`make endurance` runs the same tests with more kills, answers and deployments.
"""

import asyncio
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from churnops.journal.deployment_log import Intent
from churnops.model import Bundle
from churnops.registry.place import Place
from churnops.settings import Settings
from tests.support.api import make_key
from tests.support.load import CLIENTS, Connection, Load, Recomputed, check_recorded
from tests.support.postgres import private_cluster
from tests.support.processes import run, run_fresh, until, wait_for
from tests.support.serving import SERVE, Deployer, Server, recorded_rows, sqlite_rows

log = logging.getLogger("churnops.endurance")
ENDURANCE = bool(os.environ.get("ENDURANCE"))
KILLS, ANSWERS, DEPLOYMENTS = (20, 20_000, 50) if ENDURANCE else (3, 1_500, 8)
PROBLEM = "application/problem+json"


def body_of(customers: list[dict[str, Any]]) -> bytes:
    return json.dumps(customers[0]).encode()


def test_acknowledged_predictions_survive_any_kill_of_the_service(make_settings, customers):
    settings, load, chance = make_settings(), Load(customers), random.Random(42)
    server = Server(settings)
    in_flight: list[int] = []

    async def life(answers: int) -> None:
        known = len(load.acknowledged)
        async with load.on(server.port):
            await until(f"{answers} answers", lambda: load.refused or len(load.acknowledged) - known >= answers)
            await asyncio.sleep(chance.uniform(0.0, 0.005))  # any moment of a request's way
            in_flight.append(load.in_flight)
            server.kill()

    with server:
        for number in range(KILLS + 1):
            left = ANSWERS - len(load.acknowledged)
            mean = max(left, 1) // (KILLS + 1 - number)
            last = number == KILLS
            asyncio.run(life(left if last else chance.randint(mean // 2, mean * 3 // 2)))
            if not last:
                server.start()
    assert len(load.acknowledged) >= ANSWERS
    assert min(in_flight) >= CLIENTS // 2, in_flight
    assert [asked.answer for asked in load.refused] == []
    unacknowledged = check_recorded(sqlite_rows(settings), load)
    assert unacknowledged <= sum(in_flight)
    torn = sum(bool(asked.broken) for asked in load.asked)
    log.info(
        "%d kills with %d to %d requests in flight, %d answers acknowledged: all in the journal, none twice; "
        "%d recorded and not answered, %d answers torn",
        len(in_flight),
        min(in_flight),
        max(in_flight),
        len(load.acknowledged),
        unacknowledged,
        torn,
    )


def test_every_answer_is_wholly_from_its_named_version_during_swaps(make_settings, bundles, customers):
    settings, load = make_settings(), Load(customers)
    initial = Bundle.load(settings.path("models/production"))
    settled: list[tuple[str, int, int]] = []  # between these two events no other version can have answered

    async def settle(version: str) -> None:
        def answered() -> bool:
            assert load.refused == []
            return bool(load.acknowledged) and load.acknowledged[-1].version == version

        await until(f"{version} answers", answered)
        since, known = load.events, len(load.acknowledged)
        await until("more answers", lambda: len(load.acknowledged) >= known + 2 * CLIENTS)
        settled.append((version, since, load.events))

    async def swap(server: Server, deployer: Deployer) -> None:
        async with load.on(server.port):
            await settle(initial.version_name)
            for number in range(DEPLOYMENTS):
                bundle = bundles[number % 2]
                await asyncio.to_thread(deployer.deploy, bundle)
                await settle(bundle.version_name)

    with Server(settings) as server, Deployer(settings) as deployer:
        asyncio.run(swap(server, deployer))
        assert server.get("/health/ready").json()["warnings"] == []
    assert len(load.acknowledged) == len(load.asked)  # none failed
    recomputed = Recomputed(customers, (initial, *bundles))
    for asked in load.acknowledged:
        recomputed.check(asked.row, asked.answer.json())
    for version, since, end in settled:
        between = [asked for asked in load.acknowledged if asked.sent > since and asked.done <= end]
        assert {asked.version for asked in between} == {version}
    assert {asked.version for asked in load.acknowledged} == {b.version_name for b in (initial, *bundles)}
    assert check_recorded(sqlite_rows(settings), load) == 0
    log.info(
        "%d deployments under load, %d answers recomputed: all equal, none failed", DEPLOYMENTS, len(load.acknowledged)
    )


class FlipsAByte(Place):
    """A place whose bundle is damaged after its check and before the link moves."""

    def swap(self, intent: Intent) -> None:
        flip(self.versions / intent.folder / "estimator.npz")
        super().swap(intent)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_until_a_damaged_deployment_is_repaired_the_old_one_answers(make_settings, bundles, customers):
    settings, body = make_settings(), body_of(customers)
    good, damaged = bundles

    def version() -> str:
        return server.ask("POST", "/predict", body).json()["model_version"]

    def warnings() -> list[str]:
        return server.get("/health/ready").json()["warnings"]

    with Server(settings) as server, Deployer(settings) as deployer, Deployer(settings, FlipsAByte) as damager:
        old = version()
        folder = damager.deploy(damaged)
        (warning,) = wait_for("the service says that the deployment is refused", warnings)
        assert "estimator.npz was changed: its hash differs" in warning
        wait_for("a gauge shows it, too", lambda: server.metric("churnops_model_refused") == 1)
        for repeated in range(2):
            reload = server.ask("POST", "/model/reload")
            assert (reload.status, reload.headers["content-type"]) == (409, PROBLEM), repeated
            assert "estimator.npz was changed" in reload.json()["detail"]
            for text in (reload.body.decode(), warning):
                assert "/" not in text.replace(PROBLEM, "").replace(r"\/", "/"), text
        assert version() == old
        assert server.get("/health/ready").status == 200

        flip(folder / "estimator.npz")  # repaired in its place: the link does not move, so somebody must say so
        assert server.ask("POST", "/model/reload").json()["model_version"] == damaged.version_name
        assert (warnings(), server.metric("churnops_model_refused")) == ([], 0)
        assert version() == damaged.version_name

        damager.deploy(good)
        wait_for("the second one is refused too", warnings)
        deployer.deploy(good)
        wait_for("a good deployment clears the warning", lambda: not warnings())
        assert version() == good.version_name
        wait_for("a gauge shows it", lambda: server.metric("churnops_model_info", good.version_name) == 1)
        assert server.metric("churnops_model_refused") == 0
        assert server.metric("churnops_model_info") == 1


def test_after_a_broken_link_the_service_follows_the_next_deployment(make_settings, bundles, customers):
    settings, body = make_settings(), body_of(customers)
    link = settings.path("models/production")
    with Server(settings) as server, Deployer(settings) as deployer:
        for target in ("versions/nothing", "production"):  # the second one is a link to itself
            link.unlink()
            link.symlink_to(target)
            wait_for("the service says so", lambda: server.get("/health/ready").json()["warnings"])
            for bundle in bundles:
                deployer.deploy(bundle)
                wait_for(
                    f"{bundle.version_name} answers",
                    lambda v=bundle.version_name: server.ask("POST", "/predict", body).json()["model_version"] == v,
                )


@pytest.fixture
def pair(make_settings) -> Iterator[Server]:
    with Server(make_settings(), "--workers", "2") as server:
        wait_for("two workers have loaded the model", lambda: server.loaded() == 2)
        yield server


def test_two_workers_follow_a_deployment_and_count_together(pair: Server, bundles, customers):
    body, (one, other) = body_of(customers), sorted(pair.workers())

    def by_worker(worker: int) -> str:
        with pair.only(worker):
            return pair.ask("POST", "/predict", body).json()["model_version"]

    assert by_worker(one) == by_worker(other)
    new = bundles[0].version_name
    with Deployer(pair.settings) as deployer:
        deployer.deploy(bundles[0])
    for worker in (one, other):
        wait_for("the worker answers with the new model", lambda w=worker: by_worker(w) == new)
    before = pair.metric("churnops_predictions_total")
    for worker, requests in ((one, 3), (other, 5)):
        with pair.only(worker):
            for _ in range(requests):
                assert pair.ask("POST", "/predict", body).status == 200
    load = Load(customers)

    async def some() -> None:
        async with load.on(pair.port):
            await until("answers", lambda: len(load.acknowledged) >= 200)

    asyncio.run(some())
    expected = before + 3 + 5 + len(load.acknowledged)

    def answered() -> float:
        return pair.metric("churnops_http_request_seconds_count", 'route="/predict"', 'status="200"')

    wait_for("all are counted, which happens after the answer", lambda: answered() == expected)
    for worker in (one, other):
        with pair.only(worker):
            assert answered() == expected
            assert pair.metric("churnops_predictions_total") == expected
            assert pair.metric("churnops_model_info", new) == 1
            assert pair.metric("churnops_model_info") == 1
    pair.terminate()
    assert pair.exit_code() == 0
    assert list(pair.temporary.iterdir()) == []


def test_a_worker_that_died_is_replaced_and_forgotten(pair: Server, bundles, customers):
    before = pair.workers()
    with Deployer(pair.settings, FlipsAByte) as damager:
        damager.deploy(bundles[0])
    wait_for("the deployment is refused", lambda: pair.metric("churnops_model_refused") == 1)
    for worker in before:
        os.kill(worker, signal.SIGKILL)
    wait_for("new workers", lambda: len(pair.workers() - before) == 2)
    with Deployer(pair.settings) as deployer:
        deployer.deploy(bundles[1])
    wait_for("the new workers have loaded the model", lambda: pair.loaded() == 4)
    body = body_of(customers)
    for worker in pair.workers() - before:

        def version(worker: int = worker) -> Any:
            with pair.only(worker):
                return pair.ask("POST", "/predict", body).json().get("model_version")

        wait_for("a new worker answers with the new model", lambda: version() == bundles[1].version_name)
    wait_for("the gauges are the new workers'", lambda: pair.metric("churnops_model_refused") == 0)
    wait_for("they show one model", lambda: pair.metric("churnops_model_info") == 1)


@pytest.mark.needs("postgresql")
def test_a_database_that_stops_or_hangs_costs_503s_and_nothing_else(make_settings, customers):
    load, timeout = Load(customers), 2.0
    with private_cluster() as cluster:
        settings = make_settings(journal={"url": cluster.url}, api={"timeout_seconds": timeout, "rate_limit": 1e6})
        url = cluster.url.replace("+psycopg", "")

        async def answers_again(server: Server) -> None:
            known = len(load.acknowledged)
            await until("answers", lambda: len(load.acknowledged) >= known + 200)
            await until("the service is ready", lambda: server.get("/health/ready").status == 200)

        async def refuses(server: Server) -> None:
            known = len(load.refused)
            await until("refusals", lambda: len(load.refused) >= known + CLIENTS)
            ready = await asyncio.to_thread(server.get, "/health/ready")
            assert (ready.status, ready.headers["content-type"]) == (503, PROBLEM)

        async def outages(server: Server) -> None:
            async with load.on(server.port):
                await answers_again(server)
                await asyncio.to_thread(cluster.crash)
                await refuses(server)
                await asyncio.to_thread(cluster.start)
                await answers_again(server)
                with psycopg.connect(url) as connection:
                    connection.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
                    await refuses(server)
                await answers_again(server)

        with Server(settings) as server:
            asyncio.run(outages(server))
        with psycopg.connect(url) as connection:
            rows = recorded_rows(connection)
    assert [asked for asked in load.asked if asked.answer is None] == []
    kinds = {(a.answer.status, a.answer.headers["content-type"], a.answer.json()["type"]) for a in load.refused}
    assert kinds == {(503, PROBLEM, "urn:churnops:problem:journal")}
    longest = max(asked.seconds for asked in load.asked)
    assert longest < timeout + 60.0  # far from the minutes that a hanging database could take
    unacknowledged = check_recorded(rows, load)
    assert unacknowledged <= len(load.refused)
    log.info(
        "PostgreSQL stopped, started, hanging: %d answers all there, none twice; %d requests refused with 503, "
        "%d of them recorded; longest %.2f s",
        len(load.acknowledged),
        len(load.refused),
        unacknowledged,
        longest,
    )


def test_when_stopped_the_service_answers_accepted_requests(make_settings, customers):
    settings, load = make_settings(), Load(customers)
    in_flight = 0

    async def stop(server: Server) -> None:
        nonlocal in_flight
        async with load.on(server.port):
            await until("answers", lambda: len(load.acknowledged) >= 300)
            in_flight = load.in_flight
            server.terminate()
            await until("every connection is closed", lambda: load.in_flight == 0)

    with Server(settings) as server:
        asyncio.run(stop(server))
        server.exit_code()
    assert in_flight >= CLIENTS // 2
    assert load.refused == []
    assert [asked.broken for asked in load.asked if asked.broken] == []  # no torn answer
    assert check_recorded(sqlite_rows(settings), load) == 0  # what was recorded was answered
    log.info(
        "stopped with %d requests in flight: no answer torn, all %d recorded and acknowledged",
        in_flight,
        len(load.acknowledged),
    )


def test_when_stopped_it_exits_with_0_and_leaves_no_temporary_file(make_settings):
    with Server(make_settings()) as server:
        server.terminate()
        assert server.exit_code() == 0
    assert list(server.temporary.iterdir()) == []


def test_when_stopped_the_service_finishes_uploads(make_settings, customers):
    settings = make_settings()
    lines = [json.dumps(customer | {"customer_id": f"U-{n}"}) + "\n" for n, customer in enumerate(customers * 200)]
    table = "".join(lines).encode()
    half = len(table) // 2
    kind = "application/x-ndjson"

    async def stop(server: Server) -> list[list[str]]:
        async with Connection.open(server.port) as arriving, Connection.open(server.port) as leaving:
            head = Connection.head("POST", "/predict/batch", len(table), kind)
            leaving.writer.write(head + table)
            status, _ = await leaving.answer_head()
            pieces = leaving.chunks()
            first = await anext(pieces)  # the rest is scored while we go on
            before = set(server.unnamed_files())
            arriving.writer.write(head + table[:half])
            await arriving.writer.drain()
            # What the server has not begun to read when it is told to stop, it need not finish.
            await until(
                "the upload has begun to arrive",
                lambda: any(size for file, size in server.unnamed_files().items() if file not in before),
            )
            server.terminate()
            await until("no new connection is accepted", server.refuses_connections)
            arriving.writer.write(table[half:])
            rest = b"".join([piece async for piece in pieces])
            answer = await arriving.answer()
            assert (status, answer.status) == (200, 200)
            return [
                [json.loads(line)["prediction_id"] for line in content.splitlines()]
                for content in (first + rest, answer.body)
            ]

    with Server(settings) as server:
        answered = asyncio.run(stop(server))
        server.exit_code()
    recorded = {row[0] for row in sqlite_rows(settings)}
    for ids in answered:
        assert len(set(ids)) == len(lines)
        assert set(ids) <= recorded
    assert len(recorded) == 2 * len(lines)


def serve(settings: Settings, *arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    return run(*SERVE, *arguments, cwd=settings.root, code=code)


def test_it_is_not_reachable_from_elsewhere_without_keys(make_settings):
    done = serve(make_settings(), "--host", "0.0.0.0", code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: no API key is valid, and other machines can reach 0.0.0.0")
    assert "churnops keys add" in line


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_port_that_is_taken_is_one_line(make_settings, workers: str):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = serve(make_settings(), "--port", port, "--workers", workers, code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: port {port} of 127.0.0.1 is in use: ")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_prints_its_address_and_that_no_model_is_deployed(make_settings, workers: str):
    with Server(make_settings(deployed=False), "--workers", workers) as server:
        wait_for("the lines are printed", lambda: "no model is deployed" in server.log())
        shown = [line for line in server.log().splitlines() if not line.startswith("{")]
    assert shown == [
        f"http://127.0.0.1:{server.port}  (Ctrl-C stops)",
        "no model is deployed, so predictions are refused (503): run `churnops run`",
    ]


def test_an_address_of_another_machine_is_one_line(make_settings):
    settings = make_settings()
    make_key(settings, "predict")
    done = serve(settings, "--host", "192.0.2.1", code=2)
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: cannot listen on 192.0.2.1, port 8000: ")


def test_help_teaches(make_settings):
    done = serve(make_settings(), "--help")
    for word in ("--host", "--port", "--workers", "API key", "SIGTERM", "curl", "/health/ready"):
        assert word in done.stdout, word


def test_without_a_model_it_starts_and_answers_once_there_is_one(make_settings, bundles, customers):
    settings, body = make_settings(deployed=False), body_of(customers)
    with Server(settings) as server:
        for answer in (server.get("/health/ready"), server.ask("POST", "/predict", body), server.get("/model")):
            assert (answer.status, answer.headers["content-type"]) == (503, PROBLEM)
            assert answer.headers["retry-after"] == "5"
            assert "churnops run" in answer.json()["detail"]
        with Deployer(settings) as deployer:
            deployer.deploy(bundles[0])
        wait_for("the first model answers", lambda: server.get("/health/ready").status == 200)
        assert server.ask("POST", "/predict", body).json()["model_version"] == bundles[0].version_name


LOADED = """
import json, sys
from starlette.testclient import TestClient
from churnops.api.main import app

def loaded():
    names = "mlflow sklearn xgboost pandas matplotlib polars pyarrow scipy.stats".split()
    return [name for name in names if name in sys.modules]

customer = json.loads(sys.argv[1])
with TestClient(app, base_url="http://127.0.0.1", client=("127.0.0.1", 50000)) as client:
    statuses = [client.post("/predict", json=customer).status_code]
    first = loaded()
    table = ",".join(customer) + "\\n" + ",".join(map(str, customer.values())) + "\\n"
    answer = client.post("/predict/batch", content=table, headers={"content-type": "text/csv"})
    statuses.append(answer.status_code)
print(json.dumps([statuses, first, loaded()]))
"""


def test_one_answer_loads_neither_training_nor_table_libraries(make_settings, customers):
    settings = make_settings()
    done = run_fresh(sys.executable, "-c", LOADED, json.dumps(customers[0]), cwd=settings.root)
    statuses, first, then = json.loads(done.stdout)
    assert statuses == [200, 200]
    assert first == []
    assert set(then) <= {"polars", "pyarrow"}
