"""Models of known quality: fitted on one part of the customers, measured on the whole other part."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.product import Customers, Project
from benchmarks.simulated import TABLES, simulated_settings
from churnops.data.preprocess import Imputer, PreparedTable
from churnops.evaluation.metrics import HIGHER_IS_BETTER, point_metrics
from churnops.settings import Settings
from churnops.training.candidates import CANDIDATES
from churnops.training.export import export
from churnops.training.select import select_features

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Halves:
    """One split: models are fitted on one part of the customers and score the other part."""

    def __init__(self, customers: Customers, settings: Settings, training: int, generator: np.random.Generator) -> None:
        self._columns = customers.columns
        self._outcome = customers.outcome
        order = generator.permutation(self._outcome.size)
        self._training = order[:training]
        self._unseen = order[training:]
        self._settings = settings
        self._generator = generator
        self.outcome = self._outcome[self._unseen]

    @classmethod
    def of(cls, table: str, training: int, population: int, generator: np.random.Generator) -> "Halves":
        """Split a table: the telecom customers, or new customers of a simulated table."""
        if table in TABLES:
            customers = TABLES[table].draw(training + population, generator)
            return cls(customers, simulated_settings(), training, generator)
        project = Project.default()
        return cls(project.everyone, project.settings, training, generator)

    def matrix(self, *excluded: str) -> Floats:
        """Return the features of all customers, selected by the product's step on the training part."""
        training = np.zeros(self._outcome.size, dtype=np.bool_)
        training[self._training] = True
        known = {name: values[training] for name, values in self._columns.items()}
        imputer = Imputer.fit(known, self._settings.table.model_inputs)
        prepared = PreparedTable(
            columns=self._columns,
            outcome=self._outcome,
            held_out=~training,
            training=training,
            imputer=imputer,
            sha256="",
        )
        settings = self._settings.features.model_copy(update={"exclude": excluded})
        return select_features(prepared, self._settings.table, settings).build(imputer(self._columns))

    def scores(self, family: str, matrix: Floats, *, rows: int | None = None, stale: float = 0.0) -> Floats:
        """Fit a family at its default to a bootstrap sample and return the other part's probabilities.

        The sample has `rows` rows, by default as many as there are for training. The outcomes of a share `stale` are
        permuted among themselves.
        """
        generator, candidate = self._generator, CANDIDATES[family]
        rows = rows or self._training.size
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
