"""Monthly snapshots: from `churnops init --time` to a model that is scored on later customers."""

import json
from pathlib import Path

from tests.support.panel import panel
from tests.support.processes import CHURNOPS, QUICK, run


def test_a_random_split_would_have_claimed_more(tmp_path: Path):
    panel().write_csv(tmp_path / "months.csv")
    screen = run(CHURNOPS, "init", "months.csv", "--target", "left", "--time", "month", cwd=tmp_path).stdout
    assert "'month' is the time of the row" in screen
    assert "'customer' identifies the customer" in screen
    assert "{name: month, kind: time, required: false}" in (tmp_path / "config.yaml").read_text()
    result = json.loads(run(CHURNOPS, "run", "--json", cwd=tmp_path, **QUICK).stdout)
    later, claimed = result["held_out"]["metrics"], result["random_split"]
    assert claimed["roc_auc"] > later["roc_auc"]["value"] + 0.05
    assert claimed["log_loss"] < later["log_loss"]["value"]
    sentence = f"would have claimed ROC-AUC {claimed['roc_auc']:.4f} and log loss {claimed['log_loss']:.4f}"
    for page in ("evaluation.html", "model_card.html"):
        text = next(tmp_path.rglob(page)).read_text()
        assert sentence in text
        assert "held out from 2025-" in text
    panel(600, seed=9, prefix="N").write_csv(tmp_path / "others.csv")
    command = (CHURNOPS, "retrain", "--batch", "others.csv", "--reason", "a test", "--json")
    rows = json.loads(run(*command, cwd=tmp_path, CHURNOPS_RETRAINING__FAMILIES="[logistic_regression]").stdout)["rows"]
    assert rows["original"] == 3584, "rows from September on are in the gap before October"
    assert rows["held_out"] == 180


def test_a_time_that_tells_nothing_is_refused_by_name(tmp_path: Path):
    panel(40).write_csv(tmp_path / "months.csv")
    command = (CHURNOPS, "init", "months.csv", "--target", "left", "--time")
    for header, reason in (("tickets", "whole numbers"), ("mnth", "did you mean 'month'?")):
        error = run(*command, header, cwd=tmp_path, code=2).stderr
        assert header in error
        assert reason in error
    panel(40, months=1).write_csv(tmp_path / "months.csv")
    error = run(*command, "month", cwd=tmp_path, code=2).stderr
    assert error == "error: 'month' cannot be the time of the rows (has one value only, '2025-01-01')\n"
    assert not (tmp_path / "config.yaml").exists()
