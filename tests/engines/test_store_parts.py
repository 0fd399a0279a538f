"""Folders in object stores, scored there by Dask workers: the bytes of one process with files, whatever is killed."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from churnops.data import dataset
from churnops.errors import DataError, StoreError
from churnops.objects import ObjectStore
from churnops.pipelines.run_all import RunSummary
from churnops.scoring.file import FileScorer, ScoredFile
from churnops.scoring.folder import FolderScorer
from churnops.scoring.stored_result import stored_result
from churnops.settings import Settings
from tests.support.dask import after, scheduler, worker
from tests.support.kills import KilledError, killing
from tests.support.object_stores import StoreServer, faulty_proxy, s3_variables
from tests.support.processes import wait_for
from tests.support.projects import LATER

FILES, GROUPS, ROWS = 4, 3, 100
DEADLY = """
import os, pathlib, signal
from churnops.scoring.stored_result import StoredManifest
create = getattr(StoredManifest, "create", StoredManifest._record_once)  # Dask may run this file twice
StoredManifest.create = create
def die_once(*arguments):
    try:
        pathlib.Path({flag!r}).touch(exist_ok=False)
    except FileExistsError:
        return create(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
StoredManifest._record_once = die_once
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory, project: tuple[Settings, RunSummary]) -> Path:
    """A deployed model, a data set of 4 files with 3 parts each, and its scores from one process."""
    folder = tmp_path_factory.mktemp("stored")
    shutil.copytree(project[0].path("models"), folder / "models", symlinks=True)
    table = pl.read_csv(LATER)
    for number in range(FILES):
        (folder / f"in/month={number}").mkdir(parents=True)
        rows = table.slice(number * GROUPS * ROWS, GROUPS * ROWS)
        rows.write_parquet(folder / f"in/month={number}/a.parquet", row_group_size=ROWS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "PART_ROWS", ROWS)
        predict(folder, folder / "in", folder / "expected")
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset, "PART_ROWS", ROWS)


def predict(here: Path, source: Path | str, target: Path | str, address: str = "", **options: Any) -> ScoredFile:
    return FolderScorer(FileScorer(here / "models", explain=True), address).score(source, target, **options)


def put(here: Path, place: str) -> str:
    """Put the data set into a store; return its address."""
    for file in (here / "in").rglob("*.parquet"):
        ObjectStore(place).upload(file.relative_to(here).as_posix(), file)
    return f"{place}/in"


def contents(place: Path | str) -> dict[str, bytes]:
    if isinstance(place, Path):
        return {path.name: path.read_bytes() for path in place.iterdir()}
    objects, store = {}, ObjectStore(place)
    for listed in store.entries():
        stored = store.read(listed.name, max_bytes=2**30)
        assert stored is not None
        objects[listed.name] = stored.data
    return objects


def leftovers(place: str) -> list[str]:
    return [listed.name for listed in ObjectStore(place).entries() if ".unfinished/" in listed.name]


def test_workers_read_and_write_objects_themselves(here: Path, any_store: StoreServer, monkeypatch: pytest.MonkeyPatch):
    source, target = put(here, any_store.address), f"{any_store.address}/scored"
    uploaded: list[str] = []
    monkeypatch.setattr(ObjectStore, "upload", lambda store, name, file: uploaded.append(name))  # of this process
    assert predict(here, source, target, "local:2").rows == FILES * GROUPS * ROWS
    assert uploaded == []
    assert contents(target) == contents(here / "expected")
    assert leftovers(any_store.address) == []


def test_folders_and_stores_mix_and_force_replaces_only_results(here: Path, tmp_path: Path, s3: StoreServer):
    target = f"{s3.address}/scored"
    predict(here, put(here, s3.address), tmp_path / "scored")
    assert contents(tmp_path / "scored") == contents(here / "expected")
    ObjectStore(s3.address).create("scored/part-000099.parquet", b"of others")
    for force, message in ((False, "exists already: name another folder, or give --force"), (True, "was not written")):
        with pytest.raises(DataError, match=f"{target} {message}"):
            predict(here, here / "in", target, overwrite=force)
    others = (
        "labels.parquet",
        "november/part-000000.parquet",
        "november/manifest.json",
        ".november.unfinished/run.json",
    )
    for name in ("manifest.json", *others):
        ObjectStore(target).create(name, b"{}")
    predict(here, here / "in", target, overwrite=True)
    assert contents(target) == contents(here / "expected") | dict.fromkeys(others, b"{}")
    with pytest.raises(DataError, match="contains the folder that is scored, or is in it"):
        predict(here, f"{s3.address}/in", f"{s3.address}/in/scored")


