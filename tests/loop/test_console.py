"""No character, closed stream or full disk at standard output breaks a command or undoes its work."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from subprocess import PIPE, CompletedProcess
from typing import Any

import pytest

from churnops.model import Bundle
from tests.support.processes import CHURNOPS, PATIENCE, start
from tests.support.projects import REPOSITORY, quick, write_project, write_small_data

ENCODINGS: Mapping[str, Mapping[str, str]] = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "strict ascii": {"PYTHONIOENCODING": "ascii:strict"},
    "latin-1": {"PYTHONIOENCODING": "latin-1:strict"},
    "the C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}


def change(document: dict[str, Any]) -> None:
    quick(document)
    document["training"]["families"] = ["decision_tree"]


def churnops(arguments: str, cwd: Path, out: int = PIPE, err: int = PIPE, **variables: str) -> CompletedProcess[bytes]:
    """Run `churnops ARGUMENTS` with any standard output and error."""
    return python(CHURNOPS, *shlex.split(arguments), cwd=cwd, out=out, err=err, **variables)


def python(*command: str, cwd: Path, out: int = PIPE, err: int = PIPE, **variables: str) -> CompletedProcess[bytes]:
    environment = {**os.environ, **variables}
    with start(command, cwd=cwd, env=environment, stdout=out, stderr=err) as process:
        output, errors = process.communicate(timeout=PATIENCE)
    return CompletedProcess(command, process.returncode, output or b"", errors or b"")


@contextmanager
def full() -> Iterator[int]:
    """A file on a full disk."""
    with Path("/dev/full").open("wb") as file:
        yield file.fileno()


@contextmanager
def unread() -> Iterator[int]:
    """A pipe whose reader is gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def without_streams(arguments: str, cwd: Path) -> CompletedProcess[bytes]:
    """Run `churnops ARGUMENTS` with closed standard streams."""
    line = f'"$CHURNOPS" {arguments} >&- 2>&- <&-'
    return subprocess.run(["bash", "-c", line], cwd=cwd, env={**os.environ, "CHURNOPS": CHURNOPS}, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose path is not UTF-8; its main job ran with an encoding that lacks printed characters."""
    folder = tmp_path_factory.mktemp("console") / os.fsdecode(b"caf\xe9")
    write_small_data(folder, 300)
    write_project(folder, change)
    shutil.copy(REPOSITORY / "run_all.py", folder)
    done = python(sys.executable, "run_all.py", cwd=folder, PYTHONIOENCODING="ascii:strict")
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
    done = churnops(command, folder, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""


@pytest.mark.parametrize("variables", ENCODINGS.values(), ids=ENCODINGS)
def test_an_error_with_any_character_is_shown_in_any_encoding(folder: Path, variables: Mapping[str, str]):
    for name in ("caf\u00e9\u2713.csv", os.fsdecode(b"\xff.csv")):
        done = churnops(f"predict {name} out.csv", folder, **variables)
        assert done.returncode == 2
        assert done.stderr.startswith(b"error: ")
        assert b"Traceback" not in done.stderr


def test_files_written_by_commands_are_utf_8(folder: Path):
    plain = churnops("config show", folder)
    assert churnops("config show", folder, PYTHONIOENCODING="ascii").stdout == plain.stdout
    assert plain.stdout.decode("utf-8")


@pytest.mark.parametrize("command", ["models", "models --json", "config show", "--help", "keys list"])
def test_a_reader_that_closes_early_is_no_error(folder: Path, command: str):
    with unread() as pipe:
        done = churnops(command, folder, out=pipe)
    assert done.stderr == b""
    assert done.returncode == 141  # as other programs that end by a closed pipe


@pytest.mark.parametrize("command", ["models", "models --json", "config show", "--help", "version"])
def test_an_answer_that_cannot_be_written_is_one_line(folder: Path, command: str):
    with full() as disk:
        done = churnops(command, folder, out=disk)
    assert done.stderr == b"error: standard output: No space left on device\n"
    assert done.returncode == 2


STREAMS: Mapping[str, Callable[[str, Path], CompletedProcess[bytes]]] = {
    "a full disk": lambda arguments, cwd: _with(full, arguments, cwd),
    "two full disks": lambda arguments, cwd: _with(full, arguments, cwd, errors=True),
    "closed": without_streams,
    "no reader": lambda arguments, cwd: _with(unread, arguments, cwd),
    "no reader of either": lambda arguments, cwd: _with(unread, arguments, cwd, errors=True),
}


def _with(
    output: Callable[[], AbstractContextManager[int]], arguments: str, cwd: Path, *, errors: bool = False
) -> CompletedProcess[bytes]:
    with output() as out:
        return churnops(arguments, cwd, out=out, err=out if errors else PIPE)


@pytest.mark.parametrize("streams", STREAMS)
def test_a_deployment_stands_although_its_output_fails(folder: Path, streams: str):
    before = (folder / "models/production").readlink()
    done = STREAMS[streams]("run --deploy", folder)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    done = STREAMS[streams]('promote 1 --reason "a test" --force', folder)
    assert done.returncode == 0, done.stderr
    assert (b"the work is done" in done.stderr) == (streams == "a full disk")
    assert (folder / "models/production").readlink() == before  # the same content: nothing moved
    assert Bundle.load(folder / "models/production")


def test_a_file_whose_name_is_no_utf_8_is_reported_on(folder: Path):
    shutil.copy(folder / "data/production/churn-later.csv", folder / os.fsdecode(b"\xff.csv"))
    done = churnops("monitor --no-retrain --json --batch \udcff.csv", folder)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["report"]["source"] == "\\udcff.csv"


@pytest.mark.parametrize("module", ["run_monitoring", "trigger_retraining"])
def test_the_modules_named_in_the_report_print_in_any_encoding(folder: Path, module: str):
    done = python(sys.executable, "-m", f"churnops.pipelines.{module}", cwd=folder, PYTHONIOENCODING="ascii:strict")
    assert b"Traceback" not in done.stderr
    assert done.returncode == (0 if module == "run_monitoring" else 2)  # nothing new to train on


def test_json_is_the_same_in_any_encoding(folder: Path):
    answers = [json.loads(churnops("models --json", folder, **variables).stdout) for variables in ENCODINGS.values()]
    assert all(answer == answers[0] for answer in answers)


def test_a_reason_that_is_no_text_is_refused(folder: Path):
    done = churnops("rollback --reason \udcff", folder)
    assert done.returncode == 2
    assert b"not text in UTF-8" in done.stderr
