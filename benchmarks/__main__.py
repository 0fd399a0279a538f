"""Measure, print, and write `benchmarks/results.json` and `docs/benchmarks.md`: `python -m benchmarks [names...]`.

`alarms` and `gate` exist for four tables. `python -m benchmarks alarms rare` measures on the table `rare`, and `python
-m benchmarks alarms` on the telecom table. `python -m benchmarks tables bank` measures on the public table `bank`, and
`python -m benchmarks tables` on all of `tables_peers/tables.json`. Their figures are in one result.
"""

import argparse
import importlib
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.harness import ROOT, Result
from benchmarks.page import page, screen_table
from benchmarks.table_files import TABLES
from churnops.console import prepare_streams

NAMES = (
    "quality",
    "pipeline",
    "features",
    "prediction",
    "batch",
    "init",
    "sizes",
    "explanations",
    "serving",
    "stored_columns",
    "traces",
    "worst_bodies",
    "journal",
    "startup",
    "drift",
    "profiles",
    "scale",
    "object_store",
    "levels",
    "alarms",
    "alarms rare",
    "alarms common",
    "alarms bank",
    "gate",
    "gate rare",
    "gate common",
    "gate bank",
    "sequences",
    "split",
    "split_load",
    "shadow",
    "shadow_load",
    "recovery",
    "retraining",
    "dashboard",
    "call_lists",
    "journal_size",
    "retraining_size",
    "tables",
    "leaks",
    "small",
    "decisions",
)
PARTS = tuple(f"tables {table}" for table in TABLES)  # of the result `tables`
TELECOM = "telecom"
RESULTS = ROOT / "benchmarks" / "results.json"
PAGE = ROOT / "docs" / "benchmarks.md"
PACKAGES = ("numpy", "numba", "polars", "scikit-learn", "xgboost-cpu", "mlflow")


def main() -> None:
    """Run the benchmarks named on the command line, or all."""
    prepare_streams()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="name",
        help=f"Default: all of {', '.join(NAMES)}. A table after alarms or gate: {TELECOM}, rare, common or bank; "
        f"after tables: {', '.join(TABLES)}.",
    )
    try:
        chosen = selected(parser.parse_args().names)
    except ValueError as error:
        parser.error(str(error))
    console = Console()
    console.width = max(console.width, 150)
    documents: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    for name in (*NAMES, *PARTS):
        if name in chosen:
            with console.status(f"{name} …"):
                benchmark, *table = name.split()
                result: Result = importlib.import_module(f"benchmarks.{benchmark}").measure(*table)
            console.print(screen_table(result))
            documents[benchmark if name in PARTS else name] = {"environment": environment(), **result.to_json()}
            _write(documents)


def selected(words: Sequence[str]) -> Sequence[str]:
    """Return the names of the results to measure; a table counts for every benchmark named beside it.

    Raises
    ------
    ValueError
        If there is no such benchmark, or not on this table.

    Examples
    --------
    >>> selected(["gate", "rare", "common"]), selected(["alarms"]), selected(["alarms", "telecom"])
    (['gate rare', 'gate common'], ['alarms'], ['alarms'])
    """
    names, tables = [], []
    known = {TELECOM, *(name.split()[1] for name in (*NAMES, *PARTS) if " " in name)}
    for word in words:
        (tables if word in known else names).append(word)
    if tables and not names:
        raise ValueError(f"{tables[0]} is a table: name a benchmark too, such as alarms")
    results = [name if table == TELECOM else f"{name} {table}" for name in names for table in tables or [TELECOM]]
    if unknown := [name for name in results if name not in (*NAMES, *PARTS)]:
        raise ValueError(f"there is no benchmark {unknown[0]!r}: choose from {', '.join(NAMES)}")
    return results or NAMES


def environment() -> str:
    """Describe processor, cores and versions, without names of the machine or its user."""
    packages = ", ".join(f"{package} {version(package)}" for package in ("churnops", *PACKAGES))
    return f"{_processor()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}, {packages}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text(encoding="utf-8")) if cpuinfo.exists() else None
    return match[1].strip() if match else platform.machine()


def _write(documents: Mapping[str, Any]) -> None:
    """Write both files after each benchmark, so that nothing is lost if a later one fails."""
    ordered = {name: documents[name] for name in NAMES if name in documents}
    RESULTS.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    results = {name: Result.from_json(document) for name, document in ordered.items()}
    PAGE.write_text(page(results, {name: ordered[name]["environment"] for name in results}), encoding="utf-8")


if __name__ == "__main__":
    main()