def test_a_worker_killed_before_its_commit_loses_nothing(here: Path, tmp_path: Path, any_store: StoreServer):
    (tmp_path / "deadly.py").write_text(DEADLY.format(flag=str(tmp_path / "died")))
    source, target = put(here, any_store.address), f"{any_store.address}/scored"
    with scheduler(tmp_path) as (address, _):
        deadly = ("--preload", str(tmp_path / "deadly.py"))
        with worker(tmp_path, address, *deadly) as one, worker(tmp_path, address, *deadly) as two:
            predict(here, source, target, address)
            assert sorted(process.poll() for process in (one, two) if process.poll() is not None) == [-signal.SIGKILL]
    assert contents(target) == contents(here / "expected")
    assert leftovers(any_store.address) == []


def test_a_killed_command_is_continued_by_another_process(here: Path, tmp_path: Path, s3: StoreServer):
    source, target = put(here, s3.address), f"{s3.address}/scored"
    code = (
        "import sys; from churnops.data import dataset; from churnops.scoring.file import FileScorer\n"
        "from churnops.scoring.folder import FolderScorer; from pathlib import Path\n"
        f"dataset.PART_ROWS = {ROWS}; here, source, target, address = sys.argv[1:]\n"
        "FolderScorer(FileScorer(Path(here, 'models'), explain=True), address).score(source, target)"
    )
    with scheduler(tmp_path) as (address, _), worker(tmp_path, address):
        with subprocess.Popen([sys.executable, "-c", code, str(here), source, target, address]) as process:
            wait_for(
                "a part", lambda: process.poll() is not None or sum("/records/" in n for n in leftovers(s3.address))
            )
            process.send_signal(signal.SIGKILL)
        done = predict(here, source, target)
    assert done.resumed_rows >= ROWS
    assert contents(target) == contents(here / "expected")


