"""Exact SHAP values of tree ensembles, path-dependent: each feature's share of one customer's score.

A leaf is reached where every feature j on its path meets its merged condition. With o_j = 1 where it does, else 0, and
r_j the share of training rows that did (product of child cover / node cover over the nodes that ask j), the Shapley
value that a leaf of value v gives to feature i is (Lundberg et al. 2020, "From local explanations to global
understanding with explainable AI for trees"; the Shapley weights written as a Beta integral)::

    v (o_i - r_i) ∫₀¹ ∏_{j≠i} (t o_j + (1 - t) r_j) dt

The integrand is a polynomial in t, so Gauss-Legendre quadrature is exact. Two ways to add the leaves up:

- *Tables.* Only which conditions hold depends on the customer. For a small subtree, every pattern of its nodes'
  decisions and of the conditions above it is worked out once (Yang 2021, "Fast TreeSHAP", tabulates single leaves); a
  customer costs one table row per subtree.
- *Walk*, where tables would be too large: products over the path are passed down and sums over leaves up, at every
  quadrature point (Yu et al. 2022, "Linear TreeSHAP", does so with polynomials).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from churnops.model.compiled import compiled
from churnops.model.explain_tables import fill_tables, find_subtrees, look_up

if TYPE_CHECKING:
    from churnops.model.bundle import Prediction
    from churnops.model.trees import TreeEnsemble

TABLE_BYTES = 16 * 2**20
SUBTREE_BYTES = [2**power for power in range(16, 9, -1)]  # the largest that keeps all tables within TABLE_BYTES is used
WALKED_ROWS = 8  # together, so that their arithmetic is vectorised

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Explanation:
    """A prediction and what each feature contributes to it.

    Attributes
    ----------
    prediction
        The same as `Bundle.predict` gives.
    base_value
        What the model gives on average over its training rows, on `Bundle.explanation_scale`.
    contributions : float64, shape (n, k)
        One per feature of `Bundle.selected`; `base_value` and a row's sum are its score on that scale.
    """

    prediction: "Prediction"
    base_value: float
    contributions: Floats

    def top(self, names: Sequence[str], count: int = 6) -> tuple[NDArray[np.int64], Floats]:
        """Return the positions and values of the largest contributions, both of shape (n, min(count, k)).

        They are in descending order of the absolute value; equal ones in ascending order of the feature's name.

        >>> explanation = Explanation(None, 0.1, np.array([[0.2, -0.3, 0.0, -0.2]]))
        >>> explanation.top(["minutes", "plan", "calls", "charge"], count=3)
        (array([[1, 3, 0]]), array([[-0.3, -0.2,  0.2]]))
        """
        positions: NDArray[np.int64] = _top(self.contributions, _by_name(tuple(names)), count)
        return positions, np.take_along_axis(self.contributions, positions, axis=1)


@lru_cache(maxsize=32)
def _by_name(names: tuple[str, ...]) -> NDArray[np.int64]:
    return np.array(sorted(range(len(names)), key=names.__getitem__), dtype=np.int64)


@compiled("int64[:, ::1](float64[:, ::1], int64[::1], int64)")
def _top(contributions: Floats, by_name: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    count = max(0, min(count, by_name.size))
    positions = np.empty((contributions.shape[0], count), np.int64)
    for row in range(contributions.shape[0]):
        filled = 0
        for feature in by_name:
            size = abs(contributions[row, feature])
            place = filled
            while place > 0 and abs(contributions[row, positions[row, place - 1]]) < size:
                place -= 1
            filled = min(filled + 1, count)
            for later in range(filled - 1, place, -1):
                positions[row, later] = positions[row, later - 1]
            if place < count:
                positions[row, place] = feature
    return positions


class TreeExplainer:
    """What the explanations of one ensemble need, worked out once; nodes are renumbered depth first."""

    def __init__(self, trees: "TreeEnsemble") -> None:
        order, links, shares = _paths(trees.roots, trees.feature, trees.left, trees.right, trees.cover)
        with np.errstate(over="ignore", invalid="ignore"):  # as for a score, the caller checks
            self.base_value = float(trees.base + (trees.value[order] * shares[1]).sum())
        self._roots = np.append(trees.roots, order.size)
        self._feature, self._threshold = trees.feature[order], trees.threshold[order]
        self._missing_left, self._value = trees.missing_left[order], trees.value[order]
        self._links, self._merged = links, shares[0].copy()
        points, weights = np.polynomial.legendre.leggauss(max(1, int(links[2].max() + 1) // 2))
        self._points, self._weights = (points + 1.0) / 2.0, weights / 2.0

    @cached_property
    def _tables(self) -> tuple[NDArray[np.int64], Floats, NDArray[np.int32], NDArray[np.int32]] | None:
        """Subtrees with their tables, or None where they would be too large."""
        for size in SUBTREE_BYTES:
            subtrees = find_subtrees(self._links, self._feature, size // 8)
            if subtrees.size == 0:
                break
            if (subtrees[:, 2] << subtrees[:, 1]).sum() * 8 <= TABLE_BYTES:
                made = fill_tables(
                    subtrees, self._links, self._merged, self._feature, self._value, self._points, self._weights
                )
                return subtrees, *made
        return None

    def contributions(self, matrix: NDArray[np.float32]) -> Floats:
        """Return one contribution per row and feature, shape (n, k), for features as `TreeEnsemble` rounds them."""
        result = np.zeros(matrix.shape)
        decide = (matrix, self._roots, self._feature, self._threshold, self._missing_left)
        if self._tables is None:
            _walk(*decide, self._links, self._merged, self._value, self._points, self._weights, result)
        else:
            look_up(*decide, *self._tables, result)
        return result


@compiled(
    "Tuple((int64[::1], int32[:, ::1], float64[:, ::1]))(int64[::1], int32[::1], int32[::1], int32[::1], float64[::1])"
)
def _paths(
    roots: NDArray[np.int64], feature: NDArray[np.int32], left: NDArray[np.int32], right: NDArray[np.int32],
    cover: Floats,
) -> tuple[NDArray[np.int64], NDArray[np.int32], Floats]:  # fmt: skip
    """Renumber nodes depth first, so that a subtree is a range and a left child follows its parent; follow all paths.

    Returns the old numbers; per node its parent, the nearest node above whose parent asks the same feature as its own
    parent (or -1), the distinct features asked on its path, the inner nodes in its subtree, all nodes in it, and its
    depth; and per node the share of rows that meet the merged condition on its parent's feature, and of those that
    reach it.
    """
    nodes = feature.size
    order, links, shares = np.empty(nodes, np.int64), np.empty((6, nodes), np.int32), np.ones((2, nodes))
    parent, above, distinct, inner, size, depth = links[0], links[1], links[2], links[3], links[4], links[5]
    merged, reach = shares[0], shares[1]
    stack = np.empty((nodes + 1, 2), np.int64)
    node = 0
    for root in roots:
        stack[0, 0], stack[0, 1], waiting = root, -1, 1
        while waiting > 0:
            waiting -= 1
            old, up = stack[waiting, 0], stack[waiting, 1]
            order[node], parent[node], above[node] = old, up, -1
            distinct[node] = depth[node] = 0
            inner[node], size[node] = feature[old] >= 0, 1
            if up >= 0:
                asked = feature[order[up]]
                earlier = np.int64(up)
                while parent[earlier] >= 0 and feature[order[parent[earlier]]] != asked:
                    earlier = np.int64(parent[earlier])
                if parent[earlier] >= 0:
                    above[node] = earlier
                ratio = cover[old] / cover[order[up]]
                merged[node] = ratio * (merged[above[node]] if above[node] >= 0 else 1.0)
                reach[node] = ratio * reach[up]
                distinct[node], depth[node] = distinct[up] + (above[node] < 0), depth[up] + 1
            if feature[old] >= 0:
                stack[waiting, 0], stack[waiting, 1] = right[old], node
                stack[waiting + 1, 0], stack[waiting + 1, 1] = left[old], node
                waiting += 2
            node += 1
    for node in range(nodes - 1, -1, -1):
        if parent[node] >= 0:
            inner[parent[node]] += inner[node]
            size[parent[node]] += size[node]
    return order, links, shares


@compiled(
    "void(float32[:, ::1], int64[::1], int32[::1], float32[::1], boolean[::1], int32[:, ::1], float64[::1], "
    "float64[::1], float64[::1], float64[::1], float64[:, ::1])"
)
def _walk(
    matrix: NDArray[np.float32], roots: NDArray[np.int64], feature: NDArray[np.int32], threshold: NDArray[np.float32],
    missing_left: NDArray[np.bool_], links: NDArray[np.int32], merged: Floats, value: Floats, points: Floats,
    weights: Floats, result: Floats,
) -> None:  # fmt: skip
    """Walk each tree depth first with a few rows: products of the path on the way down, sums of leaves back up."""
    parent, above, depth = links[0], links[1], links[5]
    levels, block = depth.max() + 1, min(WALKED_ROWS, matrix.shape[0])
    lanes = points.size * block  # a lane is a quadrature point of a row
    holds, inverse = np.ones((levels, lanes)), np.ones((levels, lanes))
    share, product, total = np.zeros((levels, lanes)), np.ones((levels, lanes)), np.zeros((levels, lanes))
    near, far, given = np.repeat(points, block), np.repeat(1.0 - points, block), np.empty(lanes)
    product[0] = np.repeat(weights, block)
    path = np.empty(levels, np.int64)
    for start in range(0, matrix.shape[0], block):
        rows = min(block, matrix.shape[0] - start)
        for tree in range(roots.size - 1):
            root, end = roots[tree], roots[tree + 1]
            level = 0
            for node in range(root + 1, end + 1):
                next_level = depth[node] if node < end else 1
                while level >= next_level:  # leave the edge to path[level] upwards: everything below it is in `total`
                    left = path[level]
                    earlier = depth[above[left]] if above[left] >= 0 else 0
                    for lane in range(lanes):
                        given[lane] = (share[level, lane] - share[earlier, lane]) * total[level, lane]
                        total[level - 1, lane] += total[level, lane]
                    for point in range(points.size):
                        for row in range(rows):
                            result[start + row, feature[parent[left]]] += given[point * block + row]
                    level -= 1
                if node == end:
                    break
                up, level = parent[node], next_level
                earlier = depth[above[node]] if above[node] >= 0 else 0
                for row in range(rows):
                    x = matrix[start + row, feature[up]]
                    goes_left = missing_left[up] if np.isnan(x) else x < threshold[up]
                    hold = holds[earlier, row] if goes_left == (node == up + 1) else 0.0
                    for point in range(points.size):
                        holds[level, point * block + row] = hold
                ratio, leaf_value = merged[node], value[node]
                for lane in range(lanes):
                    factor = near[lane] * holds[level, lane] + far[lane] * ratio
                    inverse[level, lane] = 1.0 / factor
                    share[level, lane] = (holds[level, lane] - ratio) * inverse[level, lane]
                    product[level, lane] = product[level - 1, lane] * factor * inverse[earlier, lane]
                    total[level, lane] = product[level, lane] * leaf_value
                path[level] = node
