"""A whole retraining on a journal of a million predictions, on SQLite and PostgreSQL.

`JOURNAL_ROWS` changes the number of predictions.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

from scripts.big_project import make
from tests.support.postgres import private_cluster

from benchmarks.harness import Claim, Result, run_process
from benchmarks.journal_size import CHURNOPS, CYCLE, ROWS
from benchmarks.object_store import environment

TRAINED = {
    "CHURNOPS_RETRAINING__FAMILIES": "[xgboost]",
    "CHURNOPS_TRAINING__TRIALS": "{xgboost: 1}",
    "CHURNOPS_RETRAINING__MIN_IMPROVEMENT": "0.9",  # the deployed model stays
}


def measure() -> Result:
    """Retrain with PostgreSQL, then with SQLite: a second retraining in one journal would lack new outcomes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name, "project")
        make(folder, reports=0, predictions=ROWS)
        with private_cluster() as server:
            run_process([*CHURNOPS, "journal", "copy", "journal.db", server.url], folder=folder)
            claims, _ = _claims(folder, "PostgreSQL", {"CHURNOPS_JOURNAL__URL": server.url})
        others, trained = _claims(folder, "SQLite", {})
    return Result(
        title="A retraining on a large journal",
        about=(
            f"`churnops retrain` on {ROWS:,} predictions of 120 days (`scripts/big_project.py`): XGBoost with one "
            f"trial, on all, recent and recency-weighted rows; {trained:,} training customers. Further trials take "
            "time, but no memory. The figures are those beyond a monitoring cycle of an empty window, which is mostly "
            "the import of libraries. Seconds are those of the command's CPU."
        ),
        claims=[*others, *claims],
    )


def _claims(folder: Path, database: str, variables: Mapping[str, str]) -> tuple[list[Claim], int]:
    """Measure a retraining; return the claims and the number of training customers."""
    with environment(variables):
        empty = run_process([*CYCLE, "--until", "2000-01-01"], folder=folder)
        with environment(TRAINED):
            used = run_process([*CHURNOPS, "retrain"], folder=folder)
    summary = max((folder / "monitoring").glob("retraining_summary_*.json"), key=lambda path: path.name)
    document = json.loads(summary.read_text(encoding="utf-8"))
    claims = [
        Claim(f"{database}: a retraining, CPU of the command", used.cpu - empty.cpu, "s"),
        Claim(f"{database}: a retraining, memory", used.peak - empty.peak, "MiB"),
    ]
    return claims, document["rows"]["original"] + document["rows"]["production"]
