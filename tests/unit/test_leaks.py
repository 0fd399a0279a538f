"""A column that is the outcome in another form is named; an honest strong column is not."""

import html
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from churnops.data.preprocess import PreparedTable
from churnops.data.skipped import Skipped
from churnops.evaluation.held_out import CARD, evaluate_models
from churnops.evaluation.leaks import PERFECT, SUSPECTED, leak_warning, suspected_columns
from churnops.schema import Column
from churnops.settings import Settings
from churnops.training.select import SelectedFeatures
from churnops.training.train import TrainedModels

Values = NDArray[np.float64]
NUMBER = Column(name="extra", kind="number", nullable=True)
CHOICE = Column(name="extra", kind="category", nullable=True, choices=tuple(map(str, range(5000))))


@pytest.mark.parametrize(
    ("column", "make", "leaks"),
    [
        (NUMBER, lambda churned, random: churned + random.normal(0, 0.05, churned.size), True),
        (NUMBER, lambda churned, random: -1e300 * churned, True),
        (NUMBER, lambda churned, random: np.where(churned == 1, np.nan, random.normal(size=churned.size)), True),
        (NUMBER, lambda churned, random: churned + random.normal(0, 0.6, churned.size), False),
        (NUMBER, lambda churned, random: np.full(churned.size, np.nan), False),
        (NUMBER, lambda churned, random: np.where(churned == 1, 1.0, random.choice([0.0, 2.0], churned.size)), True),
        (NUMBER, lambda churned, random: np.arange(churned.size) * 1.0, False),
        (CHOICE, lambda churned, random: churned * 3 + random.integers(0, 3, churned.size), True),
        (CHOICE, lambda churned, random: np.where(churned == 1, np.nan, random.integers(0, 3, churned.size)), True),
        (CHOICE, lambda churned, random: np.arange(churned.size) * 1.0, False),
        (CHOICE, lambda churned, random: random.integers(0, 3, churned.size) * 1.0, False),
    ],
)
def test_a_column_made_from_the_outcome_is_named(
    prepared: PreparedTable, column: Column, make: Callable[[Values, np.random.Generator], Values], leaks: bool
):
    extra = make(prepared.outcome.astype(np.float64), np.random.default_rng(0)).astype(np.float64)
    table = replace(prepared, columns={**prepared.columns, "extra": extra})
    assert [suspect.name for suspect in suspected_columns(table, [column]) if suspect.leaks] == ["extra"] * leaks


def test_a_strong_column_is_suspected_with_its_evidence(prepared: PreparedTable):
    extra = prepared.outcome + np.random.default_rng(0).normal(0, 0.35, prepared.outcome.size)
    [suspect] = suspected_columns(replace(prepared, columns={"extra": extra}), [NUMBER])
    assert not suspect.leaks
    assert SUSPECTED <= suspect.roc_auc < PERFECT
    assert f"'extra' alone predicts the outcome with a ROC-AUC of {suspect.roc_auc:.4f}" in leak_warning(
        [suspect], 0.97
    )


def test_features_that_use_a_column_go_with_it(features: SelectedFeatures):
    build = features.build
    reduced = build.without({"total_day_minutes"})
    assert reduced is not None
    gone = set(build.selected) - set(reduced.selected)
    assert {"total_day_minutes", "total_charge", "bill_without_voice_mail"} <= gone  # the last uses the second
    assert not {"international_plan", "total_eve_minutes"} & gone
    assert build.without({column.name for column in build.inputs}) is None


def test_no_column_of_an_honest_table_is_named(prepared: PreparedTable, settings: Settings):
    assert suspected_columns(prepared, settings.table.model_inputs) == []
    assert leak_warning([], 0.9989) == ""
    assert leak_warning([], 0.9991).startswith("ROC-AUC 0.9991 is too good")


def test_the_evaluation_page_names_the_column(prepared: PreparedTable, trained: TrainedModels, settings: Settings):
    leaking = dict(prepared.columns) | {"total_day_minutes": prepared.outcome * 100.0}
    model = trained.models["decision_tree"].bundle
    refit = trained.refit.with_metadata(metrics={}, lineage={})
    for columns, warned in ((prepared.columns, False), (leaking, True)):
        table = replace(prepared, columns=columns)
        bundles = {"decision_tree": model}
        evaluated = evaluate_models(bundles, "decision_tree", refit, table, settings, skipped=Skipped(), left_out={})
        assert ("'total_day_minutes' alone separates" in evaluated.leak_warning) is warned
        for page in ("evaluation.html", CARD):
            assert ("'total_day_minutes' alone" in html.unescape(str(evaluated.artifacts[page]))) is warned
