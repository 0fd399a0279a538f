"""Make a Bundle of a trial: the fit, its imputation, a reference profile and probe rows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.cluster import one_library_thread
from churnops.data.dependence import linked_columns
from churnops.data.preprocess import Imputer, PreparedTable
from churnops.data.profile import fit_profile
from churnops.evaluation.threshold import chosen_threshold
from churnops.features.build import FeatureMatrix
from churnops.model.bundle import Bundle, Estimator
from churnops.model.bundle_audit import MAX_PROBES
from churnops.model.reference import SCORE
from churnops.schema import Columns, Schema
from churnops.settings import Direction, Family, Settings
from churnops.training.candidates import CANDIDATES
from churnops.training.encode import FeatureKind
from churnops.training.export import export
from churnops.training.recipe import Rows, fit_family, kinds_of
from churnops.training.search import Fold, Trial, Weighting

REFERENCE_POINTS = 10_000  # limit of a column's points: distances are exact to 0.0001, and a bundle stays small
REPORTED = ("log_loss", "roc_auc", "average_precision", "accuracy", "f1", "brier")


@dataclass(frozen=True)
class ReferenceRows:
    """Rows of a reference profile, and their scores.

    Attributes
    ----------
    rows
        Mask of the table's rows, shape (n,).
    unseen
        Scores by fits that were not trained on the row, shape (n,); NaN if there is none yet. A reference row with NaN
        must be outside the rows of the next fit, which then scores it.
    searched
        Scores that choose the threshold, shape (n,), NaN for other rows; None: those of the reference rows.
    """

    rows: NDArray[np.bool_]
    unseen: NDArray[np.float64]
    searched: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class BundleMaker:
    """Maker of Bundles: fits models with given hyperparameters to rows of a table."""

    prepared: PreparedTable
    build: FeatureMatrix
    settings: Settings

    @property
    def general(self) -> bool:
        """Whether the recipe for any table is used."""
        return self.settings.training.recipe == "general"

    @property
    def monotone(self) -> dict[str, Direction]:
        """Directions of the settings, by the name of a selected feature."""
        return {name: way for name, way in self.settings.training.monotone.items() if name in self.build.selected}

    @property
    def kinds(self) -> tuple[FeatureKind, ...]:
        """Kind of each selected feature."""
        return kinds_of(self.build, self.monotone)

    def refit(self, family: Family, trial: Trial, evaluated: Bundle, reference: ReferenceRows) -> Bundle:
        """Fit the winner, which was evaluated as another Bundle, again on all rows."""
        everyone = np.ones(self.prepared.outcome.shape, dtype=np.bool_)
        refit = self.make(family, trial, everyone, None, reference)
        fits = {"evaluated": evaluated.lineage["fit"], "deployed": refit.lineage["fit"]}
        return replace(refit, lineage={**refit.lineage, "fits": fits})

    def make(
        self,
        family: Family,
        trial: Trial,
        rows: NDArray[np.bool_],
        weight: NDArray[np.float64] | None,
        reference: ReferenceRows,
    ) -> Bundle:
        """Fit one trial's hyperparameters on the chosen rows, and add a reference profile and probe rows."""
        schema, prepared = self.settings.table, self.prepared
        columns = {column.name: prepared.columns[column.name] for column in schema.model_inputs}
        if not rows.all():  # a copy of all rows would take as much memory as the table
            columns = {name: values[rows] for name, values in columns.items()}
        present = [column.name for column in schema.inputs if column.name in prepared.columns]
        imputer = Imputer.fit(columns, schema.model_inputs)
        estimator = self._estimator(family, trial, self._matrix(imputer, columns), rows, weight)
        scores, gaps = reference.unseen.copy(), reference.rows & np.isnan(reference.unseen)
        assert not (gaps & rows).any(), "the next fit would score a reference row that it is trained on"
        if gaps.any():
            scores[gaps] = estimator.probability(self._matrix(imputer, prepared.rows(gaps)))
        watched = {name: prepared.columns[name][reference.rows] for name in present}
        watched |= {
            schema.target.name: prepared.outcome[reference.rows].astype(np.float64),
            SCORE: scores[reference.rows],
        }
        candidates, choosing = scores, reference.rows
        if reference.searched is not None:
            candidates, choosing = reference.searched, ~np.isnan(reference.searched)
        bundle = Bundle(
            schema=schema,
            features=self.build.features,
            selected=self.build.selected,
            imputer=imputer,
            algorithm=family,
            estimator=estimator,
            threshold=self.threshold(prepared.outcome[choosing], candidates[choosing]),
            reference=fit_profile(watched, REFERENCE_POINTS),
            probes=_probes(columns, imputer, schema),
            linked=linked_columns({name: prepared.columns[name][rows] for name in present}),
        )
        fit = self._fit(rows, weight) | {"content_sha256": bundle.content_sha256}
        return bundle.with_metadata(
            metrics={"cross_validation": {metric: trial.mean(metric) for metric in REPORTED}},
            lineage={"data_sha256": prepared.sha256, "hyperparameters": trial.params, "fit": fit}
            | ({"monotone": self.monotone} if self.monotone else {}),
        )

    def scores(
        self,
        family: Family,
        trial: Trial,
        fitted: NDArray[Any],
        scored: NDArray[Any],
        weight: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """Fit one trial's hyperparameters on some rows, and return the scores of others; both are masks or indices."""
        known, others = (
            {name: values[rows] for name, values in self.prepared.columns.items()} for rows in (fitted, scored)
        )
        imputer = Imputer.fit(known, self.settings.table.model_inputs)
        estimator = self._estimator(family, trial, self._matrix(imputer, known), fitted, weight)
        return estimator.probability(self._matrix(imputer, others))

    def cross_fit(
        self, family: Family, trial: Trial, folds: Sequence[Fold], weighting: Weighting | None
    ) -> NDArray[np.float64]:
        """Return out-of-fold scores of the training rows, NaN for rows that no fold validates."""
        training = np.flatnonzero(self.prepared.training)
        scores = np.full(training.size, np.nan)
        for fitted, validated in folds:
            weight = weighting and weighting(fitted)
            scores[validated] = self.scores(family, trial, training[fitted], training[validated], weight)
        return scores

    def _matrix(self, imputer: Imputer, columns: Columns) -> NDArray[np.float64]:
        return self.build(imputer(columns), columns if self.general else None)

    def _estimator(
        self,
        family: Family,
        trial: Trial,
        matrix: NDArray[np.float64],
        rows: NDArray[Any],
        weight: NDArray[np.float64] | None,
    ) -> Estimator:
        seed, outcome = self.settings.random_state, self.prepared.outcome[rows]
        with one_library_thread():
            if not self.general:
                return export(CANDIDATES[family].fit(trial.params, matrix, outcome, seed, weight))
            customers = None if self.prepared.customers is None else self.prepared.customers[rows]
            return fit_family(family, trial.params, Rows(matrix, outcome, weight, customers), self.kinds, seed)

    def threshold(self, outcome: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
        """Return the threshold of the settings, or the best one for scores of rows that their fits did not see."""
        return chosen_threshold(outcome, scores, self.settings.evaluation)

    def _fit(self, rows: NDArray[np.bool_], weight: NDArray[np.float64] | None) -> dict[str, Any]:
        """Return the numbers of a fit's rows and of those who churned, without rows of weight 0."""
        counted = rows.copy()
        if weight is not None:
            counted[rows] = weight > 0
        return {"rows": int(counted.sum()), "churned": int(self.prepared.outcome[counted].sum())}


def _probes(columns: Columns, imputer: Imputer, schema: Schema) -> dict[str, NDArray[np.float64]]:
    """Return rows for the Bundle's check; personal columns have the constant for missing values in every row."""
    probes = spread(columns, MAX_PROBES)
    for name in schema.personal & probes.keys():
        whole = schema.by_name[name].kind == "integer"  # a median may be halfway between two integers
        probes[name][:] = np.floor(imputer.constants[name]) if whole else imputer.constants[name]
    return probes


def spread(columns: Columns, limit: int) -> dict[str, NDArray[np.float64]]:
    """Return at most `limit` rows, spread evenly over the table, which is sorted by content."""
    rows = len(next(iter(columns.values())))
    chosen = np.linspace(0, rows - 1, min(limit, rows)).astype(np.intp)
    return {name: values[chosen] for name, values in columns.items()}
