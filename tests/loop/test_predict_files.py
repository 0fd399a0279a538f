"""Files of any size, scored: one result whatever the batches, the threads and the interruptions."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest
from rich.console import Console

from churnops.data.read import encode, read_table
from churnops.data.validate import ValidationError, check_customers
from churnops.errors import ChurnopsError, DataError
from churnops.files import lock_folder
from churnops.model import Bundle
from churnops.progress import rows_progress
from churnops.schema import RESERVED, Schema
from churnops.scoring import table as scoring_table
from churnops.scoring.file import FileScorer, ScoredFile
from churnops.scoring.table import score_table, with_json_reasons
from churnops.training.train import TrainedModels
from tests.support.kills import KilledError, killing
from tests.support.processes import CHURNOPS, run, start, wait_for
from tests.support.projects import LATER, write_project

FAMILIES = ("logistic_regression", "decision_tree", "random_forest", "xgboost")


@pytest.fixture(scope="module")
def bundle(trained: TrainedModels) -> Bundle:
    return trained.refit


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    """A project in which a model is deployed, and `in.csv` and `in.parquet` with the same 1,667 customers."""
    folder = tmp_path_factory.mktemp("scored")
    write_project(folder)
    bundle.save(folder / "models/versions/a")
    (folder / "models/production").symlink_to("versions/a")
    shutil.copy(LATER, folder / "in.csv")
    pl.read_csv(LATER).write_parquet(folder / "in.parquet", row_group_size=300)
    return folder


def predict(folder: Path, source: str, target: Path, **options: Any) -> ScoredFile:
    given = {name: options.pop(name) for name in ("explain", "rows", "workers") if name in options}
    return FileScorer(folder / "models", **given).score(folder / source, target, **options)


def leftovers(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("source", ["in.csv", "in.parquet"])
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_one_result_whatever_the_batches_and_threads(here: Path, tmp_path: Path, source: str, ending: str):
    whole = tmp_path / f"whole.{ending}"
    predict(here, source, whole, explain=True, rows=10_000, workers=1)
    for rows, workers in ((7, 3), (1000, 1), (1000, 2), (1667, 2)):
        other = tmp_path / f"other.{ending}"
        done = predict(here, source, other, explain=True, rows=rows, workers=workers, overwrite=True)
        assert other.read_bytes() == whole.read_bytes()
    assert done == ScoredFile(1667, done.churners, done.model_version, 0)
    assert leftovers(whole) == []


@pytest.mark.parametrize(("separator", "encoding"), [(";", "utf-8"), ("\t", "utf-16"), ("|", "utf-8-sig")])
def test_every_dialect_has_the_same_result(here: Path, tmp_path: Path, separator: str, encoding: str):
    predict(here, "in.csv", tmp_path / "expected.csv")
    comma = LATER.read_text()
    assert separator not in comma
    assert '"' not in comma
    text = comma.replace(",", separator).replace(".", ",")  # no text of this table has a comma or a point
    (tmp_path / "in.csv").write_text(f"sep={separator}\n{text}", encoding=encoding)
    for rows in (100, 10_000):
        FileScorer(here / "models", rows=rows).score(tmp_path / "in.csv", tmp_path / "out.csv", overwrite=True)
        assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()


def test_batches_of_one_row_give_the_same_result(here: Path, tmp_path: Path):
    lines = LATER.read_text().splitlines(keepends=True)[:21]
    (tmp_path / "in.csv").write_text("".join(lines))
    for rows, name in ((1, "a.csv"), (20, "b.csv")):
        FileScorer(here / "models", explain=True, rows=rows).score(tmp_path / "in.csv", tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_a_model_of_many_columns_scores_fewer_rows_at_once(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rows: list[int] = []
    predict(here, "in.csv", tmp_path / "whole.csv", on_rows=lambda done, share: rows.append(done))
    assert rows == [0, 1667]
    monkeypatch.setattr(scoring_table, "MAX_CELLS", 10_000)
    predict(here, "in.csv", tmp_path / "cut.csv", on_rows=lambda done, share: rows.append(done))
    assert len(rows) > 4
    assert (tmp_path / "cut.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_and_reasons_are_those_of_the_bundle(here: Path, tmp_path: Path, family: str, trained: TrainedModels):
    bundle = trained.models[family].bundle
    bundle.save(tmp_path / "models/production")
    table = read_table(here / "in.csv")
    columns = encode(check_customers(table, bundle.schema, "all"), bundle.schema)
    explanation = bundle.explain(columns)
    for source in ("in.csv", "in.parquet"):
        for ending in ("csv", "parquet"):
            out = tmp_path / f"{source}.{ending}"
            done = FileScorer(tmp_path / "models", explain=True, rows=100).score(here / source, out)
            found = pl.read_parquet(out) if ending == "parquet" else pl.read_csv(out)
            added = ["churn_probability", "churn_prediction", "model_version"]
            added += ["base_value", "explanation_scale", "top_shap_features"]
            assert found.columns == [*table.columns, *added]
            np.testing.assert_array_equal(found["churn_probability"], bundle.predict(columns).probability)
            assert done.churners == found["churn_prediction"].sum() == bundle.predict(columns).churn.sum()
            assert set(found["model_version"]) == {bundle.version_name} == {done.model_version}
            assert set(found["base_value"]) == {explanation.base_value}
            assert set(found["explanation_scale"]) == {bundle.explanation_scale}
            positions, values = explanation.top(bundle.selected, 6)
            lists = found["top_shap_features"].to_list()
            lists = [json.loads(text) for text in lists] if ending == "csv" else lists
            assert [[pair["feature"] for pair in pairs] for pairs in lists] == [
                [bundle.selected[position] for position in row] for row in positions
            ]
            given = [[pair["shap_value"] for pair in pairs] for pairs in lists]
            np.testing.assert_allclose(given, values, rtol=5e-6 if ending == "csv" else 0, atol=0)


def test_columns_the_model_does_not_know_pass_through(here: Path, tmp_path: Path):
    extra = (
        pl.read_csv(LATER)
        .head(40)
        .with_columns(
            place=pl.Series(["KS", "OH"] * 20, dtype=pl.Categorical),
            price=pl.lit("1.50").cast(pl.Decimal(10, 2)),
            tags=pl.Series([["a"], []] * 20),
            nothing=pl.lit(None),
            raw=pl.lit(b"\xff"),
        )
    )
    extra.write_parquet(tmp_path / "in.parquet")
    FileScorer(here / "models", rows=7).score(tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pl.read_parquet(tmp_path / "out.parquet")
    assert found.select(extra.columns).equals(extra)
    assert found.select(extra.columns).schema == extra.schema
    messages: list[str] = []
    FileScorer(here / "models").score(tmp_path / "in.parquet", tmp_path / "out.csv", on_message=messages.append)
    assert messages == ["the result lacks these columns, which are repeated or have an unsupported type: 'tags', 'raw'"]
    found = pl.read_csv(tmp_path / "out.csv")
    assert found.columns[:23] == [name for name in extra.columns if name not in ("tags", "raw")]
    assert leftovers(tmp_path / "out.csv") == []


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_other_columns_of_a_csv_may_hold_anything(here: Path, tmp_path: Path, ending: str):
    header, *rows = LATER.read_bytes().splitlines()[:41]
    cells = [b"caf\xe9", b'27" screen', b"=1+1", b"-5"]
    lines = [header + b",note,,"] + [row + b"," + cells[place % 4] + b",," for place, row in enumerate(rows)]
    (tmp_path / "in.csv").write_bytes(b"\n".join(lines))
    messages: list[str] = []
    out = tmp_path / f"out.{ending}"
    FileScorer(here / "models", rows=7).score(tmp_path / "in.csv", out, on_message=messages.append)
    found = pl.read_csv(out, infer_schema=False) if ending == "csv" else pl.read_parquet(out)
    assert found["note"].to_list() == ["caf\ufffd", '27" screen', "=1+1", "-5"] * 10
    assert len(messages) == 1
    assert "repeated or have an unsupported type: ''" in messages[0]


def test_a_csv_is_safe_in_spreadsheets_if_the_setting_says_so(here: Path, tmp_path: Path):
    project = tmp_path / "project"
    shutil.copytree(here / "models", project / "models", symlinks=True)
    shutil.copy(here / "config.yaml", project)
    table = pl.read_csv(LATER, infer_schema=False).head(4)
    notes = pl.Series("@note", ["=1+1", "-1.5", "a-b", "\tx"])
    table.with_columns(notes, pl.Series("debt", ["-5", "+3", "-1e3", "--"])).write_csv(project / "in.csv")
    run(CHURNOPS, "predict", "in.csv", "plain.csv", cwd=project)
    run(CHURNOPS, "predict", "in.csv", "safe.csv", cwd=project, CHURNOPS_SAFE_CSV="true")
    plain, safe = (pl.read_csv(project / name, infer_schema=False) for name in ("plain.csv", "safe.csv"))
    assert plain["@note"].equals(notes)
    assert safe["'@note"].to_list() == ["'=1+1", "-1.5", "a-b", "'\tx"]
    assert safe["debt"].to_list() == ["-5", "+3", "-1e3", "'--"]
    assert safe.drop("'@note", "debt").equals(plain.drop("@note", "debt"))


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_scored_before_is_scored_again_and_says_so(here: Path, tmp_path: Path, ending: str):
    once, stale, again = (tmp_path / f"{name}.{ending}" for name in ("once", "stale", "again"))
    predict(here, "in.csv", once, explain=True)
    if ending == "csv":
        pl.read_csv(once, infer_schema=False).with_columns(pl.lit("car").alias("model_version")).write_csv(stale)
    else:
        pl.read_parquet(once).with_columns(pl.lit(0.0).alias("churn_probability")).write_parquet(stale)
    messages: list[str] = []
    done = predict(here, str(stale), again, explain=True, on_message=messages.append)
    assert again.read_bytes() == once.read_bytes()
    assert done.replaced == RESERVED[:6]  # the API adds the others
    assert len(messages) == 1
    assert f"those of stale.{ending} are replaced or left out: churn_probability, " in messages[0]
    predict(here, str(stale), again, overwrite=True)
    columns = pl.read_csv(again).columns if ending == "csv" else pl.read_parquet(again).columns
    assert columns[-3:] == ["churn_probability", "churn_prediction", "model_version"]
    assert "base_value" not in columns


def damaged(tmp_path: Path, line: int, change: Callable[[str], str]) -> Path:
    """Write the customers with one line (1 is the first row) changed."""
    lines = LATER.read_text().splitlines(keepends=True)
    lines[line] = change(lines[line])
    path = tmp_path / "in.csv"
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda line: line.replace(",No,", ",perhaps,", 1),
            "international_plan .*not one of No, Yes, such as 'perhaps'",
        ),
        (lambda line: re.sub(r",\d+,", ",-1,", line, count=1), "1 value below the minimum 1"),
        (lambda line: line.partition(",")[2], "has 19 values, but the header has 20"),
    ],
)
def test_a_bad_row_stops_it_with_the_row_of_the_file(
    here: Path, tmp_path: Path, change: Callable[[str], str], message: str
):
    path = damaged(tmp_path, 1234, change)
    for rows in (100, 5000):
        with pytest.raises(DataError, match=message) as caught:
            FileScorer(here / "models", rows=rows).score(path, tmp_path / "out.csv")
        assert "row 1234" in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["in.csv"]


def test_rows_scored_before_a_refusal_are_discarded_and_counted(here: Path, tmp_path: Path):
    path, target = damaged(tmp_path, 1234, lambda line: line.replace(",No,", ",perhaps,", 1)), tmp_path / "out.csv"
    with pytest.raises(DataError) as caught:
        FileScorer(here / "models", rows=100).score(path, target)
    note = f"{target} is not written, and the 1,200 rows that were scored until then are discarded"
    assert caught.value.__notes__ == [note]


def test_an_empty_cell_is_named_with_the_row_of_the_file(here: Path, tmp_path: Path):
    path = damaged(tmp_path, 1234, lambda line: line.replace(",No,", ",,", 1))
    for rows in (100, 5000):
        scored = FileScorer(here / "models", rows=rows).score(path, tmp_path / f"{rows}.csv")
        [sentence] = scored.empty
        assert sentence.startswith("international_plan")
        assert "the first is row 1234" in sentence


def test_scoring_counts_rows_from_where_the_table_stands(bundle: Bundle):
    table = pl.read_csv(LATER, infer_schema=False).head(10)
    bad = table.with_columns(pl.Series("Total day minutes", ["1"] * 4 + ["x", "-1"] + ["1"] * 4))
    with pytest.raises(ValidationError) as caught:
        score_table(bad, bundle, "new.csv", explain=False, first_row=900_000)
    assert [failure.rows for failure in caught.value.failures] == [(900_005,), (900_006,)]
    with pytest.raises(DataError, match=r"new\.csv: column .* is given twice"):
        score_table(table.with_columns(table["State"].alias("state")), bundle, "new.csv", explain=False)


@pytest.mark.parametrize("explain", [False, True])
def test_a_row_without_a_score_is_named(trained: TrainedModels, explain: bool):
    linear = trained.models["logistic_regression"].bundle
    free = tuple(column.model_copy(update={"minimum": None, "maximum": None}) for column in linear.schema.columns)
    table = pl.read_csv(LATER, infer_schema=False).head(3)
    huge = table.with_columns(
        pl.Series("Total day minutes", ["1", "1", "1.7e308"]), pl.Series("Total eve minutes", ["1", "1", "-1.7e308"])
    )
    steep = replace(linear.estimator, coefficients=np.full(len(linear.selected), 1e9))
    bundle = replace(linear, schema=Schema(columns=free), estimator=steep)
    with pytest.raises(ChurnopsError, match=r"new\.csv: row 73 has no score"):
        score_table(huge, bundle, "new.csv", explain=explain, first_row=70)


def test_text_of_reasons_is_json_for_any_number_of_them():
    for count in (1, 3):
        pairs = [{"feature": f"f{place}", "shap_value": -1.23456789e-9 * place} for place in range(count)]
        (text,) = with_json_reasons(pl.DataFrame({"top_shap_features": [pairs]}))["top_shap_features"]
        assert json.loads(text) == [
            {"feature": pair["feature"], "shap_value": pytest.approx(pair["shap_value"], rel=5e-6)} for pair in pairs
        ]


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Stop the process at the n-th change of a file: this and all later changes do not happen."""
    changes = (
        (Path, "replace"),
        (Path, "unlink"),
        (Path, "mkdir"),
        (Path, "touch"),
        (os, "fsync"),
        (os, "link"),
        (shutil, "rmtree"),
        (shutil, "copyfileobj"),
    )
    after = killing(monkeypatch, changes)
    yield after
    after(-1)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_kill_at_any_file_change_loses_and_doubles_no_row(
    here: Path, tmp_path: Path, ending: str, deadly: Callable[[int], None]
):
    deadly(-1)
    expected = tmp_path / f"expected.{ending}"
    predict(here, "in.csv", expected, rows=500)
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / f"out.{ending}"
    resumed, deaths = set(), 0
    for changes in range(100):
        deadly(changes)
        try:
            predict(here, "in.csv", target, rows=500)
        except KilledError:
            deaths += 1
        else:
            break
        deadly(-1)
        if not target.exists():
            resumed.add(predict(here, "in.csv", target, rows=500).resumed_rows)
        else:  # nothing but the folder was left to do, and the next run does it
            with pytest.raises(DataError, match="exists already"):
                predict(here, "in.csv", target, rows=500)
        assert target.read_bytes() == expected.read_bytes()
        assert [path.name for path in folder.iterdir()] == [target.name]
        target.unlink()
    assert deaths > 12
    assert resumed == {0, 500, 1000, 1500, 1667}


