"""A rolling update, and the loss of a node, as in Kubernetes: machines in network namespaces behind HAProxy."""

import asyncio
import logging
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import psycopg
import pytest

from churnops.model import Bundle
from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings, load_settings
from tests.support.api import make_key
from tests.support.haproxy import Proxy, proxied
from tests.support.load import CLIENTS, Load, Recomputed, check_recorded
from tests.support.nodes import CENTRE, PORT, Node, network
from tests.support.postgres import private_cluster
from tests.support.processes import until
from tests.support.projects import write_project
from tests.support.serving import recorded_rows

pytestmark = [
    *(pytest.mark.needs(part) for part in ("postgresql", "haproxy", "iproute2")),
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]
log = logging.getLogger("churnops.endurance")
NAMES = ("api-1", "api-2", "api-3", "api-4")
PAUSE = 1.0
"""Seconds between the end of new requests and SIGTERM, as `preStop` of the manifests."""


@dataclass
class Fleet:
    """Nodes by name, all but `spare` of which run the service, and a proxy for each kind of spreading."""

    nodes: dict[str, Node]
    settings: dict[str, Settings]
    proxies: dict[str, Proxy]
    key: str
    url: str
    bundle: Bundle
    spare: str = NAMES[-1]
    ids: "count[int]" = field(default_factory=count)

    def load(self, customers: list[dict[str, Any]]) -> Load:
        return Load(customers, self.key, reconnects=True, ids=self.ids)

    def replace(self, old: str, proxy: Proxy) -> None:
        """Start a new instance, and stop an old one, as a Deployment with `maxUnavailable: 0`."""
        self.nodes[self.spare].start(self.settings[self.spare])
        proxy.wait(self.spare)
        proxy.command(f"set server churnops/{old} state drain")
        time.sleep(PAUSE)
        assert self.nodes[old].stop() == 0
        proxy.wait(old, "DOWN")
        proxy.command(f"set server churnops/{old} state ready")
        self.spare = old

    def errors(self, *names: str) -> list[str]:
        """Return the numbers of connections and responses of some instances that failed, from the proxy."""
        rows = self.proxies["requests"].statistics()
        return [rows[name][column] for name in names for column in ("econ", "eresp")]

    def check(self, load: Load) -> int:
        """Check answers and journal; return the number of recorded predictions that were not acknowledged."""
        recomputed = Recomputed(load.customers, [self.bundle])
        for asked in load.acknowledged:
            assert asked.answer is not None
            recomputed.check(asked.row, asked.answer.json())
        ids = {asked.customer_id for asked in load.asked}
        with psycopg.connect(self.url) as connection:
            return check_recorded([row for row in recorded_rows(connection) if row[1] in ids], load)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    shutil.copytree(project[0].path("models"), folder / "models", symlinks=True)
    with ExitStack() as stack:
        nodes = dict(zip(NAMES, stack.enter_context(network(4)), strict=True))
        url = stack.enter_context(private_cluster(CENTRE)).url

        def change(document: dict[str, Any]) -> None:
            document["api"] |= {"rate_limit": 1e6}
            document["journal"]["url"] = url
            document["registry"]["directory"] = str(folder / "models")

        settings = {name: load_settings(write_project(folder / name, change)) for name in nodes}
        key = make_key(settings[NAMES[0]], "predict")
        for name in NAMES[:-1]:
            nodes[name].start(settings[name])
        servers = {name: f"{node.host}:{PORT}" for name, node in nodes.items()}
        proxies = {
            spread: stack.enter_context(proxied(servers, NAMES[:-1], connections=spread == "connections"))
            for spread in ("requests", "connections")
        }
        bundle = Bundle.load(folder / "models/production")
        yield Fleet(nodes, settings, proxies, key, url.replace("+psycopg", ""), bundle)


@pytest.mark.parametrize("spread", ["requests", "connections"])
def test_a_rolling_update_fails_no_request(fleet: Fleet, customers: list[dict[str, Any]], spread: str) -> None:
    load, proxy = fleet.load(customers), fleet.proxies[spread]

    async def work() -> None:
        async with load.on(proxy.port):
            await until("answers", lambda: len(load.acknowledged) >= 200)
            for name in [name for name in NAMES if name != fleet.spare]:
                await asyncio.to_thread(fleet.replace, name, proxy)
            known = len(load.acknowledged)
            await until("more answers", lambda: len(load.acknowledged) >= known + 200)

    asyncio.run(work())
    assert len(load.acknowledged) == len(load.asked)
    assert fleet.check(load) == 0
    log.info("three instances replaced, %s spread: %d answers, none failed", spread, len(load.acknowledged))


def test_a_lost_node_fails_only_requests_in_flight_on_it(fleet: Fleet, customers: list[dict[str, Any]]) -> None:
    load, proxy = fleet.load(customers), fleet.proxies["requests"]
    events: list[int] = []
    others = [name for name in NAMES if name != "api-2"]
    before = fleet.errors(*others)

    async def work() -> None:
        async with load.on(proxy.port):
            await until("answers", lambda: len(load.acknowledged) >= 200)
            events.append(load.events)
            await asyncio.to_thread(fleet.nodes["api-2"].lose)
            await asyncio.to_thread(proxy.wait, "api-2", "DOWN")
            events.append(load.events)
            known = len(load.acknowledged)
            await until("answers of the others", lambda: len(load.acknowledged) >= known + 200)

    asyncio.run(work())
    failed = [asked for asked in load.asked if asked not in load.acknowledged]
    assert len(failed) <= CLIENTS
    assert all(asked.sent <= events[1] and asked.done > events[0] for asked in failed)
    assert fleet.errors(*others) == before
    recorded = fleet.check(load)
    assert recorded <= len(failed)
    log.info(
        "a node lost: %d answers, %d requests in flight on it failed after up to %.1f s, %d of them recorded",
        len(load.acknowledged),
        len(failed),
        max((asked.seconds for asked in failed), default=0.0),
        recorded,
    )
