"""`churnops run` on tables of three sizes, as `churnops init` describes them, each in its own process."""

import sys
import tempfile
from pathlib import Path

import polars as pl

from benchmarks.harness import Claim, Result, Usage, run_process
from benchmarks.init import customers

SIZES = ((10_000, 30, 30.0, None), (300_000, 40, 120.0, 2048.0), (1_000_000, 50, 480.0, 6144.0))
"""Rows, columns, and the limits of CPU seconds and of MiB."""


def measure() -> Result:
    """Describe and train on each table, with all five families."""
    claims = []
    trained(2_000, 30)  # compiles the kernels, once for an installation
    for rows, columns, seconds, memory in SIZES:
        used = trained(rows, columns)
        claims.append(Claim(f"{rows:,} rows, {columns} columns: CPU time", used.cpu, "s", seconds))
        claims.append(Claim(f"{rows:,} rows, {columns} columns: peak memory", used.peak, "MiB", memory))
    return Result(
        title="Training on larger tables",
        about=(
            "The process `churnops run`, with its start, tracking, evaluation and deployment, on the tables of "
            "`churnops init` with fewer rows or columns: always with the city of 3,000 levels and two dates, and a "
            "fifth of the values missing. The recipe is `general`, with all five families. A first run, not measured, "
            "compiles the kernels, which takes about 15 CPU s once for an installation."
        ),
        claims=claims,
    )


def trained(rows: int, columns: int) -> Usage:
    """Run `churnops init` and `churnops run` on a table; return what the second used."""
    with tempfile.TemporaryDirectory() as name:
        folder, command = Path(name), [sys.executable, "-m", "churnops.cli"]
        narrowed(customers(rows), columns).write_csv(folder / "customers.csv")
        run_process([*command, "init", "customers.csv", "--target", "churned"], folder=folder)
        return run_process([*command, "run"], folder=folder)


def narrowed(table: pl.DataFrame, columns: int) -> pl.DataFrame:
    """Return the table with a number of columns; the first numbers are left out, but not that of the outcome."""
    surplus = [name for name in table.columns if name.startswith(("amount_", "count_")) and name != "amount_0"]
    return table.drop(surplus[: len(table.columns) - columns])
