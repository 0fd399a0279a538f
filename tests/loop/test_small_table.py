"""A table of 120 customers, 12 of whom churned: every command answers without an edit of config.yaml."""

import csv
import json
from pathlib import Path

import numpy as np

from tests.support.processes import CHURNOPS, run

QUICK = {
    "CHURNOPS_TRAINING__FAMILIES": "[logistic_regression, decision_tree]",
    "CHURNOPS_RETRAINING__FAMILIES": "[logistic_regression]",
    "CHURNOPS_EVALUATION__BOOTSTRAP_REPLICATES": "100",
}


def write(path: Path, rows: int, churned: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    outcome = rng.permutation(np.arange(rows) < churned).astype(int)
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "spend", "tenure", "plan", "churn"])
        for number, left in enumerate(outcome):
            spend, tenure = rng.normal(50 + 20 * left, 15), rng.integers(1, 90)
            table.writerow([f"C{seed}{number:05}", f"{spend:.2f}", tenure, rng.choice(["basic", "gold"]), "NY"[left]])


def test_small_tables_are_evaluated_by_repeated_cross_validation(tmp_path: Path):
    write(tmp_path / "customers.csv", 120, 12, seed=1)
    write(tmp_path / "later.csv", 60, 6, seed=2)
    screen = run(CHURNOPS, "init", "customers.csv", "--target", "churn", cwd=tmp_path).stdout
    assert "only 2 of the rarer outcome would be: repeated cross-validation" in screen
    document = json.loads(run(CHURNOPS, "run", "--json", cwd=tmp_path, **QUICK).stdout)
    assert document["status"] == "deployed"
    evaluation = document["held_out"]
    assert (evaluation["rows"], evaluation["repeats"], evaluation["folds"]) == (120, 3, 6)
    auc = evaluation["metrics"]["roc_auc"]
    assert auc["high"] - auc["low"] > 0.1
    report = run(CHURNOPS, "monitor", "--batch", "later.csv", cwd=tmp_path, **QUICK).stdout
    assert "10 of each are needed" in report
    retrained = run(CHURNOPS, "retrain", "--batch", "later.csv", "--reason", "test", cwd=tmp_path, **QUICK).stdout
    assert "Cannot tell" in retrained


def test_too_few_customers_who_churned_are_one_sentence(tmp_path: Path):
    write(tmp_path / "customers.csv", 40, 3, seed=1)
    run(CHURNOPS, "init", "customers.csv", "--target", "churn", cwd=tmp_path)
    refused = run(CHURNOPS, "run", cwd=tmp_path, code=2, **QUICK).stderr
    assert "3 rows have the outcome 'Y'; at least 4 of each outcome are needed" in refused
