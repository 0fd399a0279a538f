"""Further fits of the winner of a main job, which show what its evaluation would be otherwise."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable, stratified_holdout
from churnops.evaluation.repeated import RepeatedScores
from churnops.settings import Family, Settings
from churnops.training.bundle_maker import BundleMaker
from churnops.training.repeated import repeated_scores
from churnops.training.search import Trial
from churnops.training.select import SelectedFeatures
from churnops.training.train import TrainedModels


@dataclass(frozen=True)
class WinnerRefits:
    """Fits with the winner's family and hyperparameters, on other columns or rows, and repeats of the training."""

    trained: TrainedModels
    prepared: PreparedTable
    features: SelectedFeatures
    settings: Settings

    def without(self, columns: Collection[str]) -> NDArray[np.float64] | None:
        """Fit the training rows without some columns, and return the scores of the held-out rows.

        Without held-out rows, all rows are scored by repeated cross-validation, shape (repeats, n). The result is None
        if no feature is left.
        """
        build = self.features.build.without(columns)
        if build is None:
            return None
        if not self.prepared.held_out.any():
            return repeated_scores(self.prepared, build, self.settings).probability
        maker = BundleMaker(self.prepared, build, self.settings)
        return maker.scores(*self._winner, self.prepared.training, self.prepared.held_out)

    def on_random_split(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Hold rows out at random, whatever their times and customers; return their outcomes and scores."""
        outcome, settings = self.prepared.outcome, self.settings
        held_out = stratified_holdout(outcome, settings.evaluation.holdout_fraction, settings.random_state)
        maker = BundleMaker(replace(self.prepared, in_time=None), self.features.build, settings)
        return outcome[held_out], maker.scores(*self._winner, ~held_out, held_out)

    def repeated(self) -> RepeatedScores:
        """Score all rows by repeated cross-validation of the whole training."""
        return repeated_scores(self.prepared, self.features.build, self.settings)

    @property
    def _winner(self) -> tuple[Family, Trial]:
        model = self.trained.models[self.trained.winner]
        return cast("Family", model.bundle.algorithm), model.search.best
