"""Plan of a training: what is searched, on which folds, and which rows the deployed model refers to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.data.time_split import forward_folds
from churnops.settings import Family, Settings
from churnops.training.search import Fold, Weighting, stratified_folds


@dataclass(frozen=True)
class Plan:
    """Plan of a training: candidates to compare, and rows of the deployed model's reference profile.

    Attributes
    ----------
    families
        Families to search, each with each of `weights`.
    weights
        Weightings of the training rows by name; None gives all rows the same weight.
    folds
        Folds that choose the winner, as indices into the training rows.
    reference
        Mask of the table's rows for the reference profile, shape (n,). Each must be held out or validated by a fold, so
        that a fit not trained on it gives its score. None: fit the winner again on all rows, and profile all of them.
    threads
        Number of fits at once; the result does not depend on it.
    """

    families: Sequence[Family]
    weights: Mapping[str, Weighting | None]
    folds: Sequence[Fold]
    reference: NDArray[np.bool_] | None
    threads: int

    def candidates(self) -> dict[str, tuple[Family, Weighting | None]]:
        """Return family and weighting by candidate name; with a single weighting, that is the family's name."""
        return {
            family if len(self.weights) == 1 else f"{family}: {scheme}": (family, weighting)
            for family in self.families
            for scheme, weighting in self.weights.items()
        }


def main_plan(prepared: PreparedTable, settings: Settings) -> Plan:
    """Return the main job's plan: cross-validate every family of the settings, and fit the winner on all rows."""
    options, training, seed = settings.training, prepared.training, settings.random_state
    outcome = prepared.outcome[training]
    if prepared.in_time is None:
        folds = stratified_folds(outcome, options.folds, seed)
    else:
        folds = forward_folds(prepared.in_time.moments.rows(training), outcome, options.folds, seed)
    return Plan(options.families, {"all rows": None}, folds, None, options.threads)
