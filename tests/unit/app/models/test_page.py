"""The Models page, rendered without a browser."""

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from streamlit.testing.v1 import AppTest

from churnops.journal import DeploymentLog, open_database
from churnops.journal.deployment_log import Intent
from churnops.journal.replicas import ReplicaProcess, ReplicaStore
from churnops.registry import replicas
from churnops.settings import load_settings

Show = Callable[[str], AppTest]


def texts(page: AppTest) -> str:
    """Return all text of the page, in reading order."""
    boxes = [*page.markdown, *page.caption, *page.info, *page.success, *page.warning, *page.error]
    return " ".join(str(box.value) for box in boxes).replace("\\", "").replace("\u2060", "")


def test_without_a_model_the_page_names_the_first_command(in_empty_project: Path, show: Show):
    page = show("models")
    assert not page.exception
    assert "churnops run" in page.info[0].value
    said = texts(page)
    assert "churnops retrain" in said
    assert "No rollback is possible" in said


def test_the_first_model_is_named_with_who_deployed_it_and_why(in_project: Path, show: Show):
    page = show("models")
    assert not page.exception
    assert not page.error
    assert not page.warning
    deployment = DeploymentLog(open_database(f"sqlite:///{in_project}/journal.db")).history()[-1]
    said = texts(page)
    assert f"**Version 1** ({load_name(in_project)}) has been in production for" in said
    assert f"{deployment.by} deployed it: {deployment.reason}" in said
    assert {metric.label: metric.value for metric in page.metric} == {
        "Version in production": "1",
        "Deployments": "1",
        "Rollbacks": "0",
    }
    when, listed = (frame.value for frame in page.dataframe)
    assert list(when["Until (UTC)"]) == ["now"]
    assert list(listed["State"]) == ["in production now"]
    assert list(listed["MLflow"]) == ["http://127.0.0.1:5000/#/models/churn/versions/1"]


def test_a_replica_that_answers_with_another_model_is_named(
    in_project: Path, show: Show, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(replicas, "AWAY", timedelta(days=1))  # a busy machine may show the page late
    now = datetime.now(UTC)
    engine = open_database(f"sqlite:///{in_project}/journal.db")
    store = ReplicaStore(engine)
    store.write(ReplicaProcess("a", "api-2", "0.0.0.0:8000", 7, "0.1.0", now, "earlier", "tree-1", "1" * 64, now))
    page = show("models")
    store.remove("a")
    engine.dispose()
    assert not page.exception
    assert "Replicas that answer with it: 0 of 1; api-2 0.0.0.0:8000 answers with tree-1" in texts(page)


def load_name(folder: Path) -> str:
    document = yaml.safe_load((folder / "models/production/bundle.json").read_text())
    return f"{document['algorithm']}-{document['content_sha256'][:12]}"


@pytest.mark.parametrize("address", ["javascript:alert(1)", "http://ann:secret@mlflow"])
def test_an_invalid_mlflow_address_is_an_error_without_links(in_project: Path, show: Show, address: str):
    path = in_project / "config.yaml"
    document = yaml.safe_load(path.read_text())
    document["dashboard"] = {"mlflow_url": address}
    path.write_text(yaml.safe_dump(document))
    page = show("models")
    assert not page.exception
    said = texts(page)
    assert "setting 'dashboard.mlflow_url': must be an address" in said
    assert address not in said
    assert not page.dataframe


def test_unfinished_deployments_and_a_wrong_link_are_shown(in_project: Path, show: Show):
    log = DeploymentLog(open_database(f"sqlite:///{in_project}/journal.db"))
    last = log.history()[-1]
    log.open_intent(
        Intent(
            folder=last.folder,
            version=1,
            content_sha256=last.content_sha256,
            previous=last.folder,
            reason="again",
            by="ann",
        )
    )
    assert "A deployment is not finished" in texts(show("models"))
    (in_project / "models/production").unlink()
    assert "name different models" in texts(show("models"))


def test_damaged_summaries_are_named_and_the_others_shown(in_project: Path, show: Show):
    reports = in_project / load_settings(in_project / "config.yaml").monitoring.directory
    (reports / "retraining_summary_20261124T141428.962313Z.json").write_text('{"status": "kept", "reason": "no gain"}')
    (reports / "retraining_summary_20261125T141428.962313Z.json").write_text("{")
    page = show("models")
    assert not page.exception
    said = texts(page)
    assert "Damaged files are not shown: retraining_summary_20261125T141428.962313Z.json (it is not JSON)." in said
    assert "**The deployed model stays.** no gain" in said
    (reports / "retraining_summary_20261125T141428.962313Z.json").unlink()
    assert "damaged" not in texts(page.run())  # the next run sees that the files changed


def test_importing_the_page_loads_no_heavy_library():
    heavy = ("mlflow", "sklearn", "xgboost", "matplotlib", "pandas")
    code = f"import sys, churnops.app.models.page; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
