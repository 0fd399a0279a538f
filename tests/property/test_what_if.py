"""What-if: the change that is found is enough, nothing nearer is, and nothing but the reference's values is tried."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import pytest

from churnops.decision.what_if import MAX_CHANGES, actionable, smallest_change
from churnops.model import Bundle
from churnops.schema import Schema
from churnops.training.train import train_models
from tests.support.mixed_table import SCHEMA, customers, prepare, settings

NAMES = ("age", "spend", "plan", "online")


@lru_cache
def model(family: str) -> Bundle:
    chosen = settings(families=[family], folds=2)
    prepared, features = prepare(*customers(600), chosen)
    return train_models(prepared, features, chosen).models[family].bundle


def rows_of(count: int, seed: int) -> list[dict[str, float]]:
    columns, _ = customers(count, seed=seed)
    return [{name: float(values[row]) for name, values in columns.items()} for row in range(count)]


def score(bundle: Bundle, customer: dict[str, float]) -> float:
    return float(bundle.predict({name: np.array([value]) for name, value in customer.items()}).probability[0])


def rank(bundle: Bundle, name: str, value: float) -> float:
    """Return the share of the reference below a value, and half of the share at it, from the definition."""
    profile = bundle.reference[name]
    own = profile.at_points
    return float((own[profile.points < value].sum() + own[profile.points == value].sum() / 2) / profile.rows)


def distance(bundle: Bundle, name: str, before: float, after: float) -> float:
    if bundle.schema.by_name[name].choices:
        return 0.5 * (before != after)
    return abs(rank(bundle, name, before) - rank(bundle, name, after))


def nearest(bundle: Bundle, customer: dict[str, float], names: Sequence[str], threshold: float) -> float:
    """Return the distance of the nearest single change that is enough, by trying every observed value."""
    tried = [np.inf]
    for name in names:
        values = bundle.reference[name].points
        columns = {other: np.full(values.size, value) for other, value in customer.items()} | {name: values}
        if not np.isnan(customer[name]):
            enough = values[bundle.predict(columns).probability < threshold]
            tried += [distance(bundle, name, customer[name], float(value)) for value in enough]
    return min(tried)


@pytest.mark.parametrize("family", ["logistic_regression", "decision_tree"])
def test_the_change_is_enough_and_no_single_one_is_nearer(family: str):
    bundle = model(family)
    for customer in rows_of(40, 100):
        before = score(bundle, customer)
        threshold = before * 0.8
        result = smallest_change(bundle, customer, NAMES[1:], threshold)
        single = nearest(bundle, customer, NAMES[1:], threshold)
        changed = {change.name: change.after for change in result.changes}
        assert score(bundle, {**customer, **changed}) == result.probability
        assert result.below == (result.probability < threshold)
        for change in result.changes:
            assert change.before == customer[change.name] != change.after
            assert change.distance == pytest.approx(distance(bundle, change.name, change.before, change.after))
        if np.isfinite(single):
            assert result.below
            assert len(result.changes) == 1
            assert result.changes[0].distance == pytest.approx(single)
        else:
            assert len(result.changes) != 1 or not result.below


def test_several_columns_change_only_if_none_alone_is_enough():
    bundle, several = model("decision_tree"), 0
    for customer in rows_of(40, 7):
        result = smallest_change(bundle, customer, NAMES, 0.12)
        if len(result.changes) > 1 and result.below:
            several += 1
            assert np.isinf(nearest(bundle, customer, NAMES, 0.12))
            assert len(result.changes) <= MAX_CHANGES
            for left in result.changes:  # each change is needed
                kept = {change.name: change.after for change in result.changes if change is not left}
                assert score(bundle, {**customer, **kept}) >= 0.12
    assert several


def test_below_already_no_column_and_no_way_down_are_told_apart():
    bundle, customer = model("logistic_regression"), rows_of(1, 3)[0]
    assert smallest_change(bundle, customer, NAMES, 1.0).below
    assert not smallest_change(bundle, customer, NAMES, 1.0).changes
    result = smallest_change(bundle, customer, (), 1e-9)
    assert (result.below, result.changes, result.probability) == (False, (), score(bundle, customer))
    result = smallest_change(bundle, customer, NAMES, 1e-9)
    assert not result.below
    assert result.probability <= score(bundle, customer)


def test_missing_values_stay_and_unknown_levels_are_not_proposed():
    bundle = model("logistic_regression")
    customer = {**rows_of(1, 3)[0], "age": np.nan, "plan": bundle.schema.by_name["plan"].other}
    for threshold in (0.05, 0.1, 0.2):
        changes = smallest_change(bundle, customer, NAMES, threshold).changes
        assert "age" not in {change.name for change in changes}
        assert all(change.after < 4 for change in changes if change.name == "plan")


def test_the_declaration_may_be_newer_than_the_model():
    marked = tuple(
        column.model_copy(update={"actionable": column.name in ("plan", "spend")}) for column in SCHEMA.columns
    )
    assert actionable(SCHEMA, Schema(columns=marked)) == ("spend", "plan")
    assert actionable(Schema(columns=marked), SCHEMA) == ()
