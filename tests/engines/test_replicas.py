"""Three replicas behind HAProxy, with a journal in PostgreSQL: deployed, killed and cut off while clients are asking.

`make endurance` runs the same tests with more deployments.
"""

import asyncio
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import psycopg
import pytest

from churnops.journal import open_database
from churnops.journal.replicas import ReplicaStore
from churnops.model import Bundle
from churnops.pipelines.run_all import RunSummary
from churnops.registry.replicas import Replica, replicas_of
from churnops.retraining.check import Check, check_deployment
from churnops.retraining.follow import check_replicas
from churnops.settings import Settings, load_settings
from tests.support.api import make_key
from tests.support.haproxy import EXAMPLE, Proxy, proxied
from tests.support.load import CLIENTS, Load, Recomputed, check_recorded
from tests.support.parts import find_part
from tests.support.postgres import Cluster, private_cluster
from tests.support.processes import PATIENCE, until, wait_for
from tests.support.projects import write_project
from tests.support.serving import Deployer, Server, recorded_rows

pytestmark = [pytest.mark.needs("postgresql"), pytest.mark.needs("haproxy")]
log = logging.getLogger("churnops.endurance")
DEPLOYMENTS = 50 if os.environ.get("ENDURANCE") else 4
NAMES = ("api-1", "api-2", "api-3")


@dataclass
class Fleet:
    """Replicas in folders of their own, which share the models and the journal."""

    cluster: Cluster
    servers: dict[str, Server]
    proxy: Proxy
    deployer: Deployer
    store: ReplicaStore
    key: str
    bundles: list[Bundle]  # deployed first, and those to deploy
    ids: "count[int]" = field(default_factory=count)

    def load(self, customers: list[dict[str, Any]]) -> Load:
        return Load(customers, self.key, reconnects=True, ids=self.ids)

    def deploy(self, number: int) -> Bundle:
        """Deploy one of two models."""
        bundle = self.bundles[1 + number % 2]
        self.deployer.deploy(bundle)
        return bundle

    def check(self, seconds: float = PATIENCE) -> Check:
        """Wait until every replica answers with the deployed model."""
        return check_replicas(self.store, self.deployer.folder.current() or "", seconds)

    def connections(self) -> int:
        """Return the number of the replicas' connections to the database, with one of this process."""
        with psycopg.connect(self.cluster.url.replace("+psycopg", "")) as connection:
            query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'churnops'"
            return int(connection.execute(query).fetchone()[0])  # type: ignore[index]

    def replicas(self) -> list[Replica]:
        return replicas_of(self.store.read(), self.deployer.folder.current())

    def states(self) -> list[str]:
        return [replica.state for replica in self.replicas()]

    def recorded(self, load: Load) -> list[tuple[Any, ...]]:
        """Return the journal's predictions of the customers of a load."""
        ids = {asked.customer_id for asked in load.asked}
        with psycopg.connect(self.cluster.url.replace("+psycopg", "")) as connection:
            return [row for row in recorded_rows(connection) if row[1] in ids]

    def check_answers(self, load: Load) -> None:
        """Fail unless each answer is exactly that of the model that it names."""
        recomputed = Recomputed(load.customers, self.bundles)
        for asked in load.acknowledged:
            assert asked.answer is not None
            recomputed.check(asked.row, asked.answer.json())


