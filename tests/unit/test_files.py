"""Temporary files without a name, folders that outlive no process for long, and who may read what is written."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import polars as pl
import pytest

from churnops.data.batches import open_batches
from churnops.files import close_to_others, create_files_for, temporary_file, temporary_folder


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_temporary_file_has_no_name_and_tables_are_read_from_it(temporary: Path, kind: str):
    table = pl.DataFrame({"a": ["1", "2"], "b": ["x", "y"]})
    file, path = temporary_file(f".{kind}")
    with file:
        table.write_csv(file) if kind == "csv" else table.write_parquet(file)
        file.flush()
        assert list(temporary.iterdir()) == []
        for _ in range(2):
            assert pl.concat(open_batches(path, format=kind)).equals(table)  # type: ignore[arg-type]


def test_without_proc_a_temporary_file_goes_when_it_is_closed(temporary: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Path, "is_dir", lambda _: False)
    file, path = temporary_file(".csv")
    with file:
        file.write(b"a\n1\n")
        file.flush()
        assert path.read_bytes() == b"a\n1\n"
        assert path.parent == temporary
    assert list(temporary.iterdir()) == []


def test_a_killed_process_folder_is_removed_and_one_in_use_is_kept(temporary: Path):
    program = """
import sys, tempfile, time
from churnops.files import temporary_folder
tempfile.tempdir = sys.argv[1]
with temporary_folder() as folder:
    (folder / "customers.csv").write_text("C-1")
    print(folder, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program, temporary], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with temporary_folder() as folder:
            assert folder.stat().st_mode & 0o777 == 0o700
            assert left.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (left / "customers.csv").exists()
    with temporary_folder():
        assert not left.exists()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("group", "file_mode", "folder_mode"), [(False, 0o600, 0o700), (True, 0o660, 0o770)])
def test_files_are_created_for_the_owner_or_the_group(tmp_path: Path, group: bool, file_mode: int, folder_mode: int):
    before = os.umask(0o022)
    try:
        loose = tmp_path / "loose"
        loose.write_text("")
        loose.chmod(0o666)
        create_files_for(group=group)
        (tmp_path / "file").write_text("")
        (tmp_path / "folder").mkdir()
        close_to_others(loose)
        close_to_others(tmp_path / "missing")
        modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("file", "folder", "loose")]
    finally:
        create_files_for(group=False)
        os.umask(before)
    assert modes == [file_mode, folder_mode, file_mode]