SCORING = """
import os, sys, threading, time
from functools import partial
from itertools import count

from churnops import cli
from churnops.scoring import file
from churnops.scoring.manifest import Manifest

rows, parts, signal, seconds, target = sys.argv[1:]
commit, finished = Manifest.commit, count(1)

def send():
    time.sleep(float(seconds))
    os.kill(os.getpid(), int(signal))

def counted(*arguments):
    record = commit(*arguments)
    if next(finished) == int(parts):
        threading.Thread(target=send, daemon=True).start() if float(seconds) else send()
    return record

Manifest.commit = counted
file.FileScorer = partial(file.FileScorer, rows=int(rows))
sys.argv[1:] = ["predict", "big.csv", target, "--explain"]
cli.main()
"""
"""`churnops predict` in many batches, which sends itself a signal when it has finished some parts."""


def scoring(
    folder: Path, target: str, rows: int = 60, *, parts: int = 0, number: int = 0, seconds: float = 0.0
) -> "subprocess.Popen[str]":
    """Start a process that scores `big.csv`; after some parts, and some time, it sends itself a signal."""
    command = [sys.executable, "-c", SCORING, *map(str, (rows, parts, int(number), seconds)), target]
    return start(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def big(here: Path) -> Path:
    lines = LATER.read_text().splitlines(keepends=True)
    (here / "big.csv").write_text("".join([lines[0], *lines[1:] * 5]))
    return here


@pytest.mark.parametrize("target", ["killed.csv", "killed.parquet"])
def test_a_killed_process_is_continued_and_the_result_is_the_same(big: Path, target: str):
    expected = big / f"expected-{target}"
    predict(big, "big.csv", expected, explain=True)
    chance = random.Random(target)
    kills = 0
    for _ in range(50):
        parts, seconds = 1 + chance.randrange(40), chance.random() / 100
        process = scoring(big, target, parts=parts, number=signal.SIGKILL, seconds=seconds)
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors
        if (big / target).exists():
            break
        kills += 1
    assert kills > 2
    assert (big / target).read_bytes() == expected.read_bytes()


def test_ctrl_c_keeps_finished_rows_and_names_the_next_command(big: Path):
    unfinished = big / ".stopped.csv.unfinished"
    process = scoring(big, "stopped.csv", rows=20, parts=4, number=signal.SIGSTOP)
    wait_for("it has stopped", lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    second = scoring(big, "stopped.csv")
    assert "is being written by another run" in second.communicate()[1]
    assert second.returncode == 2
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    error = process.communicate()[1]
    assert process.returncode == 130, error
    assert "finished rows are kept: type the same command again to continue, or remove .stopped.csv.unfinished" in error
    assert len(error.splitlines()) == 1
    process = scoring(big, "stopped.csv", rows=20)
    output, error = process.communicate()
    assert "continuing after the " in error
    assert output.startswith("Scored 8,335 customers with ")
    assert not unfinished.exists()


@pytest.mark.parametrize("change", ["input", "model", "options", "batches", "version"])
def test_unfinished_work_of_another_command_is_not_continued(
    big: Path, tmp_path: Path, change: str, trained: TrainedModels
):
    shutil.copytree(big / "models", tmp_path / "models", symlinks=True)
    shutil.copy(big / "in.csv", tmp_path)
    options: dict[str, Any] = {"rows": 100, "workers": 1}

    def stop(done: int, share: float) -> None:
        if done == 500:
            raise KilledError

    said: list[str] = []
    with pytest.raises(KilledError):
        predict(tmp_path, "in.csv", tmp_path / "out.csv", on_rows=stop, **options)
    if change == "input":
        with (tmp_path / "in.csv").open("a") as file:
            file.write(LATER.read_text().splitlines()[1] + "\n")
    elif change == "model":
        trained.models["decision_tree"].bundle.save(tmp_path / "models/versions/b")
        (tmp_path / "models/production").unlink()
        (tmp_path / "models/production").symlink_to("versions/b")
    elif change == "version":  # the form of an earlier version
        shutil.rmtree(tmp_path / ".out.csv.unfinished")
        (tmp_path / ".out.csv.unfinished").mkdir()
        for name in ("state.json", "part-000000-500-60"):
            (tmp_path / ".out.csv.unfinished" / name).write_bytes(b"{}")
    else:
        options |= {"explain": True} if change == "options" else {"rows": 99}
    done = predict(tmp_path, "in.csv", tmp_path / "out.csv", on_message=said.append, **options)
    assert done.resumed_rows == 0
    assert "starting again" in said[0]
    predict(tmp_path, "in.csv", tmp_path / "again.csv", **options)
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()


def test_an_input_that_changes_meanwhile_is_refused(here: Path, tmp_path: Path):
    shutil.copy(here / "in.csv", tmp_path)

    def change(done: int, share: float) -> None:
        os.utime(tmp_path / "in.csv", (1, 1))

    with pytest.raises(DataError, match="changed while it was read"):
        FileScorer(here / "models").score(tmp_path / "in.csv", tmp_path / "out.csv", on_rows=change)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_full_disk_is_one_line_and_keeps_what_is_finished(big: Path, tmp_path: Path):
    code = (
        "import resource, sys; from churnops import cli\n"
        "limit = int(sys.argv.pop(1)); resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)); cli.main()"
    )

    def limited(size: int, target: Path) -> str:
        command = (sys.executable, "-c", code, str(size), "predict", "big.csv", str(target))
        return run(*command, cwd=big, code=2).stderr

    for ending in ("csv", "parquet"):
        target = tmp_path / f"out.{ending}"
        (line,) = limited(50_000, target).splitlines()
        assert "File too large" in line
        assert leftovers(target) == []
        predict(big, "big.csv", tmp_path / f"whole.{ending}")
        (line,) = limited((tmp_path / f"whole.{ending}").stat().st_size - 1000, target).splitlines()
        assert not target.exists()


def test_a_refusal_touches_no_folder(here: Path, tmp_path: Path):
    shutil.copy(LATER, tmp_path / "in.csv")
    before = tmp_path.stat().st_mtime_ns
    for target, models, overwrite in (("in.csv", "models", False), ("in.csv", "models", True), ("a.csv", "no", False)):
        with pytest.raises(ChurnopsError):
            FileScorer(here / models).score(tmp_path / "in.csv", tmp_path / target, overwrite=overwrite)
    assert tmp_path.stat().st_mtime_ns == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_one_line(here: Path, tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="denied"):
        predict(here, "in.csv", tmp_path / "out.csv")


def test_one_holder_of_a_folder_at_a_time(tmp_path: Path):
    with lock_folder(tmp_path / "a") as first, lock_folder(tmp_path / "a") as second:
        assert (first, second) == (True, False)
    with lock_folder(tmp_path / "a") as again:
        assert again
        (tmp_path / "a").rmdir()
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(OSError, match="link"), lock_folder(tmp_path / "link"):
        pass


def test_the_bar_shows_rows_and_rate_on_a_terminal_only(capsys: pytest.CaptureFixture[str]):
    for terminal in (True, False):
        with rows_progress("in[1].csv", console=Console(stderr=True, force_terminal=terminal)) as (on_rows, say):
            say("going on")
            on_rows(1_000_000, 0.4)
            on_rows(2_000_000, 0.8)
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "going on" in shown.err
        assert ("in[1].csv" in shown.err and "80%" in shown.err and "2,000,000 rows" in shown.err) is terminal
    with rows_progress("in.csv", hidden=True) as (on_rows, say):
        say("going on")
        on_rows(1, 0.5)
    assert capsys.readouterr().err == ""


def test_json_is_one_document_and_nothing_else(here: Path, tmp_path: Path):
    done = run(CHURNOPS, "predict", "in.parquet", str(tmp_path / "out.parquet"), "--explain", "--json", cwd=here)
    document = json.loads(done.stdout)
    assert document["rows"] == 1667
    assert document["explained"] is True
    assert document["resumed_rows"] == 0
    assert done.stderr == ""
