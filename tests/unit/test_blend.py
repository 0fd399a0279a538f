"""The blend: exact sums, saved as plain arrays, and refused if forged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from churnops.errors import BundleError
from churnops.model import Bundle
from churnops.model.blend import Blend, BlendPart
from churnops.model.bundle_folder import OLDEST_PROTOCOL
from churnops.settings import FAMILIES
from churnops.training.recipe import PARTS
from churnops.training.recipe_search import AVERAGED
from tests.support.bundles import forge, refuse
from tests.support.mixed_table import customers, trained

ALL = (*FAMILIES, "blend")


@pytest.fixture(params=ALL)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return trained()[1].models[request.param].bundle


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return trained()[1].models["blend"].bundle.save(tmp_path / "bundle")


def test_every_family_is_saved_and_loaded_unchanged(bundle: Bundle, tmp_path: Path):
    columns, _ = customers(300, seed=5)
    loaded = Bundle.load(bundle.save(tmp_path / "bundle"))
    assert loaded.predict(columns).probability.tobytes() == bundle.predict(columns).probability.tobytes()
    assert loaded.content_sha256 == bundle.content_sha256
    assert (
        loaded.save(tmp_path / "again").joinpath("bundle.json").read_bytes()
        == (tmp_path / "bundle/bundle.json").read_bytes()
    )


def test_reasons_name_features_and_add_up_to_the_score(bundle: Bundle):
    columns, _ = customers(300, seed=5)
    explanation = bundle.explain(columns)
    assert bundle.selected == ("age", "spend", "plan", "city", "online", "spend_by_age")
    assert explanation.contributions.shape == (300, 6)
    scores = explanation.base_value + explanation.contributions.sum(axis=1)
    if bundle.explanation_scale == "log-odds":
        scores = 1.0 / (1.0 + np.exp(-scores))
    np.testing.assert_allclose(scores, explanation.prediction.probability, rtol=0, atol=1e-12)


def test_a_customer_has_the_same_bits_alone_and_in_a_batch(bundle: Bundle):
    columns, _ = customers(200, seed=6)
    columns["city"][:3] = 300.0  # a level that training did not have
    whole = bundle.explain(columns)
    for row in range(0, 200, 7):
        one = bundle.answer({name: float(values[row]) for name, values in columns.items()}, 6)
        assert one.probability == whole.prediction.probability[row]
        by_size = whole.contributions[row][one.positions]
        assert by_size.tolist() == one.values


def test_a_forest_explains_probability_and_a_blend_log_odds():
    models = trained()[1].models
    assert {name: model.bundle.explanation_scale for name, model in models.items()} == {
        "logistic_regression": "log-odds",
        "decision_tree": "probability",
        "random_forest": "probability",
        "xgboost": "log-odds",
        "blend": "log-odds",
    }


def test_a_blend_is_the_weighted_sum_of_its_parts():
    blend = trained()[1].models["blend"].bundle.estimator
    assert isinstance(blend, Blend)
    assert 1 <= len(blend.parts) <= len(PARTS) - 1 + AVERAGED
    bundle = trained()[1].models["blend"].bundle
    columns, _ = customers(100, seed=8)
    matrix = bundle.feature_matrix(columns)
    parts = [part.weight * Blend((BlendPart(part.encoding, part.model),)).scores(matrix) for part in blend.parts]
    np.testing.assert_allclose(blend.scores(matrix), blend.intercept + sum(parts), rtol=0, atol=1e-12)


def test_a_bundle_is_written_in_the_oldest_form_that_can_hold_it(saved: Path, bundle: Bundle):
    assert '"protocol": 4' in (saved / "bundle.json").read_text()
    assert OLDEST_PROTOCOL == 3


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p.update(parts=[]), "1 to 8 parts"),
        (lambda p: p.update(parts=p["parts"] * 9), "1 to 8 parts"),
        (lambda p: p.update(more=1), "1 to 8 parts"),
        (lambda p: p["parts"][0].pop("weight"), "form, weight and parameters"),
        (lambda p: p["parts"][0].update(form="pickle"), "unknown form"),
        (lambda p: p["parts"][0].update(weight=-1.0), "weight is not positive"),
        (lambda p: p["parts"][0].update(weight=1), "weight is not positive"),
        (lambda p: p.update(intercept=None), "intercept is not finite"),
        (lambda p: p["parts"][-1].update(parameters={}), "base or link|coefficients"),
    ],
)
def test_forged_parameters_are_refused(saved: Path, change: Callable[[dict[str, Any]], None], reason: str):
    forge(saved, lambda document: change(document["estimator"]["parameters"]))
    refuse(saved, reason)


def test_a_probability_cannot_be_a_part_of_a_sum():
    forest = trained()[1].models["random_forest"].bundle.estimator
    assert isinstance(forest, Blend)
    twice = Blend((*forest.parts, *forest.parts))
    with pytest.raises(BundleError, match="can only stand alone"):
        Blend.from_arrays(twice.to_arrays(), twice.parameters(), 6)


@pytest.mark.parametrize("name", ["blend", "xgboost", "logistic_regression"])
def test_the_rates_of_levels_are_those_of_the_encoding(name: str):
    bundle = trained()[1].models[name].bundle
    rates = bundle.level_rates
    assert [*rates] == ["city"]
    assert ((rates["city"] >= 0) & (rates["city"] <= 1)).all()
    codes = np.array([0.0, 57.0, np.nan, 10_000.0])
    part = bundle.estimator.parts[-1]
    (column,) = np.flatnonzero(part.encoding.owner == bundle.selected.index("city"))
    matrix = np.zeros((4, len(bundle.selected)))
    matrix[:, bundle.selected.index("city")] = codes
    encoded = part.encoding(matrix)[:, column]
    expected = 1 / (1 + np.exp(-encoded)) if name == "logistic_regression" else encoded
    np.testing.assert_allclose(rates["city"][[0, 57, -2, -1]], expected, atol=1e-12)
