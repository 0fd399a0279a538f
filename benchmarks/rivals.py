"""Models of known quality: fitted on one half of the customers, measured on the whole other half."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.product import Project
from churnops.data.preprocess import Imputer, PreparedTable
from churnops.evaluation.metrics import HIGHER_IS_BETTER, point_metrics
from churnops.training.candidates import CANDIDATES
from churnops.training.export import export
from churnops.training.select import select_features

TRAINING_ROWS = 2500
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Halves:
    """One split: models are fitted on one half of the customers and score the other half."""

    def __init__(self, project: Project, generator: np.random.Generator) -> None:
        raw, later = project.raw, project.production
        self._columns = {name: np.concatenate([raw.columns[name], later.columns[name]]) for name in raw.columns}
        self._outcome = np.concatenate([raw.outcome, later.outcome])
        order = generator.permutation(self._outcome.size)
        self._training = order[:TRAINING_ROWS]
        self._unseen = order[TRAINING_ROWS:]
        self._settings = project.settings
        self._generator = generator
        self.outcome = self._outcome[self._unseen]

    def matrix(self, *excluded: str) -> Floats:
        """Return the features of all customers, selected by the product's step on the training half."""
        held_out = np.ones(self._outcome.size, dtype=np.bool_)
        held_out[self._training] = False
        known = {name: values[~held_out] for name, values in self._columns.items()}
        imputer = Imputer.fit(known, self._settings.table.model_inputs)
        prepared = PreparedTable(
            columns=self._columns, outcome=self._outcome, held_out=held_out, imputer=imputer, sha256=""
        )
        settings = self._settings.features.model_copy(update={"exclude": excluded})
        return select_features(prepared, self._settings.table, settings).build(imputer(self._columns))

    def scores(self, family: str, matrix: Floats, *, rows: int = TRAINING_ROWS, stale: float = 0.0) -> Floats:
        """Fit a family at its default to a bootstrap sample of `rows` and return the other half's probabilities.

        The outcomes of a share `stale` are permuted among themselves.
        """
        generator, candidate = self._generator, CANDIDATES[family]
        chosen = generator.choice(self._training, rows)
        outcome = self._outcome[chosen]
        moved = generator.choice(rows, round(stale * rows), replace=False)
        outcome[moved] = outcome[generator.permutation(moved)]
        fitted = candidate.fit(candidate.default, matrix[chosen], outcome, int(generator.integers(2**31)))
        return export(fitted).probability(matrix[self._unseen])


def quality(outcome: Bools, scores: Floats, metric: str) -> float:
    """Return a metric, higher for better."""
    return point_metrics(outcome, scores)[metric] * (1.0 if HIGHER_IS_BETTER[metric] else -1.0)


def mixed(
    outcome: Bools, rival: Floats, good: Floats, weak: Floats, gain: float, metric: str = "roc_auc"
) -> Floats | None:
    """Mix `good` with so much of `weak` that `rival` is better by `gain`; return None if no mixture has this gain."""
    aim = quality(outcome, rival, metric) - gain

    def excess(share: float) -> float:
        return quality(outcome, (1 - share) * good + share * weak, metric) - aim

    low, high = 0.0, 1.0
    if excess(low) < 0 or excess(high) > 0:
        return None
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (1 - high) * good + high * weak if abs(excess(high)) < 1e-3 else None
