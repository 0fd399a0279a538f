"""The main job on a small table, read back through MLflow's own client."""

import json
import shutil
import sqlite3
import xml.etree.ElementTree as ElementTree
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

import churnops
from churnops import __version__
from churnops.data.validate import ValidationError
from churnops.errors import BundleError, ChurnopsError
from churnops.evaluation import METRICS
from churnops.model import Bundle
from churnops.pipelines.run_all import EXPERIMENT, STEPS, RunSummary, run_all
from churnops.settings import FAMILIES, Settings, load_settings
from churnops.step import StepResult
from churnops.tracking import Tracker
from churnops.tracking.ending import noted
from tests.support import processes
from tests.support.deployments import opened_registry
from tests.support.projects import quick, write_project, write_small_data, write_store

Project = tuple[Settings, RunSummary]


@pytest.fixture
def client(project: Project) -> MlflowClient:
    return Tracker(project[0]).client


@pytest.fixture
def fresh(tmp_path: Path, project: Project) -> Settings:
    """A copy of the small project as the first run left it, to be written to."""
    settings, _ = project
    folder = tmp_path / "copy"
    shutil.copytree(settings.root, folder, symlinks=True)
    return load_settings(folder / "config.yaml")


def with_one_family(settings: Settings) -> Settings:
    """Return the settings as their file is now, but with one family, which takes half the time."""
    return load_settings(settings.root / "config.yaml", {"CHURNOPS_TRAINING__FAMILIES": "[decision_tree]"})


def children(client: MlflowClient, parent: str) -> dict[str, Run]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    return {run.info.run_name: run for run in found}


def artifacts(client: MlflowClient, run_id: str, path: str | None = None) -> set[str]:
    listed = client.list_artifacts(run_id, path)
    return {item.path for item in listed if not item.is_dir} | {
        found for item in listed if item.is_dir for found in artifacts(client, run_id, item.path)
    }


def read(client: MlflowClient, run_id: str, path: str, folder: Path) -> str:
    return Path(client.download_artifacts(run_id, path, str(folder))).read_text()


