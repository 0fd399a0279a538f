"""No character, no closed stream and no full disk behind standard output breaks a command or undoes its work."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from churnops.model import Bundle
from tests.support.projects import REPOSITORY, quick, write_project, write_small_data

CHURNOPS = str(Path(sys.executable).with_name("churnops"))
FULL = "/dev/full"
ENCODINGS: Mapping[str, Mapping[str, str]] = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "strict ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "latin-1": {"PYTHONIOENCODING": "latin-1:strict"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def change(document: dict[str, Any]) -> None:
    quick(document)
    document["training"]["families"] = ["decision_tree"]


def shell(line: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "CHURNOPS": CHURNOPS, "PYTHON": sys.executable, **variables}
    return subprocess.run(["bash", "-c", line], cwd=cwd, env=environment, capture_output=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose name is no UTF-8, in which the main job has run with an encoding that lacks what it prints."""
    folder = tmp_path_factory.mktemp("console") / os.fsdecode(b"caf\xe9")
    write_small_data(folder, 300)
    write_project(folder, change)
    shutil.copy(REPOSITORY / "run_all.py", folder)
    done = shell('"$PYTHON" run_all.py', folder, PYTHONIOENCODING="ascii:strict")
    assert done.returncode == 0, done.stderr
    assert rb"decision_tree \u2190" in done.stdout  # the arrow at the winner
    assert b"Deployed version 1" in done.stdout
    return folder


@pytest.mark.parametrize("variables", ENCODINGS.values(), ids=ENCODINGS)
@pytest.mark.parametrize(
    "command",
    [
        "models",
        "config show",
        "config check",
        "--help",
        "retrain --help",
        "keys list",
        "simulate made.csv --force",
        "predict data/production/churn-later.csv scored.csv --force",
    ],
)
def test_an_encoding_breaks_no_command(folder: Path, command: str, variables: Mapping[str, str]):
    done = shell(f'"$CHURNOPS" {command}', folder, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""


@pytest.mark.parametrize("variables", ENCODINGS.values(), ids=ENCODINGS)
def test_an_error_with_any_character_is_shown_in_any_encoding(folder: Path, variables: Mapping[str, str]):
    for name in ("caf\u00e9\u2713.csv", os.fsdecode(b"\xff.csv")):
        done = shell(f'"$CHURNOPS" predict "{name}" out.csv', folder, **variables)
        assert done.returncode == 2
        assert done.stderr.startswith(b"error: ")
        assert b"Traceback" not in done.stderr


def test_what_a_command_writes_as_a_file_is_utf_8(folder: Path):
    plain = shell('"$CHURNOPS" config show', folder)
    assert shell('"$CHURNOPS" config show', folder, PYTHONIOENCODING="ascii").stdout == plain.stdout
    assert plain.stdout.decode("utf-8")


@pytest.mark.parametrize("command", ["models", "models --json", "config show", "--help", "keys list"])
def test_a_reader_that_has_enough_is_no_error(folder: Path, command: str):
    # `true` reads nothing, and a program ended by a closed pipe has 141, as others have.
    done = shell(f'(sleep 0.2; exec "$CHURNOPS" {command}) | true; exit "${{PIPESTATUS[0]}}"', folder)
    assert done.stderr == b""
    assert done.returncode == 141


@pytest.mark.parametrize("command", ["models", "models --json", "config show", "--help", "version"])
def test_an_answer_that_cannot_be_written_is_one_line(folder: Path, command: str):
    done = shell(f'"$CHURNOPS" {command} > {FULL}', folder)
    assert done.stderr == b"error: standard output: No space left on device\n"
    assert done.returncode == 2


@pytest.mark.parametrize("streams", [f"> {FULL}", f"> {FULL} 2> {FULL}", ">&- 2>&- <&-", "| true", "2>&1 | true"])
def test_a_deployment_stands_whatever_becomes_of_its_output(folder: Path, streams: str):
    before = (folder / "models/production").readlink()
    command = f'"$CHURNOPS" promote 1 --reason "a test" --force {streams}; exit "${{PIPESTATUS[0]}}"'
    done = shell(f'"$CHURNOPS" run --deploy {streams}; exit "${{PIPESTATUS[0]}}"', folder)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    done = shell(command, folder)
    assert done.returncode == 0, done.stderr
    assert (b"the work is done" in done.stderr) == (streams == f"> {FULL}")
    assert (folder / "models/production").readlink() == before  # the same content: nothing moved
    assert Bundle.load(folder / "models/production")


def test_a_file_whose_name_is_no_utf_8_is_reported_on(folder: Path):
    shutil.copy(folder / "data/production/churn-later.csv", folder / os.fsdecode(b"\xff.csv"))
    done = shell("""\"$CHURNOPS" monitor --no-retrain --json --batch $'\\xff.csv'""", folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["report"]["source"] == "\\udcff.csv"


@pytest.mark.parametrize("module", ["run_monitoring", "trigger_retraining"])
def test_the_modules_named_in_the_report_print_in_any_encoding(folder: Path, module: str):
    done = shell(f'"$PYTHON" -m churnops.pipelines.{module}', folder, PYTHONIOENCODING="ascii:strict")
    assert b"Traceback" not in done.stderr
    assert done.returncode == (0 if module == "run_monitoring" else 2)  # nothing new to train on


def test_json_is_the_same_in_any_encoding(folder: Path):
    answers = [
        json.loads(shell('"$CHURNOPS" models --json', folder, **variables).stdout) for variables in ENCODINGS.values()
    ]
    assert all(answer == answers[0] for answer in answers)


def test_a_reason_that_is_no_text_is_refused(folder: Path):
    done = shell("""\"$CHURNOPS" rollback --reason $'\\xff'""", folder)
    assert done.returncode == 2
    assert b"not text in UTF-8" in done.stderr
