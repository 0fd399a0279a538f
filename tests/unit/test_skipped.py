"""Files and columns that are not used are named."""

import json
from dataclasses import asdict
from pathlib import Path

import polars as pl
import pytest

from churnops.data.read import table_paths
from churnops.data.skipped import Skipped, skipped_files
from churnops.data.validate import validate_data
from churnops.errors import DataError
from churnops.settings import Settings
from tests.support.projects import RAW


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    raw = tmp_path / "raw"
    (raw / "old").mkdir(parents=True)
    for name in ("a.csv", ".b.csv", "c.csv.gz", "notes.txt", "old/d.csv"):
        (raw / name).write_bytes(RAW[1].read_bytes())
    return raw


def test_every_file_that_is_not_read_is_named_with_its_reason(folder: Path):
    assert table_paths([folder]) == [folder / "a.csv"]
    assert skipped_files([folder, folder / "a.csv"]) == {
        "raw/.b.csv": "hidden",
        "raw/c.csv.gz": "without the ending .csv, .parquet or .xlsx",
        "raw/notes.txt": "without the ending .csv, .parquet or .xlsx",
        "raw/old": "in a subfolder",
    }
    assert table_paths([folder / ".b.csv"]) == [folder / ".b.csv"]  # a hidden file may be named
    (folder / "a.csv").unlink()
    with pytest.raises(DataError, match=r"holds no \.csv, \.parquet or \.xlsx file"):
        table_paths([folder])


def test_files_and_columns_without_use_are_in_the_validation_report(folder: Path, settings: Settings):
    table = pl.read_csv(folder / "a.csv", infer_schema=False).with_columns(
        pl.lit("x").alias("Extra"), pl.lit(None).alias("State"), pl.lit("100").alias("Total night calls")
    )
    table.write_csv(folder / "a.csv")
    validated = validate_data([folder], [], settings.table)
    report = json.loads(validated.artifacts["validation_report.json"])
    assert report["skipped"] == asdict(validated.skipped)
    assert list(report["skipped"]["files"]) == ["raw/.b.csv", "raw/c.csv.gz", "raw/notes.txt", "raw/old"]
    assert report["skipped"]["columns"] == {
        "Extra": "not in the schema",
        "State": "empty",
        "Total night calls": "the same value in every row",
    }
    text = str(validated.artifacts["validation_report.txt"])
    assert "Files not used (in a subfolder): raw/old\n" in text
    assert "Columns not used (the same value in every row): Total night calls\n" in text


def test_a_sentence_names_five_and_counts_the_others():
    (sentence,) = Skipped({f"raw/{n}.txt": "hidden" for n in range(1007)}).sentences()
    assert sentence.startswith("Files not used (hidden): raw/0.txt, raw/1.txt, ")
    assert sentence.endswith("raw/4.txt and 1,002 more")


def test_a_sound_folder_has_nothing_to_name(settings: Settings):
    assert list(validate_data(RAW, [], settings.table).skipped.sentences()) == []
