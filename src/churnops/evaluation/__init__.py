"""How good a model is, and how sure we can be: metrics with intervals, and the pages that show them.

`metrics` needs NumPy only and agrees with scikit-learn; `plots` is imported by its full name, because it
is the one home of Matplotlib and whoever only wants numbers should not pay for it.
"""

from churnops.evaluation.metrics import (
    HIGHER_IS_BETTER,
    METRIC_LABELS,
    METRICS,
    Evaluation,
    Interval,
    evaluate,
    point_metrics,
    resampling_counts,
    weighted_metrics,
)

__all__ = [
    "HIGHER_IS_BETTER",
    "METRICS",
    "METRIC_LABELS",
    "Evaluation",
    "Interval",
    "evaluate",
    "point_metrics",
    "resampling_counts",
    "weighted_metrics",
]
