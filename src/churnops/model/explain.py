"""Exact SHAP values of tree ensembles, path-dependent: each feature's share of one customer's score.

A row reaches a leaf if every feature j on the leaf's path meets its merged condition (all conditions of the path on
that feature). Let o_j be 1 if j does, else 0, and r_j the share of training rows with o_j = 1 (product of child cover /
node cover over nodes that split on j). A leaf of value v adds this to the Shapley value of feature i (Lundberg et al.
2020, "From local explanations to global understanding with explainable AI for trees", with the Shapley weights as a
Beta integral)::

    v (o_i - r_i) ∫₀¹ ∏_{j≠i} (t o_j + (1 - t) r_j) dt

The integrand is a polynomial in t, so Gauss-Legendre quadrature is exact. Leaves are added up in one of two ways:

- *Tables.* A customer's values only decide which conditions hold. For a small subtree, the sums are computed once for
  every pattern of its nodes' decisions and of the conditions above it (Yang 2021, "Fast TreeSHAP", has tables of single
  leaves). A customer then costs one table row per subtree.
- *Walk*, if tables would be too large. At every quadrature point, products along the path go down the tree and sums
  over leaves go up (Yu et al. 2022, "Linear TreeSHAP", uses polynomials instead).
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.compiled import compiled
from churnops.model.explain_tables import fill_tables, find_subtrees, look_up
from churnops.model.tree_arrays import TreeArrays

TABLE_BYTES = 16 * 2**20
SUBTREE_BYTES = [2**power for power in range(16, 9, -1)]
"""Largest sizes of a table to try, in this order, until all tables fit into `TABLE_BYTES`."""
WALKED_ROWS = 16  # rows that walk a tree one after another, while its edges are in the cache

Floats = NDArray[np.float64]


class TreeExplainer:
    """Explanations of one ensemble. Its nodes (renumbered depth first) and its tables are prepared once."""

    def __init__(self, trees: TreeArrays) -> None:
        order, links, shares = _paths(trees.roots, trees.feature, trees.left, trees.right, trees.cover)
        with np.errstate(over="ignore", invalid="ignore"):  # the caller checks the sum
            self.base_value = float(trees.base + (trees.value[order] * shares[1]).sum())
        self._roots = np.append(trees.roots, order.size)
        self._feature = trees.feature[order]
        self._threshold = trees.threshold[order]
        self._missing_left = trees.missing_left[order]
        self._value = trees.value[order]
        self._links = links
        self._merged = shares[0].copy()
        points, weights = np.polynomial.legendre.leggauss(max(1, int(links[2].max() + 1) // 2))
        self._points = (points + 1.0) / 2.0
        self._weights = weights / 2.0

    @cached_property
    def tables(self) -> tuple[NDArray[Any], ...] | None:
        """Nodes and subtrees with their tables, as arguments of `look_up`; None if the tables would be too large."""
        for size in SUBTREE_BYTES:
            subtrees = find_subtrees(self._links, self._feature, size // 8)
            if subtrees.size == 0:
                break
            if (subtrees[:, 2] << subtrees[:, 1]).sum() * 8 <= TABLE_BYTES:
                made = fill_tables(
                    subtrees, self._links, self._merged, self._feature, self._value, self._points, self._weights
                )
                return self._roots, self._feature, self._threshold, self._missing_left, subtrees, *made
        return None

    def contributions(self, matrix: NDArray[np.float32]) -> Floats:
        """Compute the contributions, shape (n, k), for a feature matrix as `TreeEnsemble.rounded` returns it."""
        result = np.zeros(matrix.shape)
        if self.tables is not None:
            look_up(matrix, *self.tables, result)
            return result
        splits = (self._feature, self._threshold, self._missing_left)
        for roots, edges in self._walks or map(self._walked, range(self._roots.size - 1)):
            _walk(matrix, roots, *splits, self._links, self._value, edges, self._weights, result)
        return result

    @cached_property
    def _walks(self) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Roots and edges of all trees, for one walk over them; empty if the edges are too large to keep."""
        if self._merged.size * 6 * self._points.size * 8 > TABLE_BYTES:
            return []
        return [(self._roots, _edges(0, self._merged.size, self._links, self._merged, self._points))]

    def _walked(self, tree: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        roots = self._roots[tree : tree + 2]
        return roots, _edges(roots[0], roots[1], self._links, self._merged, self._points)


@compiled(
    "Tuple((int64[::1], int32[:, ::1], float64[:, ::1]))(int64[::1], int32[::1], int32[::1], int32[::1], float64[::1])"
)
def _paths(
    roots: NDArray[np.int64],
    feature: NDArray[np.int32],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    cover: Floats,
) -> tuple[NDArray[np.int64], NDArray[np.int32], Floats]:
    """Renumber nodes depth first, and describe each node's path from the root.

    In this order a subtree is a range of numbers, and a left child follows its parent.

    Returns
    -------
    order : array of shape (nodes,)
        Old number of each node.
    links : array of shape (6, nodes)
        For each node: its parent; the nearest ancestor whose parent splits on the same feature as the node's parent, or
        -1; the number of distinct features on its path; the numbers of inner nodes and of all nodes in its subtree; its
        depth.
    shares : array of shape (2, nodes)
        For each node: the share of training rows that meet the merged condition on its parent's feature, and the share
        that reach the node.
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
                split = feature[order[up]]
                earlier = np.int64(up)
                while parent[earlier] >= 0 and feature[order[parent[earlier]]] != split:
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


@compiled("float64[:, :, ::1](int64, int64, int32[:, ::1], float64[::1], float64[::1])")
def _edges(first: int, end: int, links: NDArray[np.int32], merged: Floats, points: Floats) -> NDArray[np.float64]:
    """Compute the factors of the edge above each node at each quadrature point, shape (nodes, 6, points).

    The condition of an edge narrows an earlier one on the same feature. There are three cases: both hold (0), only the
    earlier one holds (1), neither holds (2). On the second axis, 0 to 2 are the factors of the path's product in these
    cases, and 3 to 5 the factors of a leaf's contribution to the edge's feature.
    """
    above = links[1]
    edges = np.empty((end - first, 6, points.size))
    for node in range(first, end):
        ratio, earlier = merged[node], np.int64(above[node])
        for point in range(points.size):
            near, far = points[point], 1.0 - points[point]
            holds, fails, before_holds, before_fails = near + far * ratio, far * ratio, 1.0, 1.0
            gives_holds, gives_fails = 0.0, 0.0
            if earlier >= 0:
                before_holds, before_fails = near + far * merged[earlier], far * merged[earlier]
                gives_holds, gives_fails = (1.0 - merged[earlier]) / before_holds, -merged[earlier] / before_fails
            edges[node - first, 0, point] = holds / before_holds
            edges[node - first, 1, point] = fails / before_holds
            edges[node - first, 2, point] = fails / before_fails
            edges[node - first, 3, point] = (1.0 - ratio) / holds - gives_holds
            edges[node - first, 4, point] = -ratio / fails - gives_holds
            edges[node - first, 5, point] = -ratio / fails - gives_fails
    return edges


@compiled(
    "void(float32[:, ::1], int64[::1], int32[::1], float32[::1], boolean[::1], int32[:, ::1], float64[::1], "
    "float64[:, :, ::1], float64[::1], float64[:, ::1])"
)
def _walk(
    matrix: NDArray[np.float32],
    roots: NDArray[np.int64],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    missing_left: NDArray[np.bool_],
    links: NDArray[np.int32],
    value: Floats,
    edges: NDArray[np.float64],
    weights: Floats,
    result: Floats,
) -> None:
    """Walk trees depth first, with products of the path on the way down and sums of leaves on the way up."""
    parent, above, depth, first = links[0], links[1], links[5], roots[0]
    levels, block, points = depth.max() + 1, min(WALKED_ROWS, matrix.shape[0]), weights.size
    product, total = np.empty((levels, points)), np.empty((levels, points))
    product[0] = weights
    holds, case, path = np.ones(levels, np.int64), np.zeros(levels, np.int64), np.empty(levels, np.int64)
    given = np.empty((block, matrix.shape[1], points))
    for start in range(0, matrix.shape[0], block):
        rows = min(block, matrix.shape[0] - start)
        given[:] = 0.0
        for tree in range(roots.size - 1):
            end = roots[tree + 1]
            for row in range(rows):
                level = 0
                for node in range(roots[tree] + 1, end + 1):
                    next_level = depth[node] if node < end else 1
                    while level >= next_level:  # go up from path[level]: `total` now has all leaves below
                        left, split = path[level], feature[parent[path[level]]]
                        for point in range(points):
                            given[row, split, point] += (
                                edges[left - first, 3 + case[level], point] * total[level, point]
                            )
                            total[level - 1, point] += total[level, point]
                        level -= 1
                    if node == end:
                        break
                    up, level = parent[node], next_level
                    split, x = feature[up], matrix[start + row, feature[up]]
                    goes_left = (x < threshold[up]) | (missing_left[up] & (x != x))
                    before = holds[depth[above[node]]] if above[node] >= 0 else 1
                    holds[level] = before * (goes_left == (node == up + 1))
                    case[level] = 2 - before - holds[level]
                    if feature[node] < 0:
                        for point in range(points):
                            leaf = product[level - 1, point] * edges[node - first, case[level], point] * value[node]
                            given[row, split, point] += edges[node - first, 3 + case[level], point] * leaf
                            total[level - 1, point] += leaf
                        level -= 1
                    else:
                        for point in range(points):
                            product[level, point] = product[level - 1, point] * edges[node - first, case[level], point]
                            total[level, point] = 0.0
                        path[level] = node
        for row in range(rows):
            for split in range(matrix.shape[1]):
                for point in range(points):
                    result[start + row, split] += given[row, split, point]
