"""A journal of a million predictions: monitoring and a retraining's rows, on SQLite and PostgreSQL, and `/predict`.

`JOURNAL_ROWS` changes the number of predictions.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scripts.big_project import make
from tests.support.load import Load
from tests.support.postgres import private_cluster

from benchmarks.harness import Claim, Result, Usage, run_process
from benchmarks.serving import customers_of, serving

ROWS = int(os.environ.get("JOURNAL_ROWS", 1_000_000))
DAYS = 120  # of predictions in the journal
PORT = 8111
CLIENTS = 4
SECONDS = 5  # of load before a cycle, which are not measured
CHURNOPS = [sys.executable, "-m", "churnops.cli"]
CYCLE = [*CHURNOPS, "monitor", "--no-retrain"]
READ = """
import sys
from datetime import UTC, datetime, timedelta
from churnops.project import Project
from churnops.retraining.rows import rows_from_journal
from churnops.settings import project_settings
settings, now = project_settings(), datetime.now(UTC)
with Project.open(settings) as project:
    journal, since = project.journal, now - timedelta(days=settings.retraining.history_days)
    if "read" in sys.argv:
        rows_from_journal(journal, settings.table, since=since, known_at=now, horizon=journal.label_horizon)
"""


def measure() -> Result:
    """Run cycles on one journal in both databases, and one beside the service under load."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "project")
        make(folder, reports=0, predictions=ROWS)
        claims = _claims(folder, "SQLite")
        tail = asyncio.run(_tail(folder))
        with private_cluster() as server:
            run_process([*CHURNOPS, "journal", "copy", "journal.db", server.url], folder=folder)
            os.environ["CHURNOPS_JOURNAL__URL"] = server.url
            try:
                claims += _claims(folder, "PostgreSQL")
            finally:
                del os.environ["CHURNOPS_JOURNAL__URL"]
    return Result(
        title="A large journal",
        about=(
            f"{ROWS:,} predictions of {DAYS} days with outcomes for most of those that are due "
            "(`scripts/big_project.py`), on SQLite and on a local PostgreSQL. A cycle is `churnops monitor "
            f"--window {DAYS}d`: its window has all predictions. It reads inputs, scores and outcomes, compares, "
            "measures, and writes report and customers. The figures are those beyond a cycle of an empty window, which "
            "is mostly the import of libraries. The rows of a retraining are all customers with known outcomes."
        ),
        claims=[
            *claims,
            Claim(f"`/predict` by {CLIENTS} clients during a cycle on SQLite, 99.9th percentile", tail, "ms", 250),
        ],
    )


def _claims(folder: Path, database: str) -> list[Claim]:
    """Measure cycles of three windows, and the reading of a retraining's rows."""
    empty = run_process([*CYCLE, "--until", "2000-01-01"], folder=folder)
    quarter, whole = (_beyond(empty, [*CYCLE, "--window", f"{days}d"], folder) for days in (DAYS // 4, DAYS))
    default = _beyond(empty, CYCLE, folder)
    read = _beyond(run_process(_python(), folder=folder), _python("read"), folder)
    return [
        Claim(f"{database}: a cycle of an empty window, wall", empty.wall, "s"),
        Claim(f"{database}: a cycle of an empty window, peak memory", empty.peak, "MiB"),
        Claim(f"{database}: {ROWS:,} predictions in the window, wall", whole.wall, "s", 5),
        Claim(f"{database}: {ROWS:,} predictions in the window, CPU of the command", whole.cpu, "s"),
        Claim(f"{database}: {ROWS:,} predictions in the window, memory", whole.peak, "MiB", 300),
        Claim(f"{database}: {ROWS // 4:,} predictions in the window, wall", quarter.wall, "s"),
        Claim(f"{database}: the default window of 7 days, wall", default.wall, "s"),
        Claim(f"{database}: rows of a retraining, wall", read.wall, "s"),
        Claim(f"{database}: rows of a retraining, memory", read.peak, "MiB"),
    ]


def _beyond(empty: Usage, command: list[str], folder: Path) -> Usage:
    used = run_process(command, folder=folder)
    return Usage(used.wall - empty.wall, used.cpu - empty.cpu, used.peak - empty.peak)


def _python(*words: str) -> list[str]:
    return [sys.executable, "-c", READ, *words]


async def _tail(folder: Path) -> float:
    """Return the 99.9th percentile of the answers' times in milliseconds, during a cycle of all predictions."""
    load = Load(customers_of(folder))
    with serving(folder, PORT, "churnops.api.main:app", CHURNOPS_API__RATE_LIMIT="1e6"):
        async with load.on(PORT, CLIENTS):
            await asyncio.sleep(SECONDS)
            began, before = time.perf_counter(), len(load.acknowledged)
            cycle = await asyncio.create_subprocess_exec(
                *CYCLE, "--window", f"{DAYS}d", cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            await cycle.wait()
    print(f"{len(load.acknowledged) - before} answers in {time.perf_counter() - began:.1f} s")
    if load.refused or cycle.returncode:
        raise SystemExit(f"the cycle ended with {cycle.returncode}, {len(load.refused)} requests were refused")
    return float(np.quantile([request.seconds for request in load.acknowledged[before:]], 0.999)) * 1000
