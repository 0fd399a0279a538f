"""Tables of SHAP values: one per small subtree, with a row for every pattern of its decisions."""

import numpy as np
from numpy.typing import NDArray

from churnops.compiled import compiled

MAX_BITS = 14  # limit of a pattern's bits
FEW = 4  # from this number of rows on, a block is faster
BLOCK = 2048  # rows in a block; they use a subtree's table one after another, while it is in the cache

Floats = NDArray[np.float64]


@compiled("int64[:, ::1](int32[:, ::1], int32[::1], int64)")
def find_subtrees(links: NDArray[np.int32], feature: NDArray[np.int32], limit: int) -> NDArray[np.int64]:
    """Cut the trees into the largest subtrees whose tables have at most `limit` numbers; a single leaf may have more.

    Returns shape (subtrees, 4): root, and numbers of bits, features and conditions. It is empty if a leaf needs more
    than `MAX_BITS` bits.
    """
    parent, distinct, inner, size, depth = links[0], links[2], links[3], links[4], links[5]
    subtrees = np.empty((feature.size, 4), np.int64)
    seen = np.full(feature.max() + 1, -1, np.int64)
    count = node = 0
    while node < feature.size:
        bits, width = distinct[node] + inner[node], 0
        if bits > MAX_BITS and inner[node] == 0:
            return subtrees[:0]
        if bits <= MAX_BITS:
            up = parent[node]
            while up >= 0:
                width += seen[feature[up]] != node
                seen[feature[up]] = node
                up = parent[up]
            for below in range(node, node + size[node]):
                if feature[below] >= 0:
                    width += seen[feature[below]] != node
                    seen[feature[below]] = node
            if inner[node] == 0 or width << bits <= limit:
                subtrees[count, 0], subtrees[count, 1], subtrees[count, 2] = node, bits, width
                subtrees[count, 3] = depth[node] + inner[node]
                count += width > 0
                node += size[node]
                continue
        node += 1
    return subtrees[:count].copy()


@compiled("float64[:, ::1](float64, float64[::1], float64[::1], float64[::1])")
def _leaf_shares(value: float, ratio: Floats, points: Floats, weights: Floats) -> Floats:
    """Compute a leaf's part of each SHAP value, for every set (as bits) of features whose merged condition holds.

    See `explain.py` for the formula; only features on the leaf's path have a part.
    """
    shares, factor = np.zeros((1 << ratio.size, ratio.size)), np.empty(ratio.size)
    for held in range(1 << ratio.size):
        for point in range(points.size):
            product = weights[point] * value
            for at in range(ratio.size):
                factor[at] = (1.0 - points[point]) * ratio[at] + points[point] * (held >> at & 1)
                product *= factor[at]
            for at in range(ratio.size):
                shares[held, at] += ((held >> at & 1) - ratio[at]) * (product / factor[at])
    return shares


@compiled(
    "Tuple((float64[::1], int32[::1], int32[:, ::1]))(int64[:, ::1], int32[:, ::1], float64[::1], int32[::1], "
    "float64[::1], float64[::1], float64[::1])"
)
def fill_tables(
    subtrees: NDArray[np.int64],
    links: NDArray[np.int32],
    merged: Floats,
    feature: NDArray[np.int32],
    value: Floats,
    points: Floats,
    weights: Floats,
) -> tuple[Floats, NDArray[np.int32], NDArray[np.int32]]:
    """Compute the table of every subtree.

    Returns
    -------
    table : array
        Tables of all subtrees, each of shape (patterns, features), one after another.
    columns : array
        Features of all tables, one after another.
    conditions : array of shape (conditions, 3)
        For each condition: its node, whether a row must go left there, and its bit in the pattern.
    """
    parent, size = links[0], links[4]
    table = np.zeros((subtrees[:, 2] << subtrees[:, 1]).sum())
    columns = np.empty(subtrees[:, 2].sum(), np.int32)
    conditions = np.empty((subtrees[:, 3].sum(), 3), np.int32)
    width = feature.max() + 1
    seen, leaf_seen = np.full(width, -1), np.full(width, -1)
    slot, leaf_slot = np.empty(width, np.int64), np.empty(width, np.int64)
    bit_of = np.empty(2 * MAX_BITS + 2, np.int64)
    ratio, target = np.empty(MAX_BITS), np.empty(MAX_BITS, np.int64)
    mask, want = np.empty(MAX_BITS, np.int64), np.empty(MAX_BITS, np.int64)
    first = column = condition = 0
    for subtree in range(subtrees.shape[0]):
        root, bits, width = subtrees[subtree, 0], subtrees[subtree, 1], subtrees[subtree, 2]
        slots, node = 0, root
        while parent[node] >= 0:  # above the subtree: one bit per feature, in the order of the features
            split = feature[parent[node]]
            if seen[split] != subtree:
                seen[split], slot[split], columns[column + slots] = subtree, slots, split
                slots += 1
            node = np.int64(parent[node])
        for bit in range(slots):
            node = root
            while parent[node] >= 0:
                if slot[feature[parent[node]]] == bit:
                    conditions[condition, 0], conditions[condition, 1] = parent[node], node == parent[node] + 1
                    conditions[condition, 2] = bit
                    condition += 1
                node = np.int64(parent[node])
        bit = slots
        for node in range(root, root + size[root]):
            split = feature[node]
            if split >= 0:  # inside the subtree: one bit per node
                conditions[condition, 0], conditions[condition, 1], conditions[condition, 2] = node, 1, bit
                bit_of[node - root] = bit
                condition, bit = condition + 1, bit + 1
                if seen[split] != subtree:
                    seen[split], slot[split], columns[column + slots] = subtree, slots, split
                    slots += 1
        for leaf in range(root, root + size[root]):
            if feature[leaf] >= 0:
                continue
            count, node = 0, leaf
            while parent[node] >= 0:  # merged condition of each feature: its bits in the pattern, and their values
                up = np.int64(parent[node])
                split = feature[up]
                if leaf_seen[split] != leaf:
                    leaf_seen[split], leaf_slot[split] = leaf, count
                    ratio[count], target[count], mask[count], want[count] = merged[node], slot[split], 0, 0
                    count += 1
                at = leaf_slot[split]
                if up >= root:
                    mask[at] |= 1 << bit_of[up - root]
                    if node == up + 1:
                        want[at] |= 1 << bit_of[up - root]
                else:
                    mask[at] |= 1 << slot[split]
                    want[at] |= 1 << slot[split]
                node = up
            shares = _leaf_shares(value[leaf], ratio[:count], points, weights)
            for pattern in range(1 << bits):
                held = 0
                for at in range(count):
                    held |= (pattern & mask[at] == want[at]) << at
                for at in range(count):
                    table[first + pattern * width + target[at]] += shares[held, at]
        first += width << bits
        column += width
    return table, columns, conditions


