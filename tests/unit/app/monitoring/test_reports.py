"""Reports in the dashboard: file names and types are checked, and damaged files are named."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from churnops.app.monitoring.reports import (
    ReportFile,
    coverage_sentence,
    performance_sentence,
    read_report,
    recommendation_sentence,
)
from churnops.errors import DataError
from churnops.monitoring.document import ReportDocument

NAME = "monitoring_report_20261124T142227.386635Z.json"


def report(**changes: Any) -> dict[str, Any]:
    column = {
        "name": "minutes",
        "kind": "number",
        "test": "ks",
        "effect": 0.1,
        "p_value": 0.2,
        "drifted": False,
        "reason": "as before",
        "linked_to": None,
    }
    trigger = {"name": "performance", "big": False, "fired": False, "reason": "performance: as before"}
    return {
        "report_version": 2,
        "timestamp": "2026-11-24T14:22:27+00:00",
        "model_version": "forest",
        "content_sha256": "ab",
        "source": "journal",
        "simulated": False,
        "past": False,
        "rows": 500,
        "performance": {
            "verdict": "not below",
            "reason": "fine",
            "line": 0.8,
            "promised": {"roc_auc": 0.9},
            "labels": {"due": 20, "labelled": 10},
            "metrics": {"roc_auc": {"value": 0.85, "low": 0.8, "high": 0.9}, "evil": {"value": 1}},
            "history": [
                {
                    "window": {"since": "2026-11-01T00:00:00+00:00", "until": "2026-11-08T00:00:00+00:00"},
                    "labels": {"due": 4, "labelled": 3},
                    "value": 0.7,
                    "low": 0.6,
                    "high": 0.8,
                }
            ],
        },
        "feature_drift": {"columns": [column], "drift_rate": 0.0, "reason": "0 of 1 columns drifted"},
        "prediction_drift": {"effect": 0.1, "drifted": False, "reason": "none"},
        "target_drift": {"effect": None, "drifted": None, "reason": "too few"},
        "recommend_retraining": {"value": False, "triggers": [trigger]},
    } | changes


def parsed(**changes: Any) -> ReportDocument:
    return ReportDocument.read(report(**changes))


def test_every_part_of_a_report_is_read():
    found = parsed()
    assert (found.model_version, found.rows, found.feature_drift.drift_rate, found.report_only) == (
        "forest",
        500,
        0.0,
        "",
    )
    assert [(c.name, c.effect, c.drifted) for c in found.feature_drift.columns] == [("minutes", 0.1, False)]
    assert list(found.performance.known_metrics) == ["roc_auc"]
    assert (found.performance.history[0].labels.labelled, found.performance.history[0].value) == (3, 0.7)
    assert found.target_drift.drifted is None
    (trigger,) = found.recommend_retraining.triggers
    assert (trigger.verdict, trigger.why) == ("not fired", "As before.")
    assert ReportFile(NAME, found).batch == "production_batch_20261124T142227.386635Z.csv"


def test_the_files_of_a_real_cycle_are_read(project):
    settings, _ = project
    folder = settings.path(settings.monitoring.directory)
    (path,) = folder.glob("monitoring_report_*.json")
    file = read_report(folder, path.name)
    found = file.report
    document = json.loads(path.read_text())
    assert len(found.feature_drift.columns) == len(document["feature_drift"]["columns"])
    assert found.performance.known_metrics["roc_auc"].value == document["performance"]["metrics"]["roc_auc"]["value"]
    assert (folder / file.batch).is_file()
    assert [trigger.name for trigger in found.recommend_retraining.triggers] == [
        "performance",
        "feature_drift",
        "prediction_drift",
        "target_drift",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../config.yaml",
        "/etc/passwd",
        f"../{NAME}",
        f"{NAME}\n",
        "monitoring_report_x.json",
        NAME.upper(),
        "a\x00b",
    ],
)
def test_a_name_that_is_no_report_name_is_not_opened(tmp_path: Path, name: str):
    (tmp_path / "reports").mkdir()
    (tmp_path / NAME).write_text(json.dumps(report()))
    with pytest.raises(DataError, match="not the name of a report"):
        read_report(tmp_path / "reports", name)


def test_a_missing_report_is_a_sentence(tmp_path: Path):
    with pytest.raises(DataError, match=r"is not in .* any more"):
        read_report(tmp_path, NAME)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", "nonsense", '{"feature_drift": {"columns": []}}', '{"feature_drift": 1e999}', "[" * 99999],
)
def test_a_damaged_report_is_a_sentence(tmp_path: Path, content: str):
    (tmp_path / NAME).write_text(content)
    with pytest.raises(DataError, match="cannot be shown") as caught:
        read_report(tmp_path, NAME)
    assert "\n" not in str(caught.value)


def test_a_report_behind_a_link_is_not_opened(tmp_path: Path):
    (tmp_path / "elsewhere").write_text(json.dumps(report()))
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="cannot be shown"):
        read_report(tmp_path, NAME)


def test_a_pipe_in_place_of_a_report_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(DataError):
        read_report(tmp_path, NAME)


EVIL = [None, 3, "x", [], {}, [1], {"columns": 4}, [[]], float("nan"), 10**400, True]


@pytest.mark.parametrize("value", EVIL, ids=str)
@pytest.mark.parametrize("key", sorted(report()))
def test_values_of_the_wrong_type_are_not_known_and_break_nothing(key: str, value: object):
    try:
        found = parsed(**{key: value})
    except ValueError:
        assert key in ("feature_drift", "recommend_retraining")
        return
    for sentence in (performance_sentence(found.performance), coverage_sentence(found.performance)):
        assert sentence.endswith(".")
    assert recommendation_sentence(found).endswith(".")


def test_performance_is_compared_with_its_line_and_expectation():
    assert performance_sentence(parsed().performance) == (
        "ROC-AUC is 0.850 (between 0.800 and 0.900), not below the limit of 0.800; 0.900 was expected."
    )
    untold = report()["performance"] | {"verdict": "cannot tell", "reason": "3 outcomes are known"}
    assert "cannot be judged: 3 outcomes are known." in performance_sentence(parsed(performance=untold).performance)


def test_coverage_is_reported_in_numbers():
    assert coverage_sentence(parsed().performance) == "10 of 20 due outcomes are known (50 %)."
    none = report()["performance"] | {"labels": {"due": 0, "labelled": 0}}
    assert "No outcome is due yet" in coverage_sentence(parsed(performance=none).performance)
    none["labels"] |= {"waiting": 1500, "first_due": "2026-12-28T09:00:00+00:00", "label_horizon_days": 30}
    assert coverage_sentence(parsed(performance=none).performance) == (
        "No outcome is due yet: 1,500 outcomes wait; the first are due on 28 Dec 2026 (label_horizon 30 days)."
    )


def trigger(fired: bool | None, big: bool | None = None) -> dict[str, Any]:
    return {"name": "feature_drift", "big": fired if big is None else big, "fired": fired, "reason": "r"}


@pytest.mark.parametrize(
    ("value", "triggers", "expected"),
    [
        (True, [trigger(True)], "Retraining is recommended."),
        (False, [trigger(None)], "The report cannot tell whether to retrain."),
        (False, [trigger(False, big=True), trigger(False)], "1 of 2 is not certain yet"),
        (False, [trigger(None), trigger(False)], "1 of 2 cannot be judged"),
        (False, [trigger(False)], "no trigger fired."),
    ],
)
def test_the_recommendation_is_a_sentence(value, triggers, expected):
    given = {"value": value, "triggers": triggers}
    assert expected in recommendation_sentence(parsed(recommend_retraining=given))
    aside = recommendation_sentence(parsed(recommend_retraining=given, simulated=True))
    assert aside.endswith("The customers are simulated: no alert or retraining follows.")
