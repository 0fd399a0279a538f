"""CSV answers that are safe in spreadsheets."""

import polars as pl

from churnops.scoring.csv_answer import without_formulas


def test_escaped_headers_stay_distinct():
    table = pl.DataFrame({"=x": [1], "'=x": [2], "''=x": [3], "y": [4]})
    assert without_formulas(table).columns == ["'''=x", "'=x", "''=x", "y"]