def test_a_kill_at_any_change_loses_and_doubles_no_row(
    tmp_path: Path, here: Path, s3: StoreServer, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        pl.read_csv(LATER).head(20).write_csv(tmp_path / f"in/{name}.csv")
    predict(here, tmp_path / "in", tmp_path / "expected")
    expected, target = contents(tmp_path / "expected"), f"{s3.address}/scored"
    monkeypatch.setattr(FileScorer, "threads", 1)
    deadly = killing(monkeypatch, [(ObjectStore, name) for name in ("upload", "create", "replace", "put", "copy")])
    for changes in range(100):
        deadly(changes)
        try:
            predict(here, tmp_path / "in", target)
        except KilledError:
            deadly(-1)
            assert "_SUCCESS" not in contents(target) or contents(target) == expected
            predict(here, tmp_path / "in", target)
        else:
            break
        finally:
            deadly(-1)
        assert contents(target) == expected
        assert leftovers(s3.address) == []
        ObjectStore(target).delete([*expected])
    assert changes >= 10


def test_a_store_that_answers_503_keeps_the_parts(
    here: Path, tmp_path: Path, s3: StoreServer, monkeypatch: pytest.MonkeyPatch
):
    source, target = put(here, s3.address), f"{s3.address}/scored"
    with faulty_proxy(s3.port) as proxy:
        for name, value in s3_variables(proxy.port).items():
            monkeypatch.setenv(name, value)
        with scheduler(tmp_path) as (address, _), worker(tmp_path, address) as process:
            with pytest.raises(
                StoreError, match=r"worker tcp://\S+ of the Dask cluster: .* the store answers 503"
            ) as no:
                predict(here, source, target, address, on_rows=after(2 * ROWS, lambda: proxy.begin("503", "/records/")))
            assert "\n" not in str(no.value)
            assert "finished parts are kept: type the same command again" in no.value.__notes__[0]
            proxy.begin("")
            done = predict(here, source, target, address)
            assert process.poll() is None
        assert done.resumed_rows >= 2 * ROWS
        assert contents(target) == contents(here / "expected")


@pytest.mark.parametrize("running", ["s3_running", pytest.param("azure_running", marks=pytest.mark.needs("azurite"))])
def test_a_worker_without_credentials_is_named_in_one_line(
    here: Path, tmp_path: Path, running: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    server: StoreServer = request.getfixturevalue(running)
    place = server.place(request.node.name)
    with scheduler(tmp_path) as (address, _), pytest.MonkeyPatch.context() as bare:
        bare.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # no role of this machine either
        with worker(tmp_path, address):
            for each, value in server.variables.items():
                monkeypatch.setenv(each, value)
            with pytest.raises(StoreError, match=r"worker tcp://\S+ of .*: the environment has no credentials") as no:
                predict(here, put(here, place.address), f"{place.address}/scored", address)
    assert "\n" not in str(no.value)
    logged = "".join(path.read_text() for path in tmp_path.glob("*.log")) + str(no.value)
    assert not [value for each, value in server.variables.items() if "KEY" in each and value in logged]


def test_of_two_runs_the_newer_one_writes_the_result(here: Path, s3: StoreServer):
    source, target = put(here, s3.address), f"{s3.address}/scored"
    newer: Callable[[], object] = lambda: predict(here, source, target)  # noqa: E731
    with pytest.raises(StoreError, match=f"a newer run writes {target}, or has written it") as caught:
        predict(here, source, target, on_rows=after(2 * ROWS, newer))
    assert not hasattr(caught.value, "__notes__")  # "remove the parts" would remove those of the newer run
    assert contents(target) == contents(here / "expected")


def test_a_run_overtaken_while_it_copies_completes_nothing(
    here: Path, s3: StoreServer, monkeypatch: pytest.MonkeyPatch
):
    source, target, copy = put(here, s3.address), f"{s3.address}/scored", ObjectStore.copy
    overtaken: list[str] = []

    def overtaking(store: ObjectStore, name: str, new_name: str) -> None:
        if not overtaken:
            overtaken.append(name)
            with stored_result(source, target, {"model": "another"}, overwrite=True):
                pass  # and ends there
        copy(store, name, new_name)

    monkeypatch.setattr(ObjectStore, "copy", overtaking)
    with pytest.raises(StoreError, match=f"a newer run writes {target}, or has written it"):
        predict(here, source, target)
    assert "_SUCCESS" not in contents(target)
    with pytest.raises(DataError, match="exists already"):
        predict(here, source, target)
    predict(here, source, target, overwrite=True)  # the objects are known to be of an unfinished result
    assert contents(target) == contents(here / "expected")


def test_a_result_is_whole_though_its_parts_cannot_be_removed(
    here: Path, s3: StoreServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    source, target = put(here, s3.address), f"{s3.address}/scored"

    def refuse(*_: object) -> None:
        raise StoreError("the store answers 403 Forbidden")

    monkeypatch.setattr(ObjectStore, "_delete", refuse)
    predict(here, source, target)
    assert contents(target) == contents(here / "expected")
    assert "is written, but" in caplog.text


def test_a_refused_write_is_not_taken_for_another_run(here: Path, s3: StoreServer, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise StoreError("the store answers 403 Forbidden")

    monkeypatch.setattr(ObjectStore, "create", refuse)
    with pytest.raises(StoreError, match="403 Forbidden"):
        predict(here, here / "in", f"{s3.address}/scored")


def test_the_mark_of_an_empty_folder_is_no_object(here: Path, s3: StoreServer):
    import boto3

    target, names = f"{s3.address}/scored", s3_variables(s3.port)
    client = boto3.client("s3", endpoint_url=names["AWS_ENDPOINT_URL"], region_name="us-east-1")
    bucket, _, prefix = s3.address.removeprefix("s3://").partition("/")
    client.put_object(Bucket=bucket, Key=f"{prefix}/scored/".lstrip("/"))
    predict(here, here / "in", target)
    assert contents(target) == contents(here / "expected")
