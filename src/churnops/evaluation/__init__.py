"""Quality of a model: metrics with intervals, and the pages that show them.

`metrics` needs only NumPy and agrees with scikit-learn. Import `plots` and `page` by their full names: they load
Matplotlib, which takes time and is not needed for numbers alone.
"""

from churnops.evaluation.metrics import (
    HIGHER_IS_BETTER,
    METRIC_LABELS,
    Evaluation,
    Interval,
    evaluate,
    point_metrics,
    resampling_counts,
    weighted_metrics,
)
from churnops.evaluation.scored_rows import METRICS

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
