"""Live drift of a service with two workers: the figures are of both, also after one was killed."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churnops.pipelines.run_all import RunSummary
from churnops.settings import Settings
from tests.support.load import Load
from tests.support.processes import until, wait_for
from tests.support.projects import LATER, deployed
from tests.support.serving import Server


@pytest.fixture
def customers() -> list[dict[str, Any]]:
    """Forty of the later customers, each with every column but the outcome, by raw headers."""
    table = pl.read_csv(LATER).head(40).drop("Churn").with_columns(pl.col("Area code").cast(pl.String))
    return table.to_dicts()


def test_each_worker_shows_the_counts_of_both_even_of_a_killed_one(
    tmp_path: Path, project: tuple[Settings, RunSummary], customers: list[dict[str, Any]]
):
    with Server(deployed(tmp_path, project[0], api={"rate_limit": 1e6}), "--workers", "2") as server:
        wait_for("two workers have loaded the model", lambda: server.loaded() == 2)
        load = Load(customers)

        async def some(answers: int) -> None:
            async with load.on(server.port):
                await until("answers", lambda: len(load.acknowledged) >= answers)

        def shown_by(worker: int) -> float:
            with server.only(worker):
                return server.metric("churnops_live_rows")

        wait_for("both are counted", lambda: server.metric("churnops_workers") == 2)
        asyncio.run(some(300))
        for worker in server.workers():
            wait_for("it shows all", lambda w=worker: shown_by(w) == len(load.acknowledged))
        answered = {w: server.metric("churnops_live_column_drifted", "total_day_minutes") for w in server.workers()}
        assert len(answered) == 2
        os.kill(min(answered), signal.SIGKILL)
        wait_for("another worker has loaded the model", lambda: server.loaded() == 3)
        asyncio.run(some(len(load.acknowledged) + 100))
        wait_for("nobody is lost", lambda: server.metric("churnops_live_rows") == len(load.acknowledged))
        wait_for("two workers are counted", lambda: server.metric("churnops_workers") == 2)
        server.terminate()
        assert server.exit_code() == 0
