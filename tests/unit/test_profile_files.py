"""Profiles of Parquet files: exactly what counting all rows at once gives; what cannot be counted is refused."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from churnops.data.profile import count_profile, fit_profile
from churnops.data.profile_files import profile_parquet
from churnops.errors import DataError


@pytest.fixture
def folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    for part in range(3):
        table = pl.DataFrame(
            {
                "minutes": pl.Series(rng.normal(size=5000).round(1)).set(pl.Series(rng.random(5000) < 0.01), None),
                "calls": pl.Series(rng.integers(0, 9, 5000), dtype=pl.Int16),
                "plan": rng.random(5000) < 0.3,
                "note": ["text"] * 5000,
            }
        )
        table.write_parquet(tmp_path / f"{part}.parquet", row_group_size=1200)
    return tmp_path


def test_streamed_counts_are_those_of_all_rows(folder: Path, rng: np.random.Generator):
    reference = fit_profile({"calls": np.arange(5.0), "minutes": rng.normal(size=300).round(1), "plan": np.zeros(9)})
    reported: list[int] = []
    found = profile_parquet([folder], reference, on_rows=reported.append)
    table = pl.concat(pl.read_parquet(path) for path in sorted(folder.iterdir()))
    columns = {name: table[name].cast(pl.Float64).fill_null(np.nan).to_numpy() for name in reference}
    for name, expected in count_profile(reference, columns).items():
        np.testing.assert_array_equal(found[name].counts, expected.counts)
        assert found[name].missing == expected.missing
    assert found["minutes"].missing > 0
    assert sorted(reported)[-1] == 15_000
    again = profile_parquet(sorted(folder.iterdir(), reverse=True), reference)
    np.testing.assert_array_equal(again["minutes"].counts, found["minutes"].counts)


def test_what_cannot_be_counted_is_refused_in_one_line(folder: Path, tmp_path: Path):
    reference = fit_profile({"calls": np.arange(5.0)})
    (tmp_path / "empty").mkdir()
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    data = (folder / "0.parquet").read_bytes()
    (damaged / "a.parquet").write_bytes(data[: len(data) // 2])
    (damaged / "b.parquet").write_bytes(b"PAR1" + bytes(500) + data[504:])  # the end is right, the rows are not
    for sources, names, message in (
        ([tmp_path / "empty"], ("calls",), "holds no .parquet file"),
        ([tmp_path / "nothing.parquet"], ("calls",), "is not a readable Parquet table"),
        ([damaged / "a.parquet"], ("calls",), "is not a readable Parquet table"),
        ([damaged / "b.parquet"], ("minutes",), "is not a readable Parquet table"),
        ([folder], ("age",), "has no column 'age'"),
        ([folder], ("note",), "holds .*string, not numbers"),
    ):
        with pytest.raises(DataError, match=message) as caught:
            profile_parquet(sources, dict.fromkeys(names, reference["calls"]))
        assert "\n" not in str(caught.value)
