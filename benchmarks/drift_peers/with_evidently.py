"""Evidently: the drift preset with the Kolmogorov-Smirnov test for all columns; no HTML is made."""

from typing import Any

import pandas as pd
from clock import Columns, Figures, run
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset


def read(columns: Columns) -> Dataset:
    definition = DataDefinition(numerical_columns=list(columns))
    return Dataset.from_pandas(pd.DataFrame(columns), data_definition=definition)


def check(reference: Dataset, batch: Dataset) -> dict[str, Any]:
    return Report([DataDriftPreset(method="ks")]).run(batch, reference).dict()


def figures(result: dict[str, Any]) -> Figures:
    return None, [metric["value"] for metric in result["metrics"][1:]]  # the first is the number of drifted columns


run(read, lambda reference: reference, check, figures)
