"""Rows of one customer are removed from files; every other byte of a CSV, and all of a Parquet file, stays."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from churnops.data.forget import count_rows_of, remove_rows_of
from churnops.errors import DataError
from churnops.schema import Column, Schema

SCHEMA = Schema(
    columns=(
        Column(name="who", alias="Who", kind="id"),
        Column(name="calls", kind="integer"),
        Column(name="churn", kind="target", choices=("No", "Yes")),
    )
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Who,calls,note\nann,1,x\nbob,2,y\nann,3,z", b"Who,calls,note\nbob,2,y\n"),
        (b"\xef\xbb\xbfcalls;Who\r\n1;ann\r\n\r\n2;bob\r\n", b"\xef\xbb\xbfcalls;Who\r\n\r\n2;bob\r\n"),
        (b'calls,Who\n1,"ann"\n2,"b,""o\nb"\n3,ann\n', b'calls,Who\n2,"b,""o\nb"\n'),
        (b"sep=;\nWho;calls\nann;1\nann-2;2\n ann;3\nANN;4\n", b"sep=;\nWho;calls\nann-2;2\n ann;3\nANN;4\n"),
        (b"# ann\nWho,calls\nann,1\nbob,ann\n", b"# ann\nWho,calls\nbob,ann\n"),
        ("\ufeffWho\tcalls\nann\t1\nbö\t2\n".encode("utf-16-le"), "\ufeffWho\tcalls\nbö\t2\n".encode("utf-16-le")),
        (b"Who,calls,note\nbob,2,caf\xe9\nann,1,\x80\n", b"Who,calls,note\nbob,2,caf\xe9\n"),
        (b"Who,calls\nann,1\n", b"Who,calls\n"),
        (b"calls,churn\n1,No\n", b"calls,churn\n1,No\n"),
    ],
)
def test_other_records_of_a_csv_keep_their_bytes(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "customers.csv"
    path.write_bytes(before)
    path.chmod(0o640)
    schema = SCHEMA.model_copy(update={"encoding": "windows-1252"}) if b"\xe9" in before else SCHEMA
    count = count_rows_of(path, schema, "ann")
    assert remove_rows_of(path, schema, "ann") == count == before.count(b"ann") - after.count(b"ann") or b"\0" in before
    assert path.read_bytes() == after
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("ids", [[7, 8, 7, None], [7.0, 8.0, 7.0, None], ["7", "8", "7", None]])
def test_a_parquet_file_keeps_types_and_other_rows(tmp_path: Path, ids: list[object]) -> None:
    path = tmp_path / "customers.parquet"
    table = pl.DataFrame({"Who": ids, "calls": [1, 2, 3, 4], "tags": [["a"], [], None, ["b"]]})
    table.write_parquet(path, compression="gzip", row_group_size=2)
    assert remove_rows_of(path, SCHEMA, "7") == 2
    assert pl.read_parquet(path).equals(table[[1, 3]])
    assert pq.read_metadata(path).row_group(0).column(0).compression == "GZIP"


def test_a_file_whose_records_are_ambiguous_stays(tmp_path: Path) -> None:
    path = tmp_path / "customers.csv"
    path.write_text('Who,calls,note\nbob,1,5" pipe\nann,2,x\neve,3,5" pipe\n')
    before = path.read_bytes()
    with pytest.raises(DataError, match="remove the customer's 1 rows by hand"):
        remove_rows_of(path, SCHEMA, "ann")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
