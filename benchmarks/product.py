"""The product's steps without tracking, in the order of `churnops.pipelines.run_all`."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import ROOT
from churnops.data.merge import merge
from churnops.data.preprocess import PreparedTable, preprocess
from churnops.data.read import encode, outcomes
from churnops.data.validate import ValidatedData, validate_data
from churnops.schema import Columns
from churnops.settings import Settings, load_settings
from churnops.training.select import SelectedFeatures, select_features
from churnops.training.train import TrainedModels, train_models


@dataclass(frozen=True)
class Customers:
    """Encoded columns and outcomes (True: churned) of customers, and the SHA-256 of their table."""

    columns: Columns
    outcome: NDArray[np.bool_]
    sha256: str

    def rows(self, chosen: NDArray[np.intp]) -> "Customers":
        """Return the chosen customers."""
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return Customers(columns, self.outcome[chosen], self.sha256)


@dataclass(frozen=True)
class Project:
    """Steps 1 and 2 on the tables of the settings."""

    settings: Settings

    @classmethod
    def default(cls) -> "Project":
        """Return the repository's project, without `CHURNOPS_*` variables."""
        return cls(load_settings(ROOT / "config.yaml", environment={}))

    @cached_property
    def _validated(self) -> ValidatedData:
        settings = self.settings
        raw, production = ([settings.path(p) for p in paths] for paths in (settings.data.raw, settings.data.production))
        return validate_data(raw, production, settings.table, minimum_class=settings.training.folds * 2)

    @cached_property
    def raw(self) -> Customers:
        """The merged training table."""
        return self._customers("raw")

    @cached_property
    def production(self) -> Customers:
        """Later customers than those of training."""
        return self._customers("production")

    @cached_property
    def everyone(self) -> Customers:
        """Both tables, the training table first."""
        raw, later = self.raw, self.production
        columns = {name: np.concatenate([values, later.columns[name]]) for name, values in raw.columns.items()}
        return Customers(columns, np.concatenate([raw.outcome, later.outcome]), "0" * 64)

    def _customers(self, part: str) -> Customers:
        schema = self.settings.table
        merged = merge(getattr(self._validated, part), schema)
        return Customers(encode(merged.table, schema), outcomes(merged.table, schema) == 1.0, merged.sha256)


def prepare(customers: Customers, settings: Settings) -> tuple[PreparedTable, SelectedFeatures]:
    """Run steps 3 and 4."""
    prepared = preprocess(
        customers.columns,
        customers.outcome,
        settings.table.model_inputs,
        sha256=customers.sha256,
        held_out=settings.evaluation.holdout_fraction,
        seed=settings.random_state,
    )
    one_hot = settings.training.recipe == "report"
    return prepared, select_features(prepared, settings.table, settings.features, one_hot=one_hot)


def train(customers: Customers, settings: Settings) -> TrainedModels:
    """Run steps 3 to 5: hold out, select, search every family, choose by cross-validation, refit on all rows."""
    return train_models(*prepare(customers, settings), settings)
