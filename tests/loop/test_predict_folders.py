"""Data sets, scored in parts: the rows of the files scored one by one, whatever the interruptions."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churnops.data import dataset
from churnops.data.validate import ValidationError
from churnops.errors import ClusterError, DataError
from churnops.scoring.file import FileScorer, ScoredFile
from churnops.scoring.folder import FolderScorer
from churnops.scoring.manifest import FolderManifest, PartRecord, file_sha256
from churnops.scoring.removal import is_listed, remove_rows_of_part
from churnops.settings import load_settings
from churnops.training.train import TrainedModels
from tests.support.kills import KilledError, killing
from tests.support.processes import CHURNOPS, run
from tests.support.projects import LATER, write_project


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, trained: TrainedModels) -> Path:
    """A project with a deployed model, and its later customers in `parquet` (partitioned) and `csv`."""
    folder = tmp_path_factory.mktemp("folders")
    write_project(folder)
    trained.refit.save(folder / "models/versions/a")
    (folder / "models/production").symlink_to("versions/a")
    table = pl.read_csv(LATER)
    (folder / "csv").mkdir()
    for month in range(3):
        part = table.slice(month * 500, 500)
        (folder / f"parquet/month={month}").mkdir(parents=True)
        part.write_parquet(folder / f"parquet/month={month}/a.parquet", row_group_size=100)
        part.write_csv(folder / f"csv/{month}.csv")
    table.head(1500).write_csv(folder / "all.csv")
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "PART_ROWS", 200)


def predict(here: Path, source: Path, target: Path, *, overwrite: bool = False, **options: Any) -> ScoredFile:
    callbacks = {name: options.pop(name) for name in ("on_rows", "on_message") if name in options}
    scorer = FolderScorer(FileScorer(here / "models", workers=2, **options))
    return scorer.score(here / source, target, overwrite=overwrite, **callbacks)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_gives_the_scores_of_its_rows_in_one_file(here: Path, tmp_path: Path):
    one = FileScorer(here / "models", explain=True).score(here / "all.csv", tmp_path / "one.parquet")
    expected = pl.read_parquet(tmp_path / "one.parquet")
    done = predict(here, Path("parquet"), tmp_path / "parquet", explain=True)
    assert (done.rows, done.churners, done.model_version) == (1500, one.churners, one.model_version)
    files = sorted((tmp_path / "parquet").glob("part-*.parquet"))
    assert [file.name for file in files] == [f"part-{number:06d}.parquet" for number in range(9)]
    table = pl.concat(map(pl.read_parquet, files))
    added = ["churn_probability", "churn_prediction", "model_version", "base_value", "top_shap_features"]
    assert table.select(added).equals(expected.select(added))
    assert table["month"].to_list() == [str(n // 500) for n in range(1500)]
    predict(here, Path("csv"), tmp_path / "csv")
    table = pl.concat(map(pl.read_csv, sorted((tmp_path / "csv").glob("part-*.csv"))))
    assert table["churn_probability"].equals(expected["churn_probability"])


def test_partitions_may_be_columns_of_the_schema(here: Path, tmp_path: Path):
    table = pl.read_csv(here / "csv/0.csv").filter(pl.col("State").is_in(["KS", "NJ"])).sort("State", "Account length")
    columns = ["State", "Customer service calls"]
    for values, part in table.partition_by(columns, as_dict=True, include_key=False).items():
        folder = tmp_path / "in" / "/".join(f"{name}={value}" for name, value in zip(columns, values, strict=True))
        folder.mkdir(parents=True)
        part.write_parquet(folder / "a.parquet")
    table.write_parquet(tmp_path / "one.parquet")
    FileScorer(here / "models").score(tmp_path / "one.parquet", tmp_path / "one-scored.parquet")
    predict(here, tmp_path / "in", tmp_path / "out")
    one = pl.read_parquet(tmp_path / "one-scored.parquet")
    parts = pl.concat(map(pl.read_parquet, (tmp_path / "out").glob("part-*")))
    assert sorted(parts["churn_probability"]) == sorted(one["churn_probability"])


def test_the_manifest_lists_every_part_with_its_hash(here: Path, tmp_path: Path):
    predict(here, Path("parquet"), tmp_path / "out")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["rows"] == sum(part["rows"] for part in manifest["parts"]) == 1500
    assert {part["data"]: part["sha256"] for part in manifest["parts"]} == {
        path.name: file_sha256(path) for path in (tmp_path / "out").glob("part-*")
    }
    assert manifest["parts"][4]["source"] == "month=1/a.parquet"
    assert manifest["parts"][4]["first_row"] == 200
    assert (tmp_path / "out/_SUCCESS").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_customer_is_removed_from_a_part_and_the_manifest(
    here: Path, tmp_path: Path, ending: str, deadly: Callable[[int], None]
):
    """A kill at any change of a file leaves the rows in place, so the same command removes them."""
    ids = pl.concat([pl.repeat("ann", 3, eager=True), pl.int_range(97, eager=True).cast(pl.String)]).alias(
        "customer_id"
    )
    table, others = pl.read_csv(here / "csv/0.csv").head(100).with_columns(ids), tmp_path / "others"
    for folder, first in ((tmp_path / "in", table), (others, table.filter(pl.col("customer_id") != "ann"))):
        folder.mkdir()
        for name, rows in (("a", first), ("b", table.tail(50))):
            getattr(rows, f"write_{ending}")(folder / f"{name}.{ending}")
    expected = predict(here, others, tmp_path / "expected")
    predict(here, tmp_path / "in", tmp_path / "whole")
    part, schema = Path("out", f"part-000000.{ending}"), load_settings(here / "config.yaml").table
    for kill in (*range(5), -1):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "out")
        deadly(kill)
        with suppress(KilledError):
            remove_rows_of_part(tmp_path / part, schema, "ann")
        deadly(-1)
        left = remove_rows_of_part(tmp_path / part, schema, "ann")
        assert left == 0 or kill >= 0
        manifest = json.loads((tmp_path / "out/manifest.json").read_text())
        assert (manifest["rows"], manifest["predicted_to_churn"]) == (expected.rows, expected.churners)
        assert [one["rows"] for one in manifest["parts"]] == [97, 50]
        for one in manifest["parts"]:
            assert file_sha256(tmp_path / "out" / one["data"]) == one["sha256"]
    assert is_listed(tmp_path / part)
    if ending == "csv":
        assert (tmp_path / part).read_bytes() == (tmp_path / "expected" / part.name).read_bytes()


def test_a_broken_row_is_named_by_file_and_row_and_nothing_is_kept(here: Path, tmp_path: Path):
    shutil.copytree(here / "csv", tmp_path / "in")
    lines = (tmp_path / "in/1.csv").read_text().splitlines()
    lines[41] = lines[41].replace(",No,", ",maybe,", 1)
    (tmp_path / "in/1.csv").write_text("\n".join(lines))
    with pytest.raises(ValidationError, match=r"^1\.csv: .*'maybe' \(row 41\)"):
        predict(here, tmp_path / "in", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_empty_cells_are_judged_over_the_whole_data_set(here: Path, tmp_path: Path):
    (tmp_path / "in").mkdir()
    for name, empty in (("a", 0), ("b", 12)):
        table = pl.read_csv(here / "csv/0.csv", infer_schema=False).head(100).with_row_index()
        gap = pl.when(pl.col("index") >= empty).then("Total day minutes").alias("Total day minutes")
        table.with_columns(gap).drop("index").write_csv(tmp_path / f"in/{name}.csv")
    with pytest.raises(ValidationError, match=r"^b\.csv: .*12 of 200 rows.*\(rows 1, …\)"):
        predict(here, tmp_path / "in", tmp_path / "out")
    done = predict(here, tmp_path / "in", tmp_path / "out", accept_missing=("total_day_minutes",))
    assert "12 of 200 rows (6.0%)" in done.empty[0]
    assert "the first is row 1 of b.csv" in done.empty[0]


def test_targets_that_would_lose_files_are_refused(here: Path, tmp_path: Path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own/file.txt").write_text("not churnops's")
    for target, overwrite, message in (
        (tmp_path / "out.csv", False, "so the result is one: name it without .csv"),
        (tmp_path / "no/out", False, "is not a folder: make it first"),
        (here / "parquet/out", False, "or is in it"),
        (here, True, "contains the folder that is scored"),
        (tmp_path / "own", False, "exists already"),
        (tmp_path / "own", True, "was not written by `churnops predict`"),
    ):
        with pytest.raises(DataError, match=message):
            predict(here, Path("parquet"), target, overwrite=overwrite)
    predict(here, Path("csv"), tmp_path / "out")
    predict(here, Path("parquet"), tmp_path / "out", overwrite=True)
    assert sum(path.suffix == ".parquet" for path in (tmp_path / "out").iterdir()) == 9
    assert (tmp_path / "own/file.txt").exists()


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Stop the process at the n-th change of a file: this and all later changes do not happen."""
    changes = (
        (Path, "replace"),
        (Path, "rename"),
        (Path, "unlink"),
        (Path, "mkdir"),
        (os, "fsync"),
        (os, "link"),
        (shutil, "rmtree"),
    )
    after = killing(monkeypatch, changes)
    yield after
    after(-1)


