"""Tables in an object store: their copies on this machine, and results that are copied to the store."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churnops.data import dataset, stored
from churnops.data.dataset import DataSet
from churnops.data.stored_files import FOOTER_BYTES
from churnops.errors import DataError, StoreError
from churnops.objects import ObjectStore
from churnops.settings import Settings, load_settings
from tests.support.projects import write_project

FOLDER = "s3://bucket/churn/raw"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """The root of a bucket that is a folder, in which every address of the tests lies."""
    from obstore.store import LocalStore, MemoryStore

    def opened(store: ObjectStore) -> Any:
        folder = tmp_path / store.address.removeprefix("s3://")
        return MemoryStore() if folder.suffix else LocalStore(folder, mkdir=True)  # below a table there is nothing

    monkeypatch.setattr(ObjectStore, "_store", property(opened))
    return ObjectStore("s3://bucket")


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return load_settings(write_project(tmp_path))


def test_a_folder_is_copied_and_follows_the_store(here: Settings, bucket: ObjectStore):
    names = ("a.csv", "year=2026/b.parquet", ".hidden.csv", "notes.txt")
    for name in names:
        bucket.create(f"churn/raw/{name}", name.encode())
    path = stored.fetch(here, FOLDER)
    assert path == here.path(FOLDER)
    assert path.is_relative_to(here.root / "tables-copy")
    tables = {p.relative_to(path).as_posix() for p in path.rglob("[!.]*") if p.is_file()}
    assert tables == {"a.csv", "year=2026/b.parquet"}
    unchanged = (path / "year=2026/b.parquet").stat()
    bucket.delete(["churn/raw/a.csv"])
    bucket.create("churn/raw/a.csv", b"newer")
    assert (stored.fetch(here, FOLDER) / "a.csv").read_bytes() == b"newer"
    assert stored.fetch(here, f"{FOLDER}/a.csv") == path / "a.csv"
    assert (path / "year=2026/b.parquet").stat() == unchanged
    bucket.delete(["churn/raw/a.csv"])
    assert not (stored.fetch(here, FOLDER) / "a.csv").exists()
    with pytest.raises(DataError, match="does not exist: put the table there, or correct the address"):
        stored.fetch(here, f"{FOLDER}/a.csv")
    with pytest.raises(DataError, match="s3://bucket/empty holds no"):
        stored.fetch(here, "s3://bucket/empty")


def test_a_local_table_stays_where_it_is(here: Settings):
    assert stored.fetch(here, "data/raw") == here.path("data/raw")


def test_a_result_is_copied_whole_and_never_over_its_input(here: Settings, bucket: ObjectStore):
    target = "s3://bucket/out/scored.csv"
    with stored.result(here, target, [FOLDER], overwrite=False) as (path, overwrite):
        assert overwrite
        path.write_bytes(b"scores")
    assert not path.exists()
    assert bucket.read("out/scored.csv", max_bytes=10)
    for sources, force in (([FOLDER], False), ([target], True)):
        with (
            pytest.raises(DataError, match="exists already: name another one, or give --force"),
            stored.result(here, target, sources, overwrite=force),
        ):
            pass
    with stored.result(here, target, [FOLDER], overwrite=True) as (path, _):
        path.write_bytes(b"again")
    written = bucket.read("out/scored.csv", max_bytes=10)
    assert written is not None
    assert written.data == b"again"


def test_a_part_in_a_store_is_read_without_the_rest_of_its_file(
    tmp_path: Path, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dataset, "PART_ROWS", 20_000)
    folder = tmp_path / "bucket/churn/raw"
    for year in (2025, 2026):
        (folder / f"year={year}").mkdir(parents=True)
        values = pl.DataFrame({"calls": pl.int_range(100_000, eager=True).shuffle(year)})
        values.write_parquet(folder / f"year={year}/a.parquet", row_group_size=10_000)
        (folder / f"year={year}/_b.parquet").touch()
    schema = load_settings(write_project(tmp_path)).table
    fetched = []
    fetch = ObjectStore.fetch
    monkeypatch.setattr(ObjectStore, "fetch", lambda *given: (fetched.append(given[3] - given[2]), fetch(*given)))
    here = [batch.table for part in DataSet.of(folder).parts() for batch in part.batches(7_000, schema, "all")]
    with DataSet.of(FOLDER).with_heads() as data:
        parts, heads = data.parts(), sum(fetched)
        there = [[batch.table for batch in part.batches(7_000, schema, "all")] for part in parts]
    assert [len(tables) for tables in there] == [3] * 10
    assert pl.concat(here).equals(pl.concat(table for tables in there for table in tables))
    size = sum(file.size for file in data.files)
    assert heads <= 2 * FOOTER_BYTES
    assert sum(fetched) - heads < size + 10 * (FOOTER_BYTES + 200)
    bucket.delete(["churn/raw/year=2025/a.parquet"])
    with pytest.raises(DataError, match=f"{FOLDER}/year=2025/a.parquet changed while it was read"):
        next(parts[0].batches(10, schema, "all"))
    bucket.create("churn/raw/year=2025/a.parquet", b"no Parquet")
    with (
        pytest.raises(DataError, match=f"{FOLDER}/year=2025/a.parquet is not a readable Parquet table"),
        DataSet.of(FOLDER).with_heads() as data,
    ):
        data.parts()


def test_a_result_that_cannot_be_copied_stays_and_is_named(
    here: Settings, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object, **__: object) -> None:
        raise StoreError("the store does not answer")

    monkeypatch.setattr(ObjectStore, "upload", fail)
    with (
        pytest.raises(StoreError) as refused,
        stored.result(here, "s3://bucket/out/scored.csv", [FOLDER], overwrite=False) as (path, _),
    ):
        path.write_bytes(b"scores")
    assert path.read_bytes() == b"scores"
    assert refused.value.__notes__ == [f"the result is complete in {path}"]
