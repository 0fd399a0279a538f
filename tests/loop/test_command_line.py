"""The commands as a new user types them, in processes of their own."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import click
import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from churnops.cli import main
from churnops.cli.root import _Commands, show_json
from churnops.pipelines.run_all import STEPS
from churnops.settings import default_config
from tests.support.processes import CHURNOPS, run, run_fresh
from tests.support.projects import REPOSITORY, quick, write_project, write_small_data


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


def change(document: dict[str, Any]) -> None:
    quick(document)
    document["training"]["families"] = ["logistic_regression", "decision_tree"]


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory, elsewhere: Path) -> tuple[Path, str]:
    """A project on which `python run_all.py` was typed from another folder, and what it printed."""
    folder = tmp_path_factory.mktemp("typed")
    write_small_data(folder, store=False)
    write_project(folder, change)
    shutil.copy(REPOSITORY / "run_all.py", folder)
    done = run(sys.executable, str(folder / "run_all.py"), cwd=elsewhere)
    return folder, done.stdout


def test_everything_lands_in_the_project_wherever_it_is_typed(typed: tuple[Path, str], elsewhere: Path):
    folder, _ = typed
    assert list(elsewhere.iterdir()) == []
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "data",
        "journal.db",
        "mlartifacts",
        "mlflow.db",
        "models",
        "monitoring",
        "run_all.py",
    }


def test_the_last_lines_name_the_winner_its_folder_and_next_commands(typed: tuple[Path, str]):
    folder, output = typed
    production = (folder / "models/production").readlink().name
    for expected in ("←", "ROC-AUC", "95% interval", "Deployed version 1", production, "churnops predict", "mlflow ui"):
        assert expected in output, expected


def test_json_is_one_document_and_nothing_else(typed: tuple[Path, str]):
    done = run(CHURNOPS, "run", "--json", cwd=typed[0])
    document = json.loads(done.stdout)
    assert document["status"] == "unchanged"
    assert set(document["seconds"]) == set(STEPS)
    assert document["held_out"]["metrics"]["roc_auc"]["value"] > 0.5
    assert done.stderr == ""


def test_models_lists_versions_and_the_deployed_model(typed: tuple[Path, str]):
    folder = typed[0]
    output = run(CHURNOPS, "models", cwd=folder / "data").stdout
    assert "production" in output
    assert (folder / "models/production").readlink().name in output
    document = json.loads(run(CHURNOPS, "models", "--json", cwd=folder).stdout)
    assert document["production"] == (folder / "models/production").readlink().name
    assert [v["aliases"] for v in document["versions"]] == [["production"]]


@pytest.mark.parametrize(
    ("source", "target"), [("csv", "csv"), ("csv", "parquet"), ("parquet", "csv"), ("parquet", "parquet")]
)
def test_predict_adds_three_columns(typed: tuple[Path, str], tmp_path: Path, source: str, target: str):
    folder = typed[0]
    customers = pl.read_csv(folder / "data/production/churn-later.csv").head(50).with_columns(note=pl.lit("kept"))
    given, scored = tmp_path / f"in.{source}", tmp_path / f"out.{target}"
    customers.write_parquet(given) if source == "parquet" else customers.write_csv(given)
    done = run(CHURNOPS, "--config", str(folder / "config.yaml"), "predict", str(given), str(scored), cwd=tmp_path)
    assert "Scored 50 customers with " in done.stdout
    result = pl.read_parquet(scored) if target == "parquet" else pl.read_csv(scored)
    assert result.columns == [*customers.columns, "churn_probability", "churn_prediction", "model_version"]
    assert result["note"].to_list() == ["kept"] * 50
    assert result["churn_prediction"].to_list() == (result["churn_probability"] >= 0.5).to_list()
    version = json.loads((folder / "models/production/bundle.json").read_text())
    assert set(result["model_version"]) == {f"{version['algorithm']}-{version['content_sha256'][:12]}"}


def test_predict_needs_only_what_the_model_needs(typed: tuple[Path, str], tmp_path: Path):
    folder = typed[0]
    table = pl.read_csv(folder / "data/production/churn-later.csv").head(5)
    table.write_csv(tmp_path / "full.csv")
    table.drop("State", "Area code", "Churn", "Total day charge").write_csv(tmp_path / "bare.csv")
    config = ("--config", str(folder / "config.yaml"))
    for name in ("full", "bare"):
        run(CHURNOPS, *config, "predict", f"{name}.csv", f"{name}-scored.csv", cwd=tmp_path)
    full, bare = (pl.read_csv(tmp_path / f"{name}-scored.csv")["churn_probability"] for name in ("full", "bare"))
    assert full.to_list() == bare.to_list()


def refuse(folder: Path, message: str, *command: str, **variables: str) -> None:
    """Expect exit code 2 and an error that is one line, and that nothing in the folder changed but the tracking."""
    tracked = ("mlflow.db", "mlartifacts", "journal.db")
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if not any(t in str(p) for t in tracked)}
    done = run(*command, cwd=folder, code=2, **variables)
    assert message in done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    after = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if not any(t in str(p) for t in tracked)}
    assert after == before


def test_bad_input_is_one_clear_line_and_touches_nothing(typed: tuple[Path, str]):
    folder = typed[0]
    later = "data/production/churn-later.csv"
    (folder / "bad.csv").write_text((folder / later).read_text().replace(",No,", ",perhaps,", 1))
    (folder / "empty.csv").touch()
    refuse(folder, "not one of No, Yes, such as 'perhaps' (row 1)", CHURNOPS, "predict", "bad.csv", "out.csv")
    refuse(folder, "empty.csv is empty", CHURNOPS, "predict", "empty.csv", "out.csv")
    refuse(folder, "absent.csv does not exist", CHURNOPS, "predict", "absent.csv", "out.csv")
    refuse(folder, "must end in .csv or .parquet", CHURNOPS, "predict", later, "out.xlsx")
    refuse(folder, "exists already", CHURNOPS, "predict", later, "bad.csv")
    refuse(folder, "exists already", CHURNOPS, "predict", later, later, "--force")
    refuse(folder, "is not a folder", CHURNOPS, "predict", later, "nowhere/out.csv")
    refuse(folder, "did you mean 'monitoring'", CHURNOPS, "run", CHURNOPS_MONITR__X="1")
    refuse(folder, "data/absent does not exist", CHURNOPS, "run", CHURNOPS_DATA__RAW="[data/absent]")
    refuse(folder, "no model is deployed in", CHURNOPS, "predict", later, "out.csv", CHURNOPS_REGISTRY__DIRECTORY="x")
    wrong = "[{name: x, expression: total_minuts}]"
    refuse(folder, "no column 'total_minuts'", CHURNOPS, "run", CHURNOPS_FEATURES__DERIVED=wrong)


def test_a_wrong_raw_table_stops_the_run_and_lists_every_failure(typed: tuple[Path, str], tmp_path: Path):
    folder = tmp_path / "copy"
    shutil.copytree(typed[0], folder, symlinks=True)
    (folder / "data/raw/notes.csv").write_text("some,other,table\n1,2,3\n")
    done = run(CHURNOPS, "run", cwd=folder, code=2)
    assert done.stderr.count("required column is missing") == 14
    assert json.loads(run(CHURNOPS, "models", "--json", cwd=folder).stdout)["production"]


def test_config_show_is_a_config_and_check_checks_it(tmp_path: Path):
    shown = run(CHURNOPS, "config", "show", cwd=tmp_path).stdout
    assert shown == default_config()
    (tmp_path / "config.yaml").write_text(shown)
    assert "The settings are valid: 21 columns" in run(CHURNOPS, "config", "check", cwd=tmp_path).stdout
    document: dict[str, Any] = json.loads(run(CHURNOPS, "config", "check", "--json", cwd=tmp_path).stdout)
    assert document["monitoring"] == yaml.safe_load(shown)["monitoring"]
    refuse(
        tmp_path, "did you mean 'drift_threshold'", CHURNOPS, "config", "check", CHURNOPS_MONITORING__DRIFT_TRESHOLD="1"
    )


def test_without_a_config_each_command_names_the_remedy(tmp_path: Path):
    for command in (["run"], ["models"], ["predict", "a.csv", "b.csv"], ["config", "check"]):
        refuse(tmp_path, "churnops init TABLE --target HEADER", CHURNOPS, *command)


def test_help_teaches_and_stays_light(tmp_path: Path):
    for command in ([], ["run"], ["models"], ["config", "check"], ["predict"], ["monitor"], ["simulate"], ["version"]):
        assert "Usage: churnops" in run(CHURNOPS, *command, "--help", cwd=tmp_path).stdout
    heavy = ["mlflow", "sklearn", "numpy", "polars", "rich", "pydantic"]
    code = f"import sys; from churnops.cli import main; print([m for m in {heavy} if m in sys.modules])"
    assert run_fresh(sys.executable, "-c", code, cwd=tmp_path).stdout.strip() == "[]"
    assert run(CHURNOPS, "version", cwd=tmp_path).stdout.startswith("churnops ")
    assert run(CHURNOPS, "--version", cwd=tmp_path).stdout == run(CHURNOPS, "version", cwd=tmp_path).stdout
    assert json.loads(run(CHURNOPS, "version", "--json", cwd=tmp_path).stdout)["bundle_protocol"] == 4
    run(CHURNOPS, "nonsense", cwd=tmp_path, code=2)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("serve", "uvicorn is not installed: pip install 'churnops[serve]'"),
        ("dashboard", "streamlit is not installed: pip install 'churnops[dashboard]'"),
        ("demo", "uvicorn is not installed: pip install 'churnops[serve,alerts]'"),
    ],
)
def test_a_missing_extra_is_named_with_its_installation(monkeypatch: pytest.MonkeyPatch, command: str, line: str):
    monkeypatch.setattr("churnops.cli.root.find_spec", lambda name: None)
    done = CliRunner().invoke(main, [command])
    assert (done.exit_code, done.output) == (2, f"error: {line}\n")


def failing(error: Exception) -> click.testing.Result:
    """Run a command that raises an error."""

    @click.command
    def fail() -> None:
        raise error

    return CliRunner().invoke(_Commands("group", {"fail": fail}), ["fail"])


def test_a_missing_package_of_a_package_is_one_line_with_the_remedy():
    result = failing(ModuleNotFoundError("No module named 'fastapi.x'", name="fastapi.x"))
    assert (result.exit_code, result.output.splitlines()) == (
        2,
        ["error: the package fastapi is missing: `pip install churnops` adds it, and the image `full` has it"],
    )
    assert failing(ModuleNotFoundError("churnops.x", name="churnops.x")).exit_code == 1  # a defect


def test_an_interruption_that_a_package_wraps_has_no_traceback():
    result = failing(ValueError("Error building validator:\n  KeyboardInterrupt: "))
    assert (result.exit_code, result.output) == (1, "Aborted!\n")


@pytest.mark.parametrize(("word", "command"), [("train", "run"), ("fit", "run"), ("deploy", "promote")])
def test_a_word_of_other_tools_leads_to_the_command(word: str, command: str):
    result = CliRunner().invoke(main, [word])
    assert (result.exit_code, f"Did you mean '{command}'?" in result.output) == (2, True)


def test_init_without_a_target_lists_the_headers(tmp_path: Path):
    (tmp_path / "t.csv").write_text("a;left\n1;yes\n")
    result = CliRunner().invoke(main, ["init", str(tmp_path / "t.csv")])
    assert (result.exit_code, "the headers of t.csv: a, left\n" in result.output) == (2, True)


def test_notes_on_a_system_error_are_printed_too():
    @click.command
    def write() -> None:
        error = OSError(28, "No space left on device", "summary.json")
        error.add_note("production is as it was before")
        raise error

    result = CliRunner().invoke(_Commands("group", {"write": write}), ["write"])
    assert result.exit_code == 2
    assert result.stderr == "error: summary.json: No space left on device\n       production is as it was before\n"


def test_with_json_an_error_is_a_document_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    for arguments, words, code in (
        (["predict", "missing.csv", "out.csv", "--json"], "missing.csv does not exist", 2),
        (["monitor", "--json", "--no-such-option"], "No such option", 2),
        (["rollback", "--json"], "no model is deployed", 2),
        (["--no-such-option", "rollback", "--json"], "No such option", 2),
        (["rollback", "--json", "--to", "x"], "not a valid integer", 2),
        (["journal", "backup", "absent/journal.db", "--json"], "absent is not a folder", 2),
    ):
        result = CliRunner().invoke(main, arguments)
        document = json.loads(result.stdout)
        assert words in document["error"]
        assert (document["exit_code"], result.exit_code, document["schema_version"]) == (code, code, 1)
        assert result.stderr == ""
    (tmp_path / "config.yaml").write_text("nonsense: 1\n")
    result = CliRunner().invoke(main, ["config", "check", "--json"])
    document = json.loads(result.stdout)
    assert (document["valid"], document["exit_code"], result.exit_code) == (False, 2, 2)
    assert "'schema' is required" in document["error"]


def test_the_check_of_the_settings_has_a_verdict_in_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    write_project(tmp_path)
    document = json.loads(CliRunner().invoke(main, ["config", "check", "--json"]).stdout)
    assert document["valid"] is True
    assert document["schema_version"] == 1


def test_objects_in_a_list_have_the_schema_version_too(capsys: pytest.CaptureFixture[str]):
    show_json([{"channel": "slack#dfd74c", "delivered": True}])
    assert json.loads(capsys.readouterr().out) == [{"schema_version": 1, "channel": "slack#dfd74c", "delivered": True}]


@pytest.mark.parametrize("command", [("monitor", "--batch"), ("retrain", "--batch"), ("predict",)])
def test_a_refused_file_is_named_once_and_before_any_progress(typed: tuple[Path, str], command: tuple[str, ...]):
    folder = typed[0]
    (folder / "headers.csv").write_text((folder / "data/raw/churn-20.csv").read_text().splitlines()[0] + "\n")
    options = {"monitor": ("--act", "--source", "weekly"), "retrain": (), "predict": ("scored.csv",)}[command[0]]
    done = run(CHURNOPS, *command, "headers.csv", *options, cwd=folder, code=2)
    assert done.stdout == ""
    assert done.stderr.count("headers.csv has a header but no rows") == 1
    assert done.stderr.startswith("error: ")
