"""Texts of the Models page: versions, decisions and retraining summaries with any details."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from churnops.app.models.history import clock, comparison, known_models, model_name, versions
from churnops.app.models.links import MlflowLinks
from churnops.app.models.summaries import damaged_sentence, newest_files, read_summaries
from churnops.errors import ChurnopsError
from churnops.journal import RecordedDecision
from churnops.retraining.document import SummaryDocument
from tests.support.app_models import BEGIN, NOW, decided, deployment, shown, spells

NAME = "retraining_summary_20261124T141428.962313Z.json"


def summary(folder: Path, document: object, name: str = NAME) -> tuple[list[SummaryDocument], list[str]]:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps(document))
    found, damaged = read_summaries(folder, [name])
    return found, [d.why for d in damaged]


def test_a_version_deployed_twice_is_listed_once_with_all_its_time():
    found = versions(spells(), kept={deployment(1, 1, 0).folder}, summaries=[], now=NOW)
    assert [(v.version, v.state, v.total, v.kept) for v in found] == [
        (2, "was in production", timedelta(days=3), False),
        (1, "in production now", timedelta(days=7), True),
    ]
    assert found[1].first == BEGIN
    assert found[1].last == NOW


def test_a_challenger_that_never_was_in_production_is_listed_too(tmp_path: Path):
    document = {"status": "kept", "version": 7, "challenger": "xgboost-0123456789ab"}
    retrained, _ = summary(tmp_path, document)
    found = versions(spells(), set(), retrained, NOW)
    assert (found[0].version, found[0].state) == (7, "never in production (kept)")
    assert len(versions(spells(), set(), [*retrained, *retrained], NOW)) == 3
    deployed, _ = summary(tmp_path, {"status": "deployed", "version": 2, "challenger": model_name(deployment(3, 2, 4))})
    assert len(versions(spells(), set(), deployed, NOW)) == 2


def test_models_have_the_names_that_answers_give_them():
    assert model_name(deployment(1, 1, 0)) == f"xgboost-{'1' + '0' * 11}"
    assert known_models(spells(), [])["2" + "0" * 11] == f"version 2 (xgboost-{'2' + '0' * 11})"


def test_a_decision_names_the_next_step():
    assert shown().sentence == (
        "Cannot tell yet: the champion stays. About 840 more customers with known outcomes would decide it. "
        "The challenger is too much worse in log loss."
    )
    assert "Send more outcomes" in shown(labels_needed=None, guards=[]).sentence
    assert shown(verdict="keep", guards=[], labels_needed=None).sentence == "Keep: the champion stays."
    assert shown(verdict="deploy").sentence.startswith("Deploy: the challenger is better")
    assert "does not know the verdict" in shown(verdict="perhaps", labels_needed=None, guards=[]).sentence


def test_a_decision_names_the_compared_models():
    found = comparison(decided(), {"a" * 12: "version 2 (xgboost-aaaaaaaaaaaa)"})
    assert (found.champion, found.challenger) == ("version 2 (xgboost-aaaaaaaaaaaa)", "b" * 12)
    assert (found.metric, found.values, found.gain) == ("ROC-AUC", (0.90, 0.92), 0.02)
    assert [(guard.name, guard.held) for guard in found.guards] == [("log loss", False)]


@pytest.mark.parametrize(
    "changes",
    [
        {"gain": "0.5", "low": True, "high": [1], "rows": -3, "churned": 1.5, "guards": "none", "metric": 7},
        {"gain": float("nan"), "low": float("inf"), "rows": 10**400, "guards": [3, None, {"name": "<b>"}] * 99},
        dict.fromkeys(("gain", "low", "high", "rows", "guards", "metric", "labels_needed", "confidence")),
    ],
)
def test_only_details_of_another_shape_are_unknown(changes: dict[str, Any]):
    found = shown(**changes)
    assert found.gain is None
    assert found.rows is None
    assert len(found.guards) <= 10
    assert "<" not in "".join(guard.name for guard in found.guards)
    assert found.sentence


def test_a_decision_without_details_is_shown():
    found = comparison(RecordedDecision(NOW, "deploy", "cannot tell", "the gate could not be asked"), {})
    assert (found.champion, found.gain, found.metric, found.guards) == ("none", None, "", ())


def test_summaries_are_read_newest_first_and_only_so_many(tmp_path: Path):
    for day in range(1, 31):
        summary(tmp_path, {"status": "kept"}, f"retraining_summary_202610{day:02}T000000.000000Z.json")
    (tmp_path / "retraining_summary_x.json").write_text("{}")
    (tmp_path / "monitoring_report_20261124T141428.962313Z.json").write_text("{}")
    files = newest_files(tmp_path)
    assert len(files) == 20
    assert files[0][0] == "retraining_summary_20261030T000000.000000Z.json"
    found, damaged = read_summaries(tmp_path, [name for name, _, _ in files])
    assert damaged == []
    assert [clock(r.started) for r in found[:2]] == ["2026-10-30 00:00", "2026-10-29 00:00"]
    for day in range(1, 4):
        summary(tmp_path, {"status": "kept"}, f"retraining_summary_220010{day:02}T000000.000000Z.json")
    assert newest_files(tmp_path) == files, "dated ahead"
    assert newest_files(tmp_path, 33)[-1][0] == "retraining_summary_22001001T000000.000000Z.json"


def test_without_the_folder_there_are_no_summaries(tmp_path: Path):
    assert newest_files(tmp_path / "nowhere") == ()
    (tmp_path / "file").write_text("")
    with pytest.raises(ChurnopsError, match="cannot be read"):
        newest_files(tmp_path / "file")


def test_every_part_of_a_summary_is_read(tmp_path: Path):
    document = {
        "status": "deployed",
        "started": "2026-11-24T14:14:28+00:00",
        "cause": "monitoring",
        "because": ["worse"],
        "reason": "better",
        "permission": {"value": True, "reasons": ["enough labels"]},
        "champion": "a-1",
        "challenger": "b-2",
        "version": 2,
        "rows": {"original": 10, "held_out": 4},
        "winner": "xgboost: all rows",
        "candidates": {
            "xgboost: all rows": {"validation": {"log_loss": 0.2, "roc_auc": 0.9}, "held_out_roc_auc": 0.8},
            "random_forest: all rows": {"validation": {"log_loss": 0.3}},
        },
        "check": {"reason": "it answers"},
        "warning": None,
        "failures": [],
        "run_id": "c" * 32,
        "seconds": {"1/7 Validate data": 1.0, "5/7 Train models": 2.5},
    }
    (found,), damaged = summary(tmp_path, document)
    assert damaged == []
    assert [(name, name == found.winner, c.held_out_roc_auc) for name, c in (found.candidates or {}).items()] == [
        ("xgboost: all rows", True, 0.8),
        ("random_forest: all rows", False, None),
    ]
    assert (found.total_seconds, found.permission.value) == (3.5, True)
    assert found.check is not None
    assert found.check.reason == "it answers"
    assert found.rows == {"original": 10, "held_out": 4}


@pytest.mark.parametrize("document", [[], {}, {"status": "great"}, 3, None, {"status": ["deployed"]}])
def test_a_file_that_is_no_summary_is_damaged(tmp_path: Path, document: object):
    found, damaged = summary(tmp_path, document)
    assert found == []
    assert len(damaged) == 1


def test_a_summary_with_nonsense_in_every_field_is_shown_without_it(tmp_path: Path):
    names = ("started", "because", "permission", "version", "rows", "candidates", "check", "failures", "seconds")
    (found,), _ = summary(tmp_path, {"status": "kept"} | {name: [{"x": [1]}] for name in names})
    assert found.started == datetime(2026, 11, 24, 14, 14, 28, 962313, tzinfo=UTC)
    assert (found.version, found.candidates, found.seconds, found.run_id) == (None, None, None, None)


def test_files_that_cannot_be_read_in_bounds_are_named(tmp_path: Path):
    names = [f"retraining_summary_2026112{i}T000000.000000Z.json" for i in range(5)]
    (tmp_path / names[0]).write_bytes(b'{"status": "kept", "reason": "' + b"x" * 2**21 + b'"}')
    os.mkfifo(tmp_path / names[1])
    (tmp_path / "secret").write_text('{"status": "kept", "reason": "secret"}')
    (tmp_path / names[2]).symlink_to(tmp_path / "secret")
    (tmp_path / names[3]).write_text("[" * 100_000)
    found, damaged = read_summaries(tmp_path, names)
    assert found == []
    assert [d.why for d in damaged] == [
        "it has more than 2 MiB",
        "it is not an ordinary file",
        "it cannot be read",
        "it is not JSON",
        "it cannot be read",
    ]
    said = damaged_sentence(damaged)
    assert said is not None
    assert said.endswith("and 2 more.")
    assert damaged_sentence([]) is None


def test_links_lead_nowhere_but_to_the_address_of_the_settings():
    links = MlflowLinks("https://mlflow.example.org/base/", "churn")
    assert links.run("a" * 32) == f"https://mlflow.example.org/base/#/runs/{'a' * 32}"
    assert links.version(2) == "https://mlflow.example.org/base/#/models/churn/versions/2"
    for bad in (None, "", "A" * 32, "a" * 31, "a" * 33, "../../x", "a" * 32 + "\n", f"{'a' * 32}/../x"):
        assert links.run(bad) is None
    assert links.version(0) is None


@pytest.mark.parametrize(
    "address",
    ["javascript:alert(1)", "data:text/html,x", "http://ann:secret@host", "//host", "ftp://host", "http:///x"],
)
def test_an_address_that_is_no_web_page_is_neither_linked_nor_shown(address: str):
    links = MlflowLinks(address, "churn")
    assert links.run("a" * 32) is None
    assert links.version(1) is None
    assert links.problem is not None
    assert address not in links.problem
