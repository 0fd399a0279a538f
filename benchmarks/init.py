"""`churnops init` on a million customers with 50 columns of all kinds, in its own process."""

import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.harness import Claim, Result, run_process

ROWS = 1_000_000
NUMBERS, INTEGERS, FLAGS, CATEGORIES = 20, 12, 7, 6
CITIES = 3_000
MISSING = 0.2


def measure() -> Result:
    """Write the table as CSV, and describe it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        customers().write_csv(folder / "customers.csv")
        megabytes = (folder / "customers.csv").stat().st_size / 1e6
        command = [sys.executable, "-m", "churnops.cli", "init", "customers.csv", "--target", "churned", "--force"]
        used = run_process(command, folder=folder)
        config = (folder / "config.yaml").read_text(encoding="utf-8")
    kinds = [(kind, len(re.findall(rf"^    - {{.*kind: {kind}\b", config, re.MULTILINE))) for kind in KINDS]
    return Result(
        title="A new table",
        about=(
            f"The process `churnops init`, with its start, on a CSV of {ROWS:,} customers and 50 columns "
            f"({megabytes:,.0f} MB): an id, the outcome, {NUMBERS} numbers, {INTEGERS} whole numbers, {FLAGS} "
            f"flags, {CATEGORIES} categories, a city of {CITIES:,} levels and two dates. {MISSING:.0%} of "
            "the values are missing."
        ),
        claims=[
            Claim("CPU time", used.cpu, "s", 20),
            Claim("peak memory", used.peak, "MiB", 2048),
        ],
        tables=[("Columns in the written config.yaml", [("kind", "columns"), *((k, str(n)) for k, n in kinds)])],
    )


KINDS = ("id", "number", "integer", "flag", "category", "date", "target")


def customers(rows: int = ROWS) -> pl.DataFrame:
    """Return the table; the outcome depends on a number and a flag."""
    rng = np.random.default_rng(7)
    numbers = {f"amount_{n}": rng.gamma(2 + n % 3, 20, rows).round(2) for n in range(NUMBERS)}
    integers = {f"count_{n}": rng.poisson(3 + 40 * n, rows) for n in range(INTEGERS)}
    flags = {f"has_{n}": rng.choice(["No", "Yes"], rows) for n in range(FLAGS)}
    categories = {f"segment_{n}": rng.integers(0, 4 + 9 * n, rows) for n in range(CATEGORIES)}
    columns = {name: pl.Series(name, values) for name, values in (numbers | integers | flags).items()}
    columns |= {name: "level " + pl.Series(name, codes).cast(pl.String) for name, codes in categories.items()}
    cities = (rng.pareto(1.1, rows) * 20).astype(np.int64) % CITIES
    columns["city"] = "City " + pl.Series("city", cities).cast(pl.String)
    for name, form in (("signup", "%Y-%m-%d"), ("last_payment", "%d.%m.%Y")):
        days = pl.Series(name, 15_000 + rng.integers(0, 4_000, rows)).cast(pl.Int32).cast(pl.Date)
        columns[name] = days.dt.strftime(form)
    known = {name: pl.Series(rng.random(rows) >= MISSING) for name in columns}
    gaps = [pl.when(known[name]).then(column).alias(name) for name, column in columns.items()]
    risk = -2.5 + numbers["amount_0"] / 40 + (flags["has_0"] == "Yes")
    churned = pl.Series("churned", np.where(rng.random(rows) < 1 / (1 + np.exp(-risk)), "Yes", "No"))
    table = pl.DataFrame(columns).with_columns(gaps)
    ids = "C-" + pl.Series("customer_id", rng.permutation(rows)).cast(pl.String)
    return table.select(ids.alias("customer_id"), pl.all(), churned)
