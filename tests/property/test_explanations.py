"""Explanations of any ensemble: exact by the definition of Shapley values, and complete."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import churnops.model.explain as explain
from churnops.model import TreeEnsemble
from churnops.model.tree_arrays import LEAF
from tests.support.ensembles import random_ensemble, random_rows


def expectation(trees: TreeEnsemble, row: np.ndarray, known: frozenset[int]) -> float:
    """The score of a row of which only some features are known: elsewhere it goes both ways, by cover."""

    def below(node: int) -> float:
        asked, children = trees.feature[node], (trees.left[node], trees.right[node])
        if asked == LEAF:
            return float(trees.value[node])
        if asked in known:
            x = row[asked]
            goes_left = trees.missing_left[node] if np.isnan(x) else x < trees.threshold[node]
            return below(children[0] if goes_left else children[1])
        return sum(trees.cover[child] / trees.cover[node] * below(child) for child in children)

    return trees.base + sum(below(root) for root in trees.roots)


def by_definition(trees: TreeEnsemble, row: np.ndarray) -> list[float]:
    """Shapley values, summed over all subsets."""
    features = range(row.size)
    values = []
    for feature in features:
        others = [other for other in features if other != feature]
        value = 0.0
        for size in range(row.size):
            weight = factorial(size) * factorial(row.size - size - 1) / factorial(row.size)
            for subset in combinations(others, size):
                known = frozenset(subset)
                value += weight * (expectation(trees, row, known | {feature}) - expectation(trees, row, known))
        values.append(value)
    return values


@pytest.mark.parametrize("walked", [False, True])
@given(
    seed=st.integers(0, 2**32 - 1),
    trees=st.integers(1, 8),
    features=st.integers(1, 12),
    depth=st.integers(0, 9),
    rows=st.integers(1, 20),
)
def test_contributions_add_up_to_the_score(seed: int, trees: int, features: int, depth: int, rows: int, walked: bool):
    rng = np.random.default_rng(seed)
    ensemble = random_ensemble(rng, trees, features, depth)
    matrix = random_rows(rng, rows, features)
    with pytest.MonkeyPatch.context() as patch:
        if walked:
            patch.setattr(explain, "TABLE_BYTES", -1)
        contributions = ensemble.contributions(matrix)
    assert (ensemble.explainer.tables is None) >= walked
    total = ensemble.base_value + contributions.sum(axis=1)
    score = [expectation(ensemble, row, frozenset(range(features))) for row in matrix]
    np.testing.assert_allclose(total, score, rtol=0, atol=1e-9)
    unused = np.setdiff1d(np.arange(features), ensemble.feature)
    assert not contributions[:, unused].any()


@pytest.mark.parametrize("walked", [False, True])
@given(seed=st.integers(0, 2**32 - 1), features=st.integers(1, 4), depth=st.integers(0, 5))
def test_contributions_are_shapley_values(seed: int, features: int, depth: int, walked: bool):
    rng = np.random.default_rng(seed)
    ensemble = random_ensemble(rng, 2, features, depth)
    row = random_rows(rng, 1, features)
    with pytest.MonkeyPatch.context() as patch:
        if walked:
            patch.setattr(explain, "TABLE_BYTES", -1)
        contributions = ensemble.contributions(row)
    np.testing.assert_allclose(contributions[0], by_definition(ensemble, row[0]), rtol=0, atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([2**10, 2**12, 2**16]))
def test_the_size_of_subtrees_changes_nothing(seed: int, size: int):
    rng = np.random.default_rng(seed)
    ensemble = random_ensemble(rng, 3, 5, 6)
    matrix = random_rows(rng, 30, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explain, "SUBTREE_BYTES", [size])
        contributions = ensemble.contributions(matrix)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explain, "TABLE_BYTES", -1)
        again = TreeEnsemble.from_arrays(ensemble.to_arrays(), ensemble.parameters(), 5)
        np.testing.assert_allclose(again.contributions(matrix), contributions, rtol=0, atol=1e-12)
