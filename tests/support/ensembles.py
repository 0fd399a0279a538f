"""Random tree ensembles, and rows for them."""

import numpy as np

from churnops.model import TreeEnsemble
from churnops.model.tree_arrays import LEAF


def random_ensemble(rng: np.random.Generator, trees: int, features: int, depth: int) -> TreeEnsemble:
    """Trees of any shape: a feature may repeat on a path, a tree may be a leaf, covers need not add up exactly."""
    nodes: list[list[float]] = []  # feature, threshold, left, right, missing left, value, cover

    def grow(level: int, cover: float) -> int:
        place = len(nodes)
        if level == depth or rng.random() < 0.2:
            nodes.append([LEAF, 0.0, LEAF, LEAF, 0.0, rng.normal(), cover])
            return place
        nodes.append([rng.integers(features), rng.integers(-2, 3) / 2.0, 0, 0, rng.random() < 0.5, 0.0, cover])
        share = rng.uniform(0.01, 0.99)
        nodes[place][2] = grow(level + 1, cover * share)
        nodes[place][3] = grow(level + 1, cover * (1.0 - share) * rng.uniform(0.999, 1.0))
        return place

    roots = [grow(0, float(rng.integers(1, 5000))) for _ in range(trees)]
    columns = np.array(nodes, dtype=np.float64).T
    names = ("feature", "threshold", "left", "right", "missing_left", "value", "cover")
    arrays = {name: columns[i].astype(TreeEnsemble.arrays[name]) for i, name in enumerate(names)}
    arrays["roots"] = np.array(roots)
    return TreeEnsemble.from_arrays(arrays, {"base": float(rng.normal()), "link": "logistic"}, features)


def random_rows(rng: np.random.Generator, rows: int, features: int) -> np.ndarray:
    matrix = rng.integers(-4, 5, size=(rows, features)) / 4.0
    matrix[rng.random(matrix.shape) < 0.15] = np.nan
    return matrix
