"""Scores of trees: many rows at once get the same bits as each row by itself."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from churnops.model.tree_scores import BLOCK, scores_by_node, scores_by_row
from tests.support.ensembles import random_ensemble, random_rows


@given(
    seed=st.integers(0, 2**32 - 1),
    trees=st.integers(1, 8),
    features=st.integers(1, 5),
    depth=st.integers(0, 8),
    rows=st.integers(0, 2 * BLOCK + 1),
)
def test_both_ways_give_the_same_bits(seed: int, trees: int, features: int, depth: int, rows: int):
    rng = np.random.default_rng(seed)
    ensemble = random_ensemble(rng, trees, features, depth)
    matrix = random_rows(rng, rows, features)
    matrix[rng.random(matrix.shape) < 0.05] = rng.choice([np.inf, -np.inf, 1e300, -0.0])
    arrays = ensemble.to_arrays()
    del arrays["cover"]
    both = [score(ensemble.rounded(matrix), **arrays, base=ensemble.base) for score in (scores_by_row, scores_by_node)]
    np.testing.assert_array_equal(*both)
    np.testing.assert_array_equal(ensemble.scores(matrix), both[0])
