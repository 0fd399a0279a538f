"""NannyML: univariate drift, one chunk, with the 10,000 bins that are its default for large references."""

import pandas as pd
from clock import Figures, run
from nannyml import UnivariateDriftCalculator


def fit(reference: pd.DataFrame) -> UnivariateDriftCalculator:
    return UnivariateDriftCalculator(
        column_names=list(reference.columns), continuous_methods=["kolmogorov_smirnov"], chunk_number=1
    ).fit(reference)


def check(calculator: UnivariateDriftCalculator, batch: pd.DataFrame) -> pd.DataFrame:
    return calculator.calculate(batch).filter(period="analysis").to_df()


def figures(result: pd.DataFrame) -> Figures:
    values = result.xs("value", axis="columns", level=-1)
    return values.iloc[0, :].tolist(), None


run(pd.DataFrame, fit, check, figures)
