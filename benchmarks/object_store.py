"""A folder of customers scored from an object store into it, beside the same folder on the disk.

`STORE_MILLIONS` (default 2) is the number of rows in millions.
"""

import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import psutil
from tests.support.object_stores import s3_server

from benchmarks.harness import Claim, Result, Usage, run_process
from benchmarks.scale import deploy, write_customers
from churnops.objects import ObjectStore

MILLIONS = int(os.environ.get("STORE_MILLIONS", "2"))
PEER = "on the disk"
PREDICT = [sys.executable, "-m", "churnops.cli", "predict"]


def measure() -> Result:
    """Score a folder on the disk, then the same folder in the store."""
    with tempfile.TemporaryDirectory() as name, s3_server() as server:
        folder = Path(name)
        bundle, _ = deploy(folder)
        (folder / "many").mkdir()
        known = pl.read_parquet(folder / "known.parquet")
        for number in range(MILLIONS):
            write_customers(folder / f"many/{number:04d}.parquet", known, number)
        run_process([*PREDICT, "known.parquet", "warm.parquet", "--explain"], folder=folder)  # compiles
        disk = run_process([*PREDICT, "many", "scored", "--explain"], folder=folder)
        with environment(server.variables):
            store = ObjectStore(server.address)
            for file in (folder / "many").iterdir():
                store.upload(f"many/{file.name}", file)
            stored = [*PREDICT, f"{server.address}/many", f"{server.address}/scored", "--explain"]
            first, serving = _beside_server(stored, folder)
            sizes = [sum(entry.bytes for entry in store.entries(part)) / 1e6 for part in ("many", "scored")]
    return Result(
        title="From an object store",
        about=(
            f"`churnops predict FOLDER OUT --explain` on {MILLIONS} million rows ({bundle.algorithm} on "
            f"{len(bundle.selected)} features), in this process: a folder on the disk, and the same folder in a store "
            "into the same store, with the transfers. The store is moto's S3 server on this machine: in Python, in one "
            "process, in memory. Seconds are those of the CPU, so the waiting for a distant store is not in them."
        ),
        claims=[
            Claim("from the store into it, CPU of the command", first.cpu, "s", peer=PEER, peer_measured=disk.cpu),
            Claim(
                "from the store into it, CPU of the command and of the store's server",
                first.cpu + serving,
                "s",
                peer=PEER,
                peer_measured=disk.cpu,
            ),
            Claim("share of the store's server in this", 100 * serving / (serving + first.cpu), "%"),
            Claim("from the store into it, peak memory", first.peak, "MiB", peer=PEER, peer_measured=disk.peak),
        ],
        notes=[f"Transfers: {sizes[0]:,.0f} MB from the store, {sizes[1]:,.0f} MB into it."],
    )


def _beside_server(command: list[str], folder: Path) -> tuple[Usage, float]:
    """Return the resources of a command, and the CPU seconds of the store's server meanwhile."""
    [server] = (child for child in psutil.Process().children() if "moto.server" in child.cmdline())
    before = server.cpu_times()
    used = run_process(command, folder=folder)
    after = server.cpu_times()
    return used, after.user + after.system - before.user - before.system


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables in the block."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
