"""From an unknown file to a deployed model: `churnops init`, and `churnops run TABLE`, as a stranger types them."""

import json
from pathlib import Path

from tests.support.dirty_tables import write_table
from tests.support.processes import CHURNOPS, QUICK, run


def test_init_prints_one_screen_and_run_deploys(tmp_path: Path):
    write_table("points-and-commas.csv", tmp_path)
    command = (CHURNOPS, "init", "points-and-commas.csv", "--target", "churn", "--out", "project")
    screen = run(*command, cwd=tmp_path).stdout
    assert screen.splitlines()[0].startswith("Found    400 rows, 8 columns; 167 customers (41.8%) churned")
    assert "decimal commas; thousands marks '.'" in screen
    assert "'Yes' in 'Churn' means churned: by its name" in screen
    assert screen.endswith("project/config.yaml is written. Next: cd project && churnops run\n")
    assert len(screen.splitlines()) < 24
    result = run(CHURNOPS, "run", "--json", cwd=tmp_path / "project", **QUICK)
    document = json.loads(result.stdout)
    assert document["status"] == "deployed"
    assert document["held_out"]["threshold"] != 0.5
    scored = run(CHURNOPS, "predict", "../points-and-commas.csv", "scored.csv", cwd=tmp_path / "project").stdout
    assert scored.startswith("Scored 400 customers")


def test_run_with_a_table_describes_it_first(tmp_path: Path):
    write_table("utf-16.csv", tmp_path)
    command = (CHURNOPS, "run", "utf-16.csv", "--target", "Churn")
    result = run(*command, cwd=tmp_path, **QUICK)
    assert "Deployed version 1 (logistic_regression-" in result.stdout
    refused = run(*command, cwd=tmp_path, code=2, **QUICK)
    assert refused.stderr == "error: config.yaml exists: --force replaces it\n"


def test_incomplete_commands_teach_the_whole_one(tmp_path: Path):
    write_table("plain.csv", tmp_path)
    for words in (
        ("init", "plain.csv"),
        ("init", "--target", "Churn"),
        ("run", "plain.csv"),
        ("run", "--positive", "Yes"),
    ):
        assert "TABLE --target HEADER" in run(CHURNOPS, *words, cwd=tmp_path, code=2).stderr
    missing = run(CHURNOPS, "init", "no.csv", "--target", "Churn", cwd=tmp_path, code=2).stderr
    assert missing.startswith("error: no.csv does not exist")
    assert not (tmp_path / "config.yaml").exists()


def test_a_table_that_breaks_its_schema_is_answered_with_the_way_out(tmp_path: Path):
    path = write_table("plain.csv", tmp_path)
    run(CHURNOPS, "init", "plain.csv", "--target", "Churn", cwd=tmp_path)
    sound = path.read_text()
    path.write_text(sound.replace(",0,", ",none,", 1))
    shown = run(CHURNOPS, "config", "check", cwd=tmp_path).stdout
    assert "\nraw/plain.csv: 1 of 400 rows left out: column " in shown
    path.write_text(sound.replace("One year", "Ten years"))
    assert "churnops init TABLE --target HEADER" in run(CHURNOPS, "run", cwd=tmp_path, code=2, **QUICK).stderr


def test_config_check_opens_the_tables_and_lists_every_broken_column(tmp_path: Path):
    path = write_table("plain.csv", tmp_path)
    run(CHURNOPS, "init", "plain.csv", "--target", "Churn", cwd=tmp_path)
    assert "The tables are valid: 400 rows of raw/plain.csv." in run(CHURNOPS, "config", "check", cwd=tmp_path).stdout
    sound = path.read_text()
    path.write_text(sound.replace(",0,", ",none,", 1))
    shown = run(CHURNOPS, "config", "check", cwd=tmp_path).stdout
    assert "\nraw/plain.csv: 1 of 400 rows left out: column " in shown
    path.write_text(sound.replace("One year", "Ten years").replace(",0,", ",none,"))
    errors = run(CHURNOPS, "config", "check", cwd=tmp_path, code=2).stderr
    assert "column contract ('Contract')" in errors
    assert "column calls ('Calls')" in errors
    document = json.loads(run(CHURNOPS, "config", "check", "--json", cwd=tmp_path, code=2).stdout)
    assert document["valid"] is False
    path.unlink()
    assert "The settings are valid" in run(CHURNOPS, "config", "check", cwd=tmp_path).stdout


def test_a_failing_run_on_an_own_table_ends_by_naming_init(tmp_path: Path):
    settings = run(CHURNOPS, "config", "show", cwd=tmp_path).stdout
    (tmp_path / "config.yaml").write_text(settings)
    write_table("plain.csv", tmp_path)
    raw = {"CHURNOPS_DATA__RAW": "[plain.csv]", "CHURNOPS_DATA__PRODUCTION": "[]"}
    for variables in ({}, raw, {"CHURNOPS_SCHEMA__COLUMNS": "[]"}):
        refused = run(CHURNOPS, "run", cwd=tmp_path, code=2, **variables, **QUICK).stderr
        assert refused.splitlines()[-1].endswith("churnops init TABLE --target HEADER"), refused