def test_a_kill_at_any_file_change_loses_and_doubles_no_row(
    here: Path, tmp_path: Path, deadly: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(FileScorer, "threads", 1)
    for name in ("a", "b"):
        (tmp_path / "in").mkdir(exist_ok=True)
        pl.read_csv(here / "csv/0.csv").head(50).write_csv(tmp_path / f"in/{name}.csv")
    predict(here, tmp_path / "in", tmp_path / "expected")
    expected = contents(tmp_path / "expected")
    (tmp_path / "out").mkdir()
    target = tmp_path / "out/scored"
    resumed, deaths = set(), 0
    for changes in range(100):
        deadly(changes)
        try:
            predict(here, tmp_path / "in", target)
        except KilledError:
            deaths += 1
        else:
            break
        deadly(-1)
        if not target.exists():
            resumed.add(predict(here, tmp_path / "in", target).resumed_rows)
        else:  # nothing but the folder of parts was left to do, and the next run removes it
            with pytest.raises(DataError, match="exists already"):
                predict(here, tmp_path / "in", target)
        assert contents(target) == expected
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["scored"]
        shutil.rmtree(target)
    deadly(-1)
    assert deaths > 20
    assert resumed == {0, 50, 100}


def test_a_run_whose_cluster_is_lost_is_continued(here: Path, tmp_path: Path):
    def lost(done: int, share: float, workers: int) -> None:
        if done >= 400:
            raise ClusterError("the scheduler is lost")

    with pytest.raises(ClusterError) as caught:
        predict(here, Path("parquet"), tmp_path / "out", on_rows=lost)
    assert "finished rows are kept: type the same command again" in caught.value.__notes__[0]
    messages: list[str] = []
    done = predict(here, Path("parquet"), tmp_path / "out", on_message=messages.append)
    assert done.rows == 1500
    assert done.resumed_rows >= 400
    assert "continuing after the " in messages[0]


def test_parts_of_another_command_are_not_continued(here: Path, tmp_path: Path):
    def stop(done: int, share: float, workers: int) -> None:
        if done >= 400:
            raise KilledError

    messages: list[str] = []
    with pytest.raises(KilledError):
        predict(here, Path("parquet"), tmp_path / "out", on_rows=stop)
    done = predict(here, Path("parquet"), tmp_path / "out", explain=True, on_message=messages.append)
    assert "starting again" in messages[0]
    assert (done.resumed_rows, done.rows) == (0, 1500)


def test_a_data_set_that_changes_meanwhile_is_refused(here: Path, tmp_path: Path):
    shutil.copytree(here / "csv", tmp_path / "in")

    def change(done: int, share: float, workers: int) -> None:
        os.utime(tmp_path / "in/2.csv", (1, 1))

    with pytest.raises(DataError, match="changed while it was read"):
        predict(here, tmp_path / "in", tmp_path / "out", on_rows=change)


@pytest.mark.parametrize("links", [True, False])
def test_a_part_is_recorded_once(tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch):
    manifest = FolderManifest(tmp_path)
    (tmp_path / "records").mkdir()
    if not links:  # as on exFAT
        monkeypatch.setattr(os, "link", lambda source, name: Path("/nothing").stat())

    def commit(data: str) -> PartRecord:
        with manifest.new_file(".csv") as written:
            written.write_text(data)
            return manifest.commit(written, PartRecord(7, "in.csv", 0, 5, 1, {}))

    first = commit("aa")
    assert commit("bb" if links else "aa") == first
    assert manifest.finished() == {7: first}
    assert (tmp_path / first.data).read_text() == "aa"
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["part-000007.json"]


def test_the_command_scores_a_folder(here: Path, tmp_path: Path):
    done = run(CHURNOPS, "predict", "parquet", str(tmp_path / "out"), "--explain", "--json", cwd=here)
    document = json.loads(done.stdout)
    assert (document["rows"], document["explained"], document["resumed_rows"]) == (1500, True, 0)
    assert done.stderr == ""
