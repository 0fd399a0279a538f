"""Sum of the leaf values that a row reaches, in two ways with the same bits: row by row, and many rows at once."""

import numpy as np
from numpy.typing import NDArray

from churnops.compiled import compiled

BLOCK = 256  # rows that pass the trees together
MAX_NODES = 128
"""Nodes of the largest tree up to which many rows at once take less time: the time depends on nodes, not on levels."""
MIN_ROWS = 16
_SIGNATURE = (
    "float64[::1](float32[:, ::1], int64[::1], int32[::1], float32[::1], int32[::1], int32[::1], boolean[::1], "
    "float64[::1], float64)"
)


@compiled(_SIGNATURE)
def scores_by_row(
    matrix: NDArray[np.float32],
    roots: NDArray[np.int64],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    missing_left: NDArray[np.bool_],
    value: NDArray[np.float64],
    base: float,
) -> NDArray[np.float64]:
    """Return the sum of base and leaf values, shape (n,): each row walks from the root of each tree to a leaf."""
    scores = np.empty(matrix.shape[0])
    for row in range(matrix.shape[0]):
        total = base
        for root in roots:
            node = root
            while feature[node] >= 0:
                x = matrix[row, feature[node]]
                goes_left = missing_left[node] if np.isnan(x) else x < threshold[node]
                node = np.int64(left[node] if goes_left else right[node])
            total += value[node]
        scores[row] = total
    return scores


@compiled(_SIGNATURE)
def scores_by_node(
    matrix: NDArray[np.float32],
    roots: NDArray[np.int64],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    missing_left: NDArray[np.bool_],
    value: NDArray[np.float64],
    base: float,
) -> NDArray[np.float64]:
    """Return the same as `scores_by_row`: each node, the last one first, chooses between the leaves of its children.

    The processor cannot predict the way of a row, and waits at each level. Here it compares up to 16 rows with a node's
    threshold in one instruction.
    """
    scores = np.full(matrix.shape[0], base)
    ends = np.append(roots[1:], feature.size)
    columns = np.empty((matrix.shape[1], BLOCK), np.float32)
    leaves = np.empty(((ends - roots).max(), BLOCK), np.int32)  # leaf below each node of a tree that a row reaches
    for start in range(0, matrix.shape[0], BLOCK):
        rows = min(BLOCK, matrix.shape[0] - start)
        for row in range(rows):
            for column in range(matrix.shape[1]):
                columns[column, row] = matrix[start + row, column]
        for tree in range(roots.size):
            root = roots[tree]
            for node in range(ends[tree] - 1, root - 1, -1):  # a child comes after its parent
                leaf = leaves[node - root]
                if feature[node] < 0:
                    leaf[:rows] = node
                    continue
                x, limit = columns[feature[node]], threshold[node]
                lower, upper = leaves[left[node] - root], leaves[right[node] - root]
                if missing_left[node]:
                    for row in range(rows):
                        a, b = lower[row], upper[row]  # read before the choice, which is then one instruction
                        leaf[row] = b if x[row] >= limit else a
                else:
                    for row in range(rows):
                        a, b = lower[row], upper[row]
                        leaf[row] = a if x[row] < limit else b
            for row in range(rows):
                scores[start + row] += value[leaves[0, row]]
    return scores
