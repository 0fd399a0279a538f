"""Customer tables as people really have them: the same customers, each time with another kind of trouble."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tests.support.workbooks import workbook

ROWS = 400
INPUTS = {"tenure", "monthly_charges", "contract", "tech_support", "calls", "senior_citizen"}
Cells = Sequence[Any]


def customers() -> dict[str, list[Any]]:
    """Return the clean table: an id, six inputs, and the outcome `Churn`."""
    rng = np.random.default_rng(5)
    tenure, spend, calls = rng.integers(0, 72, ROWS), np.round(rng.gamma(4, 15, ROWS), 2), rng.poisson(2, ROWS)
    contract = rng.choice(["Month-to-month", "One year", "Two year"], ROWS, p=[0.55, 0.25, 0.2])
    log_odds = -1.2 - 0.03 * tenure + 0.015 * spend + 0.9 * (contract == "Month-to-month") + 0.25 * calls
    churned = rng.random(ROWS) < 1 / (1 + np.exp(-log_odds))
    return {
        "customerID": [
            f"{number}-{''.join(rng.choice([*'ABCDEFGH'], 5))}" for number in rng.integers(1000, 9999, ROWS)
        ],
        "tenure": tenure.tolist(),
        "MonthlyCharges": spend.tolist(),
        "Contract": contract.tolist(),
        "TechSupport": rng.choice(["Yes", "No"], ROWS).tolist(),
        "Calls": calls.tolist(),
        "SeniorCitizen": rng.integers(0, 2, ROWS).tolist(),
        "Churn": ["Yes" if churn else "No" for churn in churned],
    }


def as_csv(columns: Mapping[str, Cells], separator: str = ",", encoding: str = "utf-8", above: str = "") -> bytes:
    """Return columns as the bytes of a CSV."""
    text = io.StringIO()
    text.write(above)
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode(encoding)


def _with(**changed: Cells) -> dict[str, list[Any]]:
    return customers() | {name: list(cells) for name, cells in changed.items()}


def _each(name: str, change: Callable[[int, Any], Any]) -> list[Any]:
    return [change(row, value) for row, value in enumerate(customers()[name])]


def _fifth(form: str) -> Callable[[int, Any], Any]:
    """Return a change of every fifth value."""
    return lambda row, value: value if row % 5 else form.format(value)


def _large(form: str, swap: str = "") -> list[str]:
    """Return the charges times 1,234 in a form, with `,` and `.` replaced by the two letters of `swap`."""
    texts = [format(value * 1234, form) for value in customers()["MonthlyCharges"]]
    return [text.translate(str.maketrans(",.", swap)) for text in texts] if swap else texts


def _gaps(word: str) -> dict[str, list[Any]]:
    return _with(
        MonthlyCharges=_each("MonthlyCharges", lambda row, value: value if row % 17 else word),
        Contract=_each("Contract", lambda row, value: value if row % 19 else word),
    )


def _parquet(table: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    return buffer.getvalue()


def _typed() -> bytes:
    table = pl.DataFrame(customers()).with_columns(
        pl.col("tenure").cast(pl.Float64),
        pl.col("SeniorCitizen").cast(pl.Boolean),
        pl.col("Contract").cast(pl.Categorical),
        pl.lit([1, 2]).alias("nested"),
        pl.col("Churn") == "Yes",
    )
    return _parquet(table)


def signups() -> list[date]:
    """Return a date of each customer, from 2020 to 2025."""
    return [
        date(2020, 1, 1) + timedelta(days=30 * tenure + row % 30) for row, tenure in enumerate(customers()["tenure"])
    ]


def _dates(form: str) -> list[str]:
    return [f"{day:{form}}" for day in signups()]


DATE_FORMS = {
    "with-time": "%Y-%m-%dT00:00:00Z",
    "day-first": "%d.%m.%Y",
    "month-first": "%m/%d/%y",
    "month-first-with-time": "%m/%d/%Y 12:00:00 AM",
    "compact": "%Y%m%d",
    "compact-as-float": "%Y%m%d.0",
    "named-month": "%d-%b-%Y",
    "american": "%B %d, %Y",
}
"""Forms of dates by the name of the table."""


def _workbook(columns: Mapping[str, Cells]) -> bytes:
    """Return a workbook with a title and an empty row above the header."""
    rows = [[None if value == "" else value for value in row] for row in zip(*columns.values(), strict=True)]
    return workbook([["Customers"], [], list(columns), *rows])


GERMAN = {"Month-to-month": "Monatlich kündbar", "One year": "Ein Jahr", "Two year": "Zwei Jahre"}
WORDS = ("", " ", "NA", "NULL", "?", "-", "n/a", "NaN", "#N/A")
TABLES: Mapping[str, Callable[[], bytes]] = {
    "plain.csv": lambda: as_csv(customers()),
    "semicolons.csv": lambda: as_csv(customers(), ";"),
    "tabs.csv": lambda: as_csv(customers(), "\t"),
    "bars.csv": lambda: as_csv(customers(), "|"),
    "separator-line.csv": lambda: as_csv(customers(), ";", above="sep=;\n"),
    "byte-order-mark.csv": lambda: as_csv(customers(), encoding="utf-8-sig"),
    "utf-16.csv": lambda: as_csv(customers(), encoding="utf-16"),
    "latin-1.csv": lambda: as_csv(_with(Contract=_each("Contract", lambda _, v: GERMAN[v])), ";", "latin-1"),
    "crlf.csv": lambda: as_csv(customers()).replace(b"\n", b"\r\n"),
    "line-breaks.csv": lambda: as_csv(_with(Note=[f'said\nthe "line", {row}' for row in range(ROWS)])),
    "padded-headers.csv": lambda: as_csv({f" {name} ": cells for name, cells in customers().items()}),
    "padded-cells.csv": lambda: as_csv({name: [f" {v} " for v in cells] for name, cells in customers().items()}),
    "row-numbers.csv": lambda: as_csv({"": range(ROWS), **customers()}),
    "empty-last-column.csv": lambda: as_csv({**customers(), "": [""] * ROWS}),
    "constants.csv": lambda: as_csv(_with(Country=["DE"] * ROWS, Empty=[""] * ROWS)),
    "free-text.csv": lambda: as_csv(_with(Note=[f"the customer called about bill {row}" for row in range(ROWS)])),
    "decimal-commas.csv": lambda: as_csv(_with(MonthlyCharges=_large(".2f", ";,")), ";"),
    "quoted-decimal-commas.csv": lambda: as_csv(_with(MonthlyCharges=_large(".2f", ";,"))),
    "thousands.csv": lambda: as_csv(_with(MonthlyCharges=_large(",.2f"))),
    "whole-thousands.csv": lambda: as_csv(_with(MonthlyCharges=_large(",.0f"))),
    "points-and-commas.csv": lambda: as_csv(_with(MonthlyCharges=_large(",.2f", ".,")), ";"),
    "blanks-between-thousands.csv": lambda: as_csv(_with(MonthlyCharges=_large(",.2f", " ."))),
    "no-break-spaces.csv": lambda: as_csv(_with(MonthlyCharges=_large(",.2f", "\u00a0,")), ";"),
    "narrow-spaces.csv": lambda: as_csv(_with(MonthlyCharges=_large(",.2f", "\u202f."))),
    "dollars.csv": lambda: as_csv(_with(MonthlyCharges=[f"${text}" for text in _large(",.2f")])),
    "euros.csv": lambda: as_csv(_with(MonthlyCharges=[f"{text} €" for text in _large(",.2f", ".,")]), ";"),
    "currency-codes.csv": lambda: as_csv(_with(MonthlyCharges=[f"CHF {text}" for text in _large(",.2f", "'.")])),
    "percent.csv": lambda: as_csv(_with(MonthlyCharges=_each("MonthlyCharges", lambda _, v: f"{v}%"))),
    "some-units.csv": lambda: as_csv(_with(MonthlyCharges=_each("MonthlyCharges", _fifth("{} $")))),
    "minus-last.csv": lambda: as_csv(_with(MonthlyCharges=_each("MonthlyCharges", _fifth("{}-")))),
    "brackets.csv": lambda: as_csv(_with(MonthlyCharges=_each("MonthlyCharges", _fifth("({})")))),
    "exponents.csv": lambda: as_csv(_with(MonthlyCharges=_each("MonthlyCharges", lambda _, v: f"{v:e}"))),
    "title.csv": lambda: as_csv(customers(), above='"Customers, all of them"\n\n'),
    "titles.csv": lambda: as_csv(customers(), ";", above="Customers;;;;;;;\nexported 1 March, by hand\n"),
    "comments.csv": lambda: as_csv(customers(), above="# exported, by hand\n#\n"),
    "total-row.csv": lambda: as_csv(customers()) + b"Total,14000,24000.5,,,800,,\n",
    "repeated-headers.csv": lambda: b"Note,Note," + as_csv(customers()).replace(b"\n", b"\na,b,", ROWS),
    "padded-twins.csv": lambda: as_csv(_with(**{"Contract ": ["x"] * ROWS})),
    "flags-as-floats.csv": lambda: as_csv(_with(SeniorCitizen=_each("SeniorCitizen", lambda _, v: float(v)))),
    "whole-floats.csv": lambda: as_csv(_with(Calls=_each("Calls", lambda _, v: float(v)))),
    "dates.parquet": lambda: _parquet(pl.DataFrame(_with(Since=signups()))),
    "dates.csv": lambda: as_csv(_with(Since=signups())),
    **{f"dates-{name}.csv": lambda form=form: as_csv(_with(Since=_dates(form))) for name, form in DATE_FORMS.items()},
    "numbered-outcomes.csv": lambda: as_csv(_with(Churn=_each("Churn", lambda _, v: 2 if v == "Yes" else 1))),
    "outcomes-in-words.csv": lambda: as_csv(_with(Churn=_each("Churn", lambda _, v: "left" if v == "Yes" else "kept"))),
    "mixed-case.csv": lambda: as_csv(_with(TechSupport=_each("TechSupport", lambda n, v: v if n % 9 else v.upper()))),
    "mixed-flags.csv": lambda: as_csv(_with(Churn=_each("Churn", lambda row, v: v if row % 2 else v.lower()))),
    "repeated-rows.csv": lambda: as_csv({k: [*v[:-9], *v[:9]] for k, v in customers().items() if k != "customerID"}),
    "no-outcome.csv": lambda: as_csv(_with(Churn=_each("Churn", lambda row, v: v if row % 50 else ""))),
    "workbook.xlsx": lambda: _workbook(_gaps("")),
    "dollars.xlsx": lambda: _workbook(_with(MonthlyCharges=[f"${text}" for text in _large(",.2f")])),
    "dates.xlsx": lambda: _workbook(_with(Since=signups())),
    "text.parquet": lambda: _parquet(pl.DataFrame({k: [str(v) for v in cells] for k, cells in customers().items()})),
    "typed.parquet": _typed,
    **{f"missing-{number}.csv": lambda word=word: as_csv(_gaps(word)) for number, word in enumerate(WORDS)},
}
"""Content of each file, by name. From each, the six inputs and the outcomes can be read."""


def write_table(name: str, folder: Path) -> Path:
    path = folder / name
    path.write_bytes(TABLES[name]())
    return path
