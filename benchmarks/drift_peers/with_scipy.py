"""SciPy: its two-sample test in a loop over the columns."""

from clock import Columns, Figures, run
from scipy.stats import ks_2samp


def check(reference: Columns, batch: Columns) -> list[object]:
    return [ks_2samp(values, batch[name], method="auto") for name, values in reference.items()]


def figures(results: list[object]) -> Figures:
    return [result.statistic for result in results], [result.pvalue for result in results]


run(dict, dict, check, figures)
