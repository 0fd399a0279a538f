"""Rows of one customer are removed from files; every other byte of a CSV, and all of a Parquet file, stays."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from churnops.data.forget import count_rows_of, remove_rows_of
from churnops.errors import DataError
from churnops.pipelines.forget import forget
from churnops.schema import Column, Schema
from churnops.settings import load_settings
from tests.support.projects import write_project
from tests.support.workbooks import workbook

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
    with pytest.raises(DataError, match="rows of the customer whose ends are unclear: 1"):
        remove_rows_of(path, SCHEMA, "ann")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_need_a_hand_are_listed_with_the_reason(tmp_path: Path) -> None:
    columns = [column.model_dump(mode="json", exclude_defaults=True) for column in SCHEMA.columns]

    def change(document: dict[str, object]) -> None:
        document["schema"] = {"columns": columns}
        document["features"] = {"derived": []}
        document["data"] = {"raw": ["customers.xlsx", "customers.sql", "s3://bucket/raw"], "production": ["broken.csv"]}

    settings = load_settings(write_project(tmp_path, change))
    (tmp_path / "customers.xlsx").write_bytes(workbook([["Who", "calls"], ["ann", 1], ["bob", 2]]))
    (tmp_path / "customers.sql").write_text("SELECT 1")
    (tmp_path / "broken.csv").write_text("Who,calls\nann\n")
    (tmp_path / "scored").mkdir()
    (tmp_path / "scored/manifest.json").write_text("{}")
    (tmp_path / "scored/.later.csv.unfinished").mkdir()
    for name in ("scored/part-000000.csv", "notes.csv"):
        (tmp_path / name).write_text("Who,calls\nann,1\nbob,2\n")
    for name in ("journal.db.replaced-20261130T120000Z", "journal.db.other"):
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="no visible character"):  # rows without an id stay
        forget(settings, " ", only_count=False)
    receipt, path = forget(settings, "ann", only_count=False)
    assert path is not None
    assert receipt.files == {"notes.csv": 1}
    assert receipt.by_hand == {
        "s3://bucket/raw": "a table in an object store",
        "broken.csv": "row 1 has 1 value, but the header has 2 (separated by commas)",
        "scored/part-000000.csv": "rows of the customer in a file that manifest.json beside it does not list: 1",
        "scored/.later.csv.unfinished": "an interrupted predict: type its command again, or remove the folder",
        "customers.xlsx": "rows of the customer in a workbook: 1",
        "customers.sql": "a query: remove the rows in its database",
        "journal.db.replaced-20261130T120000Z": "an earlier journal or its log: remove it",
    }
    assert "ann" not in path.read_text().replace("cannot", "")
