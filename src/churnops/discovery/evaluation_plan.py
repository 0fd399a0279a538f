"""Evaluation of the models of a new table: on held-out customers, or by repeated cross-validation."""

from churnops.discovery.discover import Discovery
from churnops.settings.sections import EvaluationSettings, TrainingSettings

MIN_HELD_OUT = 50
"""Smallest number of held-out customers of the rarer outcome.

Hanley and McNeil, Radiology 143 (1982) 29-36: with n customers of the rarer outcome, many of the other, and a ROC-AUC
of 0.8, its standard error is 0.27 / sqrt(n). With 50, the 95 % interval is 0.15 wide.
"""
ROWS_PER_FOLD = 2
"""Smallest number of customers of the rarer outcome in a fold."""


def held_out_of_rarer(table: Discovery) -> int:
    """Return the number of customers of the rarer outcome that a hold-out would have."""
    return round(min(table.target.counts) * EvaluationSettings().holdout_fraction)


def is_too_small(table: Discovery) -> bool:
    """Whether a hold-out would have too few customers of the rarer outcome for a useful interval."""
    return held_out_of_rarer(table) < MIN_HELD_OUT


def folds_for(table: Discovery) -> int:
    """Return the usual number of folds, or fewer if one would have fewer than two customers of the rarer outcome."""
    return max(2, min(TrainingSettings().folds, min(table.target.counts) // ROWS_PER_FOLD))
