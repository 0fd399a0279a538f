"""Stored columns: `POST /predict` with nothing but a customer's id against a body with all columns."""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl

from benchmarks.harness import Claim, Result
from benchmarks.serving import customers_of, lua, lua_of, served_project, serving, wrk

ROUNDS = 7
SECONDS = 4
STORED = 100_000
PORT = 8130


def measure() -> Result:
    """Load one server with full bodies and with ids in turn, and compare medians."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        key = served_project(folder)
        full, named = folder / "full.lua", folder / "named.lua"
        full.write_text(lua(folder, key))
        named.write_text(lua_of([json.dumps({"customer_id": f"C-{row}"}) for row in range(0, STORED, 499)], key))
        _store(folder)
        tails: dict[Path, list[float]] = {full: [], named: []}
        with serving(folder, PORT, "churnops.api.main:app") as (address, _):
            for script in tails:
                wrk(address, script, 2, seconds=2)
            for _ in range(ROUNDS):
                for script, values in tails.items():
                    values.append(wrk(address, script, 1, seconds=SECONDS)[1])
    tail = {script: statistics.median(values) for script, values in tails.items()}
    return Result(
        title="Stored columns",
        about=(
            f"`POST /predict` as under Serving, 1 connection, {SECONDS} s a round, median of {ROUNDS} rounds. The body "
            f"has all columns, or only the id of one of {STORED:,} customers whose columns `churnops features upload` "
            "stored in the SQLite journal. Both kinds take turns."
        ),
        claims=[
            Claim("p99 with the id only, as a multiple of a full body's", tail[named] / tail[full], "", 2.0),
            Claim("p99 with the id only", tail[named], "ms", peer="full body", peer_measured=tail[full]),
        ],
    )


def _store(folder: Path) -> None:
    """Store customers with the columns of `customers_of` in turn."""
    columns = customers_of(folder)
    rows = [columns[row % len(columns)] | {"customer_id": f"C-{row}"} for row in range(STORED)]
    pl.DataFrame(rows).write_parquet(folder / "newest.parquet")
    command = [str(Path(sys.executable).with_name("churnops")), "features", "upload", "newest.parquet"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
