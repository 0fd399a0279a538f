"""Models of known quality: fitted on one part of the customers, measured on the whole other part."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.product import Customers, Project
from benchmarks.public import PublicProject
from benchmarks.simulated import TABLES, simulated_settings
from churnops.data.preprocess import Imputer, PreparedTable
from churnops.evaluation.metrics import HIGHER_IS_BETTER, point_metrics
from churnops.settings import Settings
from churnops.training.candidates import CANDIDATES
from churnops.training.encode import FeatureKind
from churnops.training.export import export
from churnops.training.recipe import BOOSTED, FAMILIES, Rows, fit_family, kinds_of
from churnops.training.select import select_features

TREES = 150  # of boosted trees of the general recipe, whose number the product finds by early stopping
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
        self._general = settings.training.recipe == "general"
        self._kinds: tuple[FeatureKind, ...] = ()
        self._generator = generator
        self.outcome = self._outcome[self._unseen]

    @classmethod
    def of(cls, table: str, training: int, population: int, generator: np.random.Generator) -> "Halves":
        """Split a table: the telecom customers, new customers of a simulated table, or some of a public one."""
        if table in TABLES:
            customers = TABLES[table].draw(training + population, generator)
            return cls(customers, simulated_settings(), training, generator)
        if table != "telecom":
            public = PublicProject.of(table)
            some = generator.choice(public.everyone.outcome.size, training + population, replace=False)
            return cls(public.everyone.rows(some), public.settings, training, generator)
        project = Project.default()
        return cls(project.everyone, project.settings, training, generator)

    def matrix(self, *excluded: str) -> Floats:
        """Return the features of all customers, selected by the product's step on the training part.

        The recipe of the settings decides whether missing values stay. In the general one, excluded features become 0.
        """
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
        if self._general:
            build = select_features(prepared, self._settings.table, self._settings.features, one_hot=False).build
            matrix = build(imputer(self._columns), self._columns)
            matrix[:, [build.selected.index(name) for name in excluded]] = 0.0
            self._kinds = kinds_of(build, self._settings.training.monotone)
            return matrix
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
        if self._general:
            trees = {"n_estimators": TREES, "searched_rows": rows} if family in BOOSTED else {}
            params = {**FAMILIES[family].default, **trees}
            fit = fit_family(family, params, Rows(matrix[chosen], outcome), self._kinds, int(generator.integers(2**31)))
            return fit.probability(matrix[self._unseen])
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