@compiled(
    "void(float32[:, ::1], int64[::1], int32[::1], float32[::1], boolean[::1], int64[:, ::1], float64[::1], "
    "int32[::1], int32[:, ::1], float64[:, ::1])"
)
def look_up(
    matrix: NDArray[np.float32],
    roots: NDArray[np.int64],
    feature: NDArray[np.int32],
    threshold: NDArray[np.float32],
    missing_left: NDArray[np.bool_],
    subtrees: NDArray[np.int64],
    table: Floats,
    columns: NDArray[np.int32],
    conditions: NDArray[np.int32],
    result: Floats,
) -> None:
    """Add up one table row per subtree; each failed condition clears its bit in the pattern of that row.

    A few rows are computed one by one. Many rows are computed in blocks: all rows of a block use a subtree's table
    while it is in the cache.
    """
    count = subtrees.shape[0]
    if matrix.shape[0] < FEW:
        for row in range(matrix.shape[0]):
            first = column = condition = 0
            for subtree in range(count):
                bits, width = subtrees[subtree, 1], subtrees[subtree, 2]
                held = (1 << bits) - 1
                for at in range(condition, condition + subtrees[subtree, 3]):
                    node = conditions[at, 0]
                    x = matrix[row, feature[node]]
                    goes_left = (x < threshold[node]) | (missing_left[node] & (x != x))
                    held &= ~(np.int64(goes_left != conditions[at, 1]) << conditions[at, 2])
                for place in range(width):
                    result[row, columns[column + place]] += table[first + held * width + place]
                first, column, condition = first + (width << bits), column + width, condition + subtrees[subtree, 3]
        return
    block = min(BLOCK, matrix.shape[0])
    decisions, pattern = np.empty((np.diff(roots).max(), block), np.uint8), np.empty(block, np.uint16)
    given = np.empty((matrix.shape[1], block))
    for start in range(0, matrix.shape[0], BLOCK):
        rows = min(BLOCK, matrix.shape[0] - start)
        values = matrix[start : start + rows].T.copy()
        given[:] = 0.0
        first = column = condition = subtree = 0
        for tree in range(roots.size - 1):
            root, end = roots[tree], roots[tree + 1]
            for node in range(root, end):
                if feature[node] >= 0:
                    split, below, missing = feature[node], threshold[node], missing_left[node]
                    for row in range(rows):
                        x = values[split, row]
                        decisions[node - root, row] = (x < below) | (missing & (x != x))
            while subtree < count and subtrees[subtree, 0] < end:
                bits, width = subtrees[subtree, 1], subtrees[subtree, 2]
                pattern[:rows] = (1 << bits) - 1
                for at in range(condition, condition + subtrees[subtree, 3]):
                    node, bit = conditions[at, 0] - root, np.uint16(conditions[at, 2])
                    wanted = np.uint8(conditions[at, 1])
                    for row in range(rows):
                        pattern[row] &= ~(np.uint16(decisions[node, row] ^ wanted) << bit)
                for place in range(width):
                    split = columns[column + place]
                    for row in range(rows):
                        given[split, row] += table[first + pattern[row] * width + place]
                first, column, condition = first + (width << bits), column + width, condition + subtrees[subtree, 3]
                subtree += 1
        result[start : start + rows] = given[:, :rows].T
