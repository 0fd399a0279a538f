"""SciPy: its two-sample test in a loop over the columns."""

from clock import Columns, Figures, run
from scipy.stats import ks_2samp


def check(reference: Columns, batch: Columns) -> list[object]:
    return [ks_2samp(values, batch[name], method="auto") for name, values in reference.items()]


def figures(found: list[object]) -> Figures:
    return [result.statistic for result in found], [result.pvalue for result in found]


run(dict, dict, check, figures)
