"""Run one peer over the five folds of a table, in its own process and environment. Needs NumPy, pandas and Linux.

The command line names the folder of the folds and the file for the scores. Every peer gets the same typed frames: a
column of numbers if fewer than 1 % of its cells are anything else, which then are missing; otherwise categories, of
which those unknown to the training rows are missing. The id and empty columns are left out.
"""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MISSING = ["", " ", "?", "NA", "N/A", "NaN", "nan", "null"]
Outcomes = NDArray[np.int64]
FitAndScore = Callable[[pd.DataFrame, Outcomes, pd.DataFrame], NDArray[np.float64]]
"""Fits on the first frame and its outcomes, and returns the probability of outcome 1 for the second."""


def run(fit_and_score: FitAndScore) -> None:
    """Write the scores of the validation rows, in the order of folds and rows."""
    warnings.simplefilter("ignore")
    folder, scores = Path(sys.argv[1]), Path(sys.argv[2])
    table = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    results = {}
    for path in sorted(folder.glob("train_*.csv")):
        fold = path.stem.removeprefix("train_")
        train, valid = _cells(path, table), _cells(folder / f"valid_{fold}.csv", table)
        outcome = (train.pop(table["target"]) == table["positive"]).to_numpy().astype(np.int64)
        valid = valid.drop(columns=table["target"])
        results[fold] = np.asarray(fit_and_score(*_typed(train, outcome, valid)), dtype=np.float64)
    np.savez_compressed(scores, **results)


def categories(frame: pd.DataFrame) -> list[str]:
    """Return the columns that are categories."""
    return [name for name in frame if isinstance(frame[name].dtype, pd.CategoricalDtype)]


def _cells(path: Path, table: dict[str, str]) -> pd.DataFrame:
    """Return the cells as text, and missing ones as None."""
    cells = pd.read_csv(path, sep=table["separator"], dtype=object, keep_default_na=False, na_values=MISSING)
    return cells.drop(columns=[table["id"]] if table["id"] else [])


def _typed(train: pd.DataFrame, outcome: Outcomes, valid: pd.DataFrame) -> tuple[pd.DataFrame, Outcomes, pd.DataFrame]:
    known, new = {}, {}
    for place, name in enumerate(train):
        numbers = pd.to_numeric(train[name], errors="coerce")
        present = train[name].notna().sum()
        if present == 0:
            continue
        column = f"x{place}"  # some libraries refuse marks in names
        if present - numbers.notna().sum() < 0.01 * present:
            known[column] = numbers.astype(np.float64)
            new[column] = pd.to_numeric(valid[name], errors="coerce").astype(np.float64)
        else:
            levels = pd.CategoricalDtype(sorted(train[name].dropna().unique()))
            known[column], new[column] = train[name].astype(levels), valid[name].astype(levels)
    return pd.DataFrame(known), outcome, pd.DataFrame(new)
