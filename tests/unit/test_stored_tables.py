"""Tables in an object store: their copies on this machine, and results that are copied to the store."""

from pathlib import Path
from typing import Any

import pytest

from churnops.data import stored
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


def test_a_result_in_parts_is_complete_when_its_last_file_is_there(
    here: Settings, bucket: ObjectStore, monkeypatch: pytest.MonkeyPatch
):
    order: list[str] = []
    upload = ObjectStore.upload
    monkeypatch.setattr(ObjectStore, "upload", lambda *given, **o: (order.append(given[1]), upload(*given, **o)))
    for parts in (("part-0.csv", "part-1.csv"), ("part-0.csv",)):
        with stored.result(here, "s3://bucket/parts", [FOLDER], overwrite=True) as (path, _):
            path.mkdir()
            for name in ("_SUCCESS", "manifest.json", *parts):
                (path / name).write_text(name)
    assert order[:4] == ["part-0.csv", "part-1.csv", "manifest.json", "_SUCCESS"]
    assert {entry.name for entry in bucket.entries("parts")} == {f"parts/{name}" for name in order[4:]}


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