@pytest.fixture(scope="module")
def fleet(
    tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary], bundles: tuple[Bundle, Bundle]
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    shutil.copytree(project[0].path("models"), folder / "models", symlinks=True)
    with ExitStack() as stack:
        cluster = stack.enter_context(private_cluster())

        def settings_of(name: str) -> Settings:
            def change(document: dict[str, Any]) -> None:
                document["api"] |= {"rate_limit": 1e6, "public_metrics": True}
                document["journal"]["url"] = cluster.url
                document["registry"]["directory"] = str(folder / "models")

            (folder / name).mkdir()
            return load_settings(write_project(folder / name, change))

        settings = {name: settings_of(name) for name in NAMES}
        key = make_key(settings[NAMES[0]], "admin")
        servers = {name: stack.enter_context(Server(settings[name])) for name in NAMES}
        proxy = stack.enter_context(proxied({name: f"127.0.0.1:{server.port}" for name, server in servers.items()}))
        deployer = stack.enter_context(Deployer(settings[NAMES[0]]))
        engine = open_database(cluster.url)
        stack.callback(engine.dispose)
        first = Bundle.load(folder / "models/production")
        fleet = Fleet(cluster, servers, proxy, deployer, ReplicaStore(engine), key, [first, *bundles])
        wait_for("all replicas have reported", lambda: len(fleet.replicas()) == len(NAMES))
        yield fleet