def test_the_seven_runs_hang_under_one_parent_in_order(project: Project, client: MlflowClient):
    _, summary = project
    steps = children(client, summary.run_id)
    assert tuple(sorted(steps)) == STEPS
    assert {run.info.status for run in steps.values()} == {"FINISHED"}
    starts = [steps[name].info.start_time for name in STEPS]
    assert starts == sorted(starts)
    parent = client.get_run(summary.run_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["churnops.status"] == "deployed"


def test_the_parent_run_holds_what_people_compare(project: Project, client: MlflowClient, tmp_path: Path):
    settings, summary = project
    parent = client.get_run(summary.run_id)
    winner = summary.evaluated.winner
    held_out = summary.evaluated.evaluations[winner].metrics
    assert parent.data.metrics["roc_auc"] == pytest.approx(held_out["roc_auc"].value)
    assert set(METRICS) <= set(parent.data.metrics)
    assert parent.data.params["winner"] == winner
    assert parent.data.tags["churnops.version"] == __version__
    assert parent.data.tags["churnops.model_version"] == "1"
    note, evaluation = parent.data.tags["mlflow.note.content"], children(client, summary.run_id)[STEPS[5]].info
    page = f"#/experiments/{evaluation.experiment_id}/runs/{evaluation.run_id}/artifacts/evaluation.html"
    assert f"[evaluation.html]({page})" in note
    assert "[version 1](#/models/churn/versions/1)" in note
    config = yaml.safe_load(read(client, summary.run_id, "config.yaml", tmp_path))
    assert config["monitoring"]["performance_threshold"] == settings.monitoring.performance_threshold
    assert json.loads(read(client, summary.run_id, "decision.json", tmp_path))["status"] == "deployed"


def test_the_settings_of_a_run_hold_no_password(fresh: Settings, tmp_path: Path):
    variables = {"CHURNOPS_JOURNAL__URL": "postgresql+psycopg://user:hunter2@localhost/x"}
    tracker = Tracker(load_settings(fresh.root / "config.yaml", variables))
    with tracker.pipeline(EXPERIMENT, "a run") as run:
        pass
    config = read(tracker.client, run.run_id, "config.yaml", tmp_path)
    assert "localhost/x" in config
    assert "hunter2" not in config


def test_nested_runs_have_test_metrics_folds_and_a_duration(project: Project, client: MlflowClient):
    summary = project[1]
    training = children(client, summary.run_id)[STEPS[4]]
    nested = children(client, training.info.run_id)
    assert set(nested) == set(FAMILIES)
    for name, run in nested.items():
        expected = summary.evaluated.evaluations[name].metrics["roc_auc"].value
        assert run.data.metrics["test_roc_auc"] == pytest.approx(expected)
        history = client.get_metric_history(run.info.run_id, "fold_roc_auc")
        assert [point.step for point in history] == [1, 2, 3]
        assert np.mean([point.value for point in history]) == pytest.approx(run.data.metrics["cv_roc_auc"])
        seconds = (run.info.end_time - run.info.start_time) / 1000
        assert seconds == pytest.approx(run.data.metrics["search_seconds"], abs=0.01)
        (output,) = run.outputs.model_outputs
        model = client.get_logged_model(output.model_id)
        assert model.params == run.data.params
        measured_on = {metric.key: metric.dataset_name for metric in model.metrics}
        assert measured_on["cv_roc_auc"] == "training"
        assert measured_on["test_roc_auc"] == "held_out"
        assert {item.dataset.name for item in run.inputs.dataset_inputs} == {"training", "held_out"}


def test_the_winners_model_has_its_own_metrics_data_and_parameters(project: Project, client: MlflowClient):
    summary = project[1]
    run = children(client, summary.run_id)[STEPS[5]]
    (output,) = run.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    (held_out,) = run.inputs.dataset_inputs
    assert {metric.key for metric in model.metrics} == set(METRICS)
    assert {(m.dataset_name, m.dataset_digest) for m in model.metrics} == {("held_out", held_out.dataset.digest)}
    best = summary.trained.models[summary.evaluated.winner].search.best.params
    assert {name: str(value) for name, value in best.items()}.items() <= model.params.items()
    others = {f"{family}.roc_auc" for family in FAMILIES if family != summary.evaluated.winner}
    assert others <= set(run.data.metrics)


def test_figures_are_logged_as_images(project: Project, client: MlflowClient, tmp_path: Path):
    evaluation = children(client, project[1].run_id)[STEPS[5]].info.run_id
    images = artifacts(client, evaluation, "figures")
    names = ("calibration", "confusion_matrix", "precision_recall", "roc_curve")
    assert images == {f"figures/{name}.svg" for name in names}
    monitoring = children(client, project[1].run_id)[STEPS[6]].info.run_id
    for run_id, image in [*((evaluation, image) for image in images), (monitoring, "figures/columns.svg")]:
        root = ElementTree.fromstring(read(client, run_id, image, tmp_path))
        assert root.tag.endswith("svg")
        assert {"width", "height", "viewBox"} <= set(root.attrib)  # without a size, MLflow shows nothing


def test_the_source_of_a_run_is_complete(project: Project, client: MlflowClient, tmp_path: Path):
    package = Path(churnops.__file__).parent
    archive = client.download_artifacts(project[1].run_id, "code/churnops.zip", str(tmp_path))
    assert Path(archive).stat().st_size < 1_500_000
    shutil.unpack_archive(archive, tmp_path / "source")
    files = {path.relative_to(package.parent) for path in package.rglob("*") if path.is_file()}
    expected = {path for path in files if "__pycache__" not in path.parts}
    source = tmp_path / "source"
    unpacked = {path.relative_to(source): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    assert unpacked == {path: (package.parent / path).read_bytes() for path in expected}
    packages = read(client, project[1].run_id, "environment/requirements.txt", tmp_path)
    assert "mlflow==" in packages
    assert "churnops" not in packages  # no package index has it


def test_the_output_of_each_step_is_its_result_in_words(project: Project, client: MlflowClient, tmp_path: Path):
    summary, text = project[1], {}
    for name, run in children(client, summary.run_id).items():
        text[name] = read(client, run.info.run_id, "output/stdout.txt", tmp_path / name[0])
        assert read(client, run.info.run_id, "output/stderr.txt", tmp_path / name[0]) == ""
    assert "rows of raw/churn-20.csv are valid" in text[STEPS[0]]
    assert "churned" in text[STEPS[1]]
    assert "held-out rows; 0 missing values" in text[STEPS[2]]
    assert "features are selected" in text[STEPS[3]]
    assert f"{summary.evaluated.winner} has the best log loss" in text[STEPS[4]]
    assert all(f"  {family}: log loss " in text[STEPS[4]] for family in FAMILIES)
    assert f"ROC-AUC: {summary.evaluation.metrics['roc_auc'].value:.4f}" in text[STEPS[5]]
    assert summary.cycle.report.reasons[0] in text[STEPS[6]]


def test_the_registered_version_is_described_and_listed(project: Project, client: MlflowClient):
    settings, summary = project
    (version,) = client.search_model_versions(f"name='{settings.registry.model_name}'")
    assert summary.evaluated.bundle.version_name in version.description
    assert {"roc_auc", "training_sha256", "reason", "content_sha256"} <= set(version.tags)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    models = client.search_logged_models([experiment.experiment_id])
    (tag,) = [model.tags["mlflow.modelVersions"] for model in models if "mlflow.modelVersions" in model.tags]
    assert json.loads(tag) == [{"name": settings.registry.model_name, "version": 1}]


def test_every_step_tracks_its_code_output_and_environment(project: Project, client: MlflowClient):
    for name, run in children(client, project[1].run_id).items():
        files = artifacts(client, run.info.run_id)
        assert {"output/stdout.txt", "output/stderr.txt", "environment/requirements.txt"} <= files, name
        assert "environment/environment.json" in files
        assert any(path.startswith("code/") and path.endswith(".py") for path in files), name
        assert run.data.params, name
        assert run.data.metrics, name


def test_each_step_tracks_what_it_made(project: Project, client: MlflowClient, tmp_path: Path):
    steps = {name: run.info.run_id for name, run in children(client, project[1].run_id).items()}
    made = {name: artifacts(client, run_id) for name, run_id in steps.items()}
    assert {"validation_report.json", "validation_report.txt"} <= made[STEPS[0]]
    assert "merged.parquet" in made[STEPS[1]]
    assert "imputation.json" in made[STEPS[2]]
    assert "selected_features.json" in made[STEPS[3]]
    assert {"selection.json", "reference.parquet"} <= made[STEPS[4]]
    pages = {"evaluation.html", "confusion_matrix.html", "model_card.html"}
    assert pages | {"evaluation_results.json", "test_data.parquet"} <= made[STEPS[5]]
    assert any(path.startswith("monitoring_report_") for path in made[STEPS[6]])
    results = json.loads(read(client, steps[STEPS[5]], "evaluation_results.json", tmp_path))
    assert set(results["models"]) == set(FAMILIES)
    for metric in METRICS:
        interval = results["models"][project[1].evaluated.winner]["metrics"][metric]
        assert interval["low"] <= interval["value"] <= interval["high"], metric
    page = Path(client.download_artifacts(steps[STEPS[5]], "evaluation.html", str(tmp_path)))
    assert page.stat().st_size < 200_000
    assert "<script" not in page.read_text()


def test_a_version_leads_to_its_card(project: Project, client: MlflowClient, tmp_path: Path):
    address = client.get_model_version("churn", "1").tags["model_card"]
    page = Path(
        mlflow.artifacts.download_artifacts(address, dst_path=str(tmp_path), tracking_uri=Tracker(project[0]).uri)
    )
    assert f"Model card: {project[1].deployed.model_version}" in page.read_text()


def test_the_card_of_a_version_is_written_to_a_file(project: Project, tmp_path: Path):
    settings, summary = project
    command = (processes.CHURNOPS, "--config", str(settings.root / "config.yaml"), "models", "card")
    assert processes.run(*command, cwd=tmp_path).stdout == "Wrote the card of version 1: model_card.html\n"
    card = (tmp_path / "model_card.html").read_text()
    assert f"Model card: {summary.deployed.model_version}" in card
    assert "not in the schema" not in card
    assert "exists already" in processes.run(*command, cwd=tmp_path, code=2).stderr
    assert (
        "version 9 is not registered"
        in processes.run(*command, "9", "--out", "other.html", cwd=tmp_path, code=2).stderr
    )
    assert not (tmp_path / "other.html").exists()
    document = json.loads(processes.run(*command, "1", "--force", "--json", cwd=tmp_path).stdout)
    assert document["version"] == 1


def test_the_first_cycle_tests_the_deployed_model_on_later_customers(project: Project):
    report = project[1].cycle.report
    assert report.model_version == project[1].deployed.model_version
    assert report.rows == report.performance.coverage.labelled == 500
    assert report.performance.evaluation is not None
    assert report.performance.evaluation.metrics["roc_auc"].value > 0.8
    assert report.feature_drift.drift_rate is not None


def test_data_sets_are_inputs_of_the_steps_that_read_them(project: Project, client: MlflowClient):
    steps = children(client, project[1].run_id)
    (raw,) = client.get_run(steps[STEPS[1]].info.run_id).inputs.dataset_inputs
    assert raw.dataset.name == "raw"
    assert raw.dataset.source == "raw/churn-20.csv, raw/churn-80.csv"
    (training,) = client.get_run(steps[STEPS[2]].info.run_id).inputs.dataset_inputs
    assert training.dataset.digest == raw.dataset.digest


def test_each_family_is_a_nested_run_with_its_bundle_as_model(project: Project, client: MlflowClient, tmp_path: Path):
    _, summary = project
    training = children(client, summary.run_id)[STEPS[4]].info.run_id
    families = children(client, training)
    assert set(families) == set(FAMILIES)
    for name, run in families.items():
        assert run.data.metrics["cv_log_loss"] == pytest.approx(
            summary.trained.models[name].search.best.mean("log_loss")
        )
        assert run.data.metrics["cv_log_loss_fold_1"] > 0
        assert set(summary.trained.models[name].search.best.params) <= set(run.data.params)
        (output,) = run.outputs.model_outputs
        model = client.get_logged_model(output.model_id)
        folder = Path(
            mlflow.artifacts.download_artifacts(
                f"{model.artifact_location}/artifacts/bundle", dst_path=str(tmp_path / name)
            )
        )
        assert Bundle.load(folder).content_sha256 == summary.trained.models[name].bundle.content_sha256


def test_the_winner_is_registered_and_answers(project: Project, client: MlflowClient):
    settings, summary = project
    version = client.get_model_version_by_alias("churn", "production")
    assert version.tags["content_sha256"] == summary.evaluated.bundle.content_sha256
    production = Bundle.load(settings.root / "models/production")
    assert production.content_sha256 == summary.evaluated.bundle.content_sha256
    assert production.metrics["held_out"]["metrics"]["roc_auc"]["value"] == summary.evaluation.metrics["roc_auc"].value
    assert production.lineage["run_id"] == summary.run_id
    assert (settings.root / "models/production").readlink().parts[0] == "versions"


def test_the_registered_model_predicts_as_the_bundle_does(project: Project, client: MlflowClient):
    settings, summary = project
    loaded = mlflow.pyfunc.load_model("models:/churn@production")
    table = pl.read_csv(settings.root / "data/production/churn-later.csv").head(20)
    renamed = table.rename(settings.table.rename(table.columns)).drop("churn")
    answer = loaded.predict(pd.DataFrame(renamed.to_dict(as_series=False)))
    assert list(answer.columns) == ["churn_probability", "churn_prediction", "model_version"]
    assert set(answer["model_version"]) == {summary.deployed.model_version}
    assert answer["churn_probability"].between(0, 1).all()


def test_the_parent_and_the_step_fail_when_a_step_does(fresh: Settings):
    later = fresh.root / "data/raw/churn-20.csv"
    later.write_text(later.read_text().replace(",Yes,", ",perhaps,", 1))
    before = sorted(p.name for p in (fresh.root / "models/versions").iterdir())
    with pytest.raises(ValidationError, match="not one of No, Yes, such as 'perhaps'"):
        run_all(fresh)
    client = Tracker(fresh).client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    newest, failed = client.search_runs([experiment.experiment_id], "status = 'FAILED'", order_by=["start_time DESC"])
    assert {newest.info.run_name, failed.info.run_name} >= {STEPS[0]}
    files = artifacts(client, newest.info.run_id)
    assert {"validation_report.json", "error.txt"} <= files
    assert sorted(p.name for p in (fresh.root / "models/versions").iterdir()) == before
    assert len(children(client, failed.info.run_id)) == 1  # nothing ran after the failure


def test_a_defect_in_a_step_fails_the_run_and_is_not_swallowed(fresh: Settings, monkeypatch: pytest.MonkeyPatch):
    def broken(*_args: Any, **_kwargs: Any) -> None:
        print("about to fail")  # noqa: T201
        raise ZeroDivisionError

    monkeypatch.setattr("churnops.pipelines.prepare.merge", broken)
    seen: list[tuple[str, str]] = []
    with pytest.raises(ZeroDivisionError):
        run_all(fresh, progress=lambda step, state: seen.append((step, state)))
    assert seen[-1] == (STEPS[1], "failed")
    client = Tracker(fresh).client
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    failed = client.search_runs([experiment.experiment_id], "status = 'FAILED'", order_by=["start_time DESC"])
    step = next(run for run in failed if run.info.run_name == STEPS[1])
    assert "about to fail" in read(client, step.info.run_id, "output/stdout.txt", fresh.root)
    assert read(client, step.info.run_id, "output/stderr.txt", fresh.root) == "ZeroDivisionError\n"
    assert "ZeroDivisionError" in read(client, step.info.run_id, "error.txt", fresh.root)
    assert len(failed) == 2


def test_the_same_inputs_under_other_file_names_change_nothing(fresh: Settings, project: Project):
    raw = fresh.root / "data/raw"
    (raw / "churn-80.csv").rename(raw / "a.csv")
    link = (fresh.root / "models/production").readlink()
    again = run_all(fresh)
    assert again.deployed.status == "unchanged"
    assert again.evaluated.bundle.content_sha256 == project[1].evaluated.bundle.content_sha256
    assert (fresh.root / "models/production").readlink() == link
    with opened_registry(fresh) as registry:
        assert [v.version for v in registry.versions()] == [1]


def test_a_new_winner_is_challenger_until_deployed(fresh: Settings):
    lines = (fresh.root / "data/raw/churn-20.csv").read_text().splitlines(keepends=True)
    (fresh.root / "data/raw/churn-20.csv").write_text("".join(lines[:-60]))
    link = (fresh.root / "models/production").readlink()

    found = run_all(with_one_family(fresh))
    assert found.deployed.status == "challenger"
    decision = found.deployed.decision
    assert decision is not None
    metrics = Tracker(fresh).client.get_run(found.run_id).data.metrics
    assert metrics["champion_roc_auc"] == pytest.approx(decision.champion)
    assert metrics["challenger_roc_auc"] == pytest.approx(decision.challenger)
    assert (fresh.root / "models/production").readlink() == link
    with opened_registry(fresh) as registry:
        assert {v.version: v.aliases for v in registry.versions()} == {1: ("production",), 2: ("challenger",)}
        assert found.cycle.report.model_version != found.deployed.model_version  # monitored is what answers

        deployed = run_all(with_one_family(fresh), deploy=True)
        assert deployed.deployed.status == "deployed"
        assert deployed.deployed.version == 2
        assert (fresh.root / "models/production").readlink() != link
        assert {v.version: v.aliases for v in registry.versions()} == {1: ("previous",), 2: ("production",)}
        assert [d.closed for d in registry.deployed.log.history()] == ["done", "done"]


def test_a_new_model_is_alerted_although_its_first_cycle_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def change(document: dict[str, Any]) -> None:
        quick(document)
        document["training"]["families"] = ["decision_tree"]

    write_small_data(tmp_path, 300)
    settings = load_settings(write_project(tmp_path, change))
    settings.path("monitoring").write_text("a file where the reports would go")
    summary = run_all(settings)
    assert summary.cycle is None
    assert "the first monitoring cycle failed: " in (summary.deployed.warning or "")
    told = capsys.readouterr().err
    assert "is deployed" in told
    assert "A monitoring cycle failed" not in told  # the summary has the reason already
    assert Bundle.load(settings.root / "models/production")


def test_a_damaged_production_stops_the_run_unless_it_is_replaced(fresh: Settings):
    document = fresh.root / "models/production/bundle.json"
    document.write_text(document.read_text() + " ")
    with pytest.raises(BundleError, match=r"was changed.*run --deploy"):
        run_all(fresh)
    assert run_all(with_one_family(fresh), deploy=True).deployed.status == "deployed"
    assert Bundle.load(fresh.root / "models/production")


def test_later_customers_are_scored_with_the_deployed_models_schema(fresh: Settings, project: Project):
    """Choices in another order have other codes: the deployed model keeps its own."""
    document = yaml.safe_load((fresh.root / "config.yaml").read_text())
    for column in document["schema"]["columns"]:
        if column["name"] == "voice_mail_plan":
            column["choices"] = column["choices"][::-1]
    (fresh.root / "config.yaml").write_text(yaml.safe_dump(document))
    found = run_all(with_one_family(fresh))
    assert found.deployed.status == "challenger"
    assert found.cycle.report.performance == project[1].cycle.report.performance
    assert found.cycle.report.performance.coverage.labelled == 500

    document["schema"]["columns"] = [c for c in document["schema"]["columns"] if c["name"] != "voice_mail_plan"]
    document["features"]["derived"] = []
    (fresh.root / "config.yaml").write_text(yaml.safe_dump(document))
    found = run_all(with_one_family(fresh))
    assert found.cycle.report.rows == 0
    assert "another schema" in found.cycle.report.source
    assert "voice_mail_plan" in found.cycle.report.source


def test_without_production_customers_the_cycle_cannot_tell(tmp_path: Path):
    def change(document: dict[str, Any]) -> None:
        quick(document)
        document["data"]["production"] = []
        document["training"]["families"] = ["decision_tree"]

    write_small_data(tmp_path, 300)
    summary = run_all(load_settings(write_project(tmp_path, change)))
    assert summary.cycle.report.rows == 0
    assert summary.cycle.report.feature_drift.drift_rate is None
    json.dumps(summary.to_json(), allow_nan=False)


def test_a_store_that_does_not_answer_is_one_line(fresh: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ChurnopsError, match=r"MLflow store http://127\.0\.0\.1:9 cannot be opened") as caught:
        run_all(fresh)
    assert "\n" not in str(caught.value)


def test_a_store_that_fails_meanwhile_is_one_line(tmp_path: Path):
    write_store(tmp_path)
    tracker = Tracker(load_settings(write_project(tmp_path, quick)))

    def run_into_it() -> None:
        with tracker.pipeline("somewhere", "a run") as run:
            with closing(sqlite3.connect(tmp_path / "mlflow.db")) as store:
                store.execute("ALTER TABLE tags RENAME TO elsewhere")
            run.tag("churnops.status", "deployed")

    with pytest.raises(ChurnopsError) as caught:
        run_into_it()
    assert "\n" not in str(caught.value)
    assert "mlflow.db failed: " in str(caught.value)


def test_a_tracking_failure_is_noted_in_one_line_without_passwords():
    error = ValueError("what a step failed with")
    with noted(error):
        raise OSError("no answer from https://ann:secret@mlflow:5000\nand where it happened")
    assert error.__notes__ == ["MLflow could not record this failure: no answer from https://***@mlflow:5000"]


@pytest.mark.parametrize("when", ["create_run", "set_terminated"])
def test_an_interruption_inside_a_store_call_leaves_no_run_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
):
    write_store(tmp_path)
    tracker = Tracker(load_settings(write_project(tmp_path, quick)))

    def run_into_it() -> None:
        with tracker.pipeline("somewhere", "a run") as run:
            done = getattr(tracker.client, when)

            def interrupted(*args: Any, **kwargs: Any) -> None:
                monkeypatch.undo()
                if when == "create_run":  # the store has made it, and nobody knows its id
                    done(*args, **kwargs)
                raise KeyboardInterrupt

            monkeypatch.setattr(tracker.client, when, interrupted)
            run.step("a step", StepResult)

    with pytest.raises(KeyboardInterrupt):
        run_into_it()
    experiment = tracker.client.get_experiment_by_name("somewhere")
    runs = tracker.client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["KILLED", "KILLED"]
