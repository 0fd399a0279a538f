"""The journal through PgBouncer in transaction mode, which gives each transaction any session of the server."""

import asyncio
import json
from pathlib import Path

import psycopg
import pytest

from churnops.journal import open_database
from churnops.journal.turn import turn
from churnops.model import Bundle
from tests.support.load import CLIENTS, Load, Recomputed, check_recorded
from tests.support.pgbouncer import POOL, pooled
from tests.support.postgres import Cluster
from tests.support.processes import until, wait_for
from tests.support.serving import Deployer, Server, recorded_rows

pytestmark = [pytest.mark.needs("postgresql"), pytest.mark.needs("pgbouncer")]


def driver(url: str) -> str:
    return url.replace("+psycopg", "")


@pytest.fixture
def database(cluster: Cluster) -> str:
    """The URL of a new database, without PgBouncer."""
    with psycopg.connect(driver(cluster.url), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS pooled WITH (FORCE)")
        connection.execute("CREATE DATABASE pooled")
    return cluster.url.replace("/postgres", "/pooled")


def test_a_service_answers_and_records_through_few_sessions(make_settings, bundles, customers, database: str):
    load, sessions = Load(customers), set[int]()

    async def work(servers: list[Server], deployer: Deployer) -> None:
        async with load.on(servers[0].port, CLIENTS // 2), load.on(servers[1].port, CLIENTS // 2):
            await until("answers", lambda: len(load.acknowledged) >= 200)
            await asyncio.to_thread(deployer.deploy, bundles[0])
            new = bundles[0].version_name
            await until("the new model answers", lambda: load.refused or load.acknowledged[-1].version == new)
            known = len(load.acknowledged)
            await until("more answers", lambda: len(load.acknowledged) >= known + 200)
            with psycopg.connect(driver(database)) as connection:
                rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'churnops'")
                sessions.update(pid for (pid,) in rows)

    with pooled(database) as url:
        settings = make_settings(journal={"url": url})
        first = Bundle.load(settings.path("models/production"))
        with Server(settings) as one, Server(settings) as other, Deployer(settings) as deployer:
            asyncio.run(work([one, other], deployer))
            label = json.dumps({"customer_id": load.acknowledged[0].customer_id, "churned": True}).encode()
            assert one.ask("POST", "/labels", label).status == 200
            assert other.get("/health/ready").json()["warnings"] == []
            counted = sum(asked.version == bundles[0].version_name for asked in load.acknowledged)
            for server in (one, other):
                wait_for("it counts all customers", lambda s=server: s.metric("churnops_live_rows") == counted)
        with psycopg.connect(driver(url)) as connection:
            assert connection.execute("SHOW lock_timeout").fetchone() == ("0",)  # not left to other users of the pool
    with psycopg.connect(driver(database)) as connection:
        rows = recorded_rows(connection)
    assert load.refused == []
    assert len(load.acknowledged) == len(load.asked)
    assert check_recorded(rows, load) == 0
    recomputed = Recomputed(customers, (first, *bundles))
    for asked in load.acknowledged:
        recomputed.check(asked.row, asked.answer.json())
    assert 0 < len(sessions) <= POOL


def test_one_retraining_at_a_time_through_the_pool(database: str, tmp_path: Path):
    with pooled(database) as url:
        engine = open_database(url)
        for _ in range(2):
            with turn(engine, "job", tmp_path / "a") as first, turn(engine, "job", tmp_path / "b") as other:
                assert (first, other) == (True, False)
            wait_for("the lock is free", lambda: free(database))
        engine.dispose()


def free(url: str) -> bool:
    with psycopg.connect(driver(url)) as connection:
        return connection.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'").fetchone() is None