def test_haproxy_accepts_the_example():
    program = find_part("haproxy")
    assert program is not None
    done = subprocess.run([program, "-c", "-f", str(EXAMPLE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "Configuration file is valid"), done.stderr


def test_deployments_fail_no_request_and_no_old_answer_follows(fleet: Fleet, customers):
    load = fleet.load(customers)
    settled: list[tuple[str, int, int]] = []  # between these two events no other version can have answered
    connections: list[int] = []

    async def work() -> None:
        async with load.on(fleet.proxy.port):
            for number in range(DEPLOYMENTS):
                bundle = await asyncio.to_thread(fleet.deploy, number)
                check = await asyncio.to_thread(fleet.check)
                assert check.reason == "replicas that answer with it: 3 of 3"
                since, known = load.events, len(load.acknowledged)
                await until("more answers", lambda k=known: len(load.acknowledged) >= k + 4 * CLIENTS)
                settled.append((bundle.version_name, since, load.events))
                connections.append(await asyncio.to_thread(fleet.connections))

    asyncio.run(work())
    bundle = fleet.deployer.folder.production()
    assert len(load.acknowledged) == len(load.asked)  # none failed
    for version, since, end in settled:
        between = [asked for asked in load.acknowledged if asked.sent > since and asked.done <= end]
        assert {asked.version for asked in between} == {version}
    fleet.check_answers(load)
    assert check_recorded(fleet.recorded(load), load) == 0
    check = check_deployment(bundle, f"http://127.0.0.1:{fleet.proxy.port}", key=fleet.key, seconds=PATIENCE)
    assert check.status == "passed", check
    answered = {name: int(row["hrsp_2xx"]) for name, row in fleet.proxy.statistics().items() if name in NAMES}
    assert min(answered.values()) > len(load.acknowledged) // 4
    assert max(connections) <= 10 * len(NAMES) + 1
    log.info(
        "%d deployments over three replicas: %d answers, none failed; at most %d connections to PostgreSQL",
        DEPLOYMENTS,
        len(load.acknowledged),
        max(connections),
    )


def test_every_replica_shows_the_live_counts_of_all(fleet: Fleet, customers):
    load = fleet.load(customers)
    bundle = fleet.deploy(DEPLOYMENTS)
    assert fleet.check().status == "passed"

    async def work() -> None:
        async with load.on(fleet.proxy.port):
            await until("answers", lambda: len(load.acknowledged) >= 200)

    asyncio.run(work())
    with psycopg.connect(fleet.cluster.url.replace("+psycopg", "")) as connection:
        query = "SELECT count(*) FROM predictions JOIN layouts ON layouts.id = layout WHERE model_version = %s"
        (expected,) = connection.execute(query, (bundle.version_name,)).fetchone() or (0,)
    for server in fleet.servers.values():
        wait_for("it shows all", lambda s=server: s.metric("churnops_live_rows") == expected)


def test_a_killed_replica_fails_only_requests_in_flight_on_it(fleet: Fleet, customers):
    load, killed = fleet.load(customers), fleet.servers["api-2"]
    events: list[int] = []
    checks: list[Check] = []

    async def work() -> None:
        async with load.on(fleet.proxy.port):
            await until("answers", lambda: len(load.acknowledged) >= 200)
            await asyncio.to_thread(fleet.deploy, DEPLOYMENTS + 1)
            events.append(load.events)
            killed.kill()
            await asyncio.to_thread(fleet.proxy.wait, "api-2", "DOWN")  # until then it may get a request
            events.append(load.events)
            await until("the others follow", lambda: fleet.states().count("current") >= 2)
            checks.append(await asyncio.to_thread(fleet.check, 2.0))
            known = len(load.acknowledged)
            await until("answers of the others", lambda: len(load.acknowledged) >= known + 200)
            await asyncio.to_thread(killed.start)
            fleet.proxy.move("api-2", killed.port)
            await asyncio.to_thread(fleet.proxy.wait, "api-2")
            known = len(load.acknowledged)
            await until("answers of all", lambda: len(load.acknowledged) >= known + 200)

    asyncio.run(work())
    failed = [asked for asked in load.asked if asked.answer is None or asked.answer.status != 200]
    assert len(failed) <= CLIENTS
    assert [asked for asked in failed if asked.sent > events[1] or asked.done <= events[0]] == []
    fleet.check_answers(load)
    unacknowledged = check_recorded(fleet.recorded(load), load)
    assert unacknowledged <= len(failed)
    assert checks[0].status == "passed", checks
    log.info(
        "a replica killed during a deployment: %d answers, %d requests in flight failed, %d of them recorded; %s",
        len(load.acknowledged),
        len(failed),
        unacknowledged,
        checks[0].reason,
    )


def test_a_drained_replica_stops_and_starts_without_a_failed_request(fleet: Fleet, customers):
    load, server, proxy = fleet.load(customers), fleet.servers["api-3"], fleet.proxy

    def restart() -> None:
        proxy.command("set server churnops/api-3 state drain")
        wait_for("it has no request", lambda: proxy.statistics()["api-3"]["scur"] == "0")
        port = server.port
        server.terminate()
        assert server.exit_code() == 0
        assert not any(replica.process.address.endswith(f":{port}") for replica in fleet.replicas())
        server.start()
        proxy.move("api-3", server.port)
        proxy.command("set server churnops/api-3 state ready")
        proxy.wait("api-3")

    async def work() -> None:
        async with load.on(fleet.proxy.port):
            await until("answers", lambda: len(load.acknowledged) >= 100)
            await asyncio.to_thread(restart)
            known = len(load.acknowledged)
            await until("more answers", lambda: len(load.acknowledged) >= known + 100)

    asyncio.run(work())
    assert len(load.acknowledged) == len(load.asked)
    assert check_recorded(fleet.recorded(load), load) == 0


def test_a_restart_of_postgresql_loses_and_doubles_nothing(fleet: Fleet, customers):
    load = fleet.load(customers)

    async def work() -> None:
        async with load.on(fleet.proxy.port):
            await until("answers", lambda: len(load.acknowledged) >= 200)
            await asyncio.to_thread(fleet.cluster.crash)
            await until("refusals", lambda: len(load.refused) >= CLIENTS)
            await asyncio.to_thread(fleet.cluster.start)
            for name in NAMES:
                await asyncio.to_thread(fleet.proxy.wait, name)
            known = len(load.acknowledged)
            await until("answers again", lambda: len(load.acknowledged) >= known + 200)

    asyncio.run(work())
    assert [asked for asked in load.asked if asked.answer is None] == []
    assert {asked.answer.status for asked in load.refused if asked.answer} == {503}
    fleet.check_answers(load)
    unacknowledged = check_recorded(fleet.recorded(load), load)
    assert unacknowledged <= len(load.refused)
    wait_for("all replicas report again", lambda: fleet.states().count("current") == len(NAMES))
    log.info(
        "PostgreSQL restarted under load: %d answers all recorded once, %d refused, %d of them recorded",
        len(load.acknowledged),
        len(load.refused),
        unacknowledged,
    )
