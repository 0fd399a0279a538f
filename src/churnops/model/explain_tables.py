"""Tables of SHAP values: one per small subtree, with a row for every pattern of the decisions that matter to it."""

import numpy as np
from numpy.typing import NDArray

from churnops.model.compiled import compiled

MAX_BITS = 14
BLOCK = 1024  # rows that share a subtree's table while it is in the cache

Floats = NDArray[np.float64]


@compiled("int64[:, ::1](int32[:, ::1], int32[::1], int64)")
def find_subtrees(links: NDArray[np.int32], feature: NDArray[np.int32], limit: int) -> NDArray[np.int64]:
    """Cut the trees into the largest subtrees whose tables hold at most `limit` numbers; a leaf alone may hold more.

    Returns root, bits of a pattern, features, and conditions of each subtree; nothing if a leaf has too many bits.
    """
    parent, distinct, inner, size, depth = links[0], links[2], links[3], links[4], links[5]
    found = np.empty((feature.size, 4), np.int64)
    seen = np.full(feature.max() + 1, -1, np.int64)
    count = node = 0
    while node < feature.size:
        bits, width = distinct[node] + inner[node], 0
        if bits > MAX_BITS and inner[node] == 0:
            return found[:0]
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
                found[count, 0], found[count, 1], found[count, 2] = node, bits, width
                found[count, 3] = depth[node] + inner[node]
                count += width > 0
                node += size[node]
                continue
        node += 1
    return found[:count].copy()


@compiled(
    "Tuple((float64[::1], int32[::1], int32[:, ::1]))(int64[:, ::1], int32[:, ::1], float64[::1], int32[::1], "
    "float64[::1], float64[::1], float64[::1])"
)
def fill_tables(
    subtrees: NDArray[np.int64], links: NDArray[np.int32], merged: Floats, feature: NDArray[np.int32], value: Floats,
    points: Floats, weights: Floats,
) -> tuple[Floats, NDArray[np.int32], NDArray[np.int32]]:  # fmt: skip
    """Work out every subtree's table.

    Returns the tables (patterns x features), one after another; the features of each; and the conditions bit by bit, as
    node, whether the row must go left there, and whether it is the last one of its bit.
    """
    parent, size = links[0], links[4]
    table = np.zeros((subtrees[:, 2] << subtrees[:, 1]).sum())
    columns = np.empty(subtrees[:, 2].sum(), np.int32)
    conditions = np.empty((subtrees[:, 3].sum(), 3), np.int32)
    width = feature.max() + 1
    seen, leaf_seen = np.full(width, -1), np.full(width, -1)
    slot, leaf_slot = np.empty(width, np.int64), np.empty(width, np.int64)
    bit_of = np.empty(2 * MAX_BITS + 2, np.int64)
    ratio, factor, target = np.empty(MAX_BITS), np.empty(MAX_BITS), np.empty(MAX_BITS, np.int64)
    mask, want = np.empty(MAX_BITS, np.int64), np.empty(MAX_BITS, np.int64)
    share = np.empty(MAX_BITS << MAX_BITS)
    first = column = condition = 0
    for subtree in range(subtrees.shape[0]):
        root, bits, width = subtrees[subtree, 0], subtrees[subtree, 1], subtrees[subtree, 2]
        slots = 0
        node = root
        while parent[node] >= 0:
            asked = feature[parent[node]]
            if seen[asked] != subtree:
                seen[asked], slot[asked], columns[column + slots] = subtree, slots, asked
                slots += 1
            node = np.int64(parent[node])
        for bit in range(slots):
            node = root
            while parent[node] >= 0:
                if slot[feature[parent[node]]] == bit:
                    conditions[condition, 0], conditions[condition, 1] = parent[node], node == parent[node] + 1
                    conditions[condition, 2] = 0
                    condition += 1
                node = np.int64(parent[node])
            conditions[condition - 1, 2] = 1
        bit = slots
        for node in range(root, root + size[root]):
            asked = feature[node]
            if asked >= 0:
                conditions[condition, 0], conditions[condition, 1], conditions[condition, 2] = node, 1, 1
                bit_of[node - root] = bit
                condition, bit = condition + 1, bit + 1
                if seen[asked] != subtree:
                    seen[asked], slot[asked], columns[column + slots] = subtree, slots, asked
                    slots += 1
        for leaf in range(root, root + size[root]):
            if feature[leaf] >= 0:
                continue
            count = 0
            node = leaf
            while parent[node] >= 0:
                up = np.int64(parent[node])
                asked = feature[up]
                if leaf_seen[asked] != leaf:
                    leaf_seen[asked], leaf_slot[asked] = leaf, count
                    ratio[count], target[count], mask[count], want[count] = merged[node], slot[asked], 0, 0
                    count += 1
                at = leaf_slot[asked]
                if up >= root:
                    mask[at] |= 1 << bit_of[up - root]
                    if node == up + 1:
                        want[at] |= 1 << bit_of[up - root]
                else:
                    mask[at] |= 1 << slot[asked]
                    want[at] |= 1 << slot[asked]
                node = up
            for held in range(1 << count):
                share[held * count : (held + 1) * count] = 0.0
                for point in range(points.size):
                    product = weights[point] * value[leaf]
                    for at in range(count):
                        factor[at] = (1.0 - points[point]) * ratio[at] + points[point] * (held >> at & 1)
                        product *= factor[at]
                    for at in range(count):
                        share[held * count + at] += ((held >> at & 1) - ratio[at]) * (product / factor[at])
            for pattern in range(1 << bits):
                held = 0
                for at in range(count):
                    held |= (pattern & mask[at] == want[at]) << at
                for at in range(count):
                    table[first + pattern * width + target[at]] += share[held * count + at]
        first += width << bits
        column += width
    return table, columns, conditions


@compiled(
    "void(float32[:, ::1], int64[::1], int32[::1], float32[::1], boolean[::1], int64[:, ::1], float64[::1], "
    "int32[::1], int32[:, ::1], float64[:, ::1])"
)
def look_up(
    matrix: NDArray[np.float32], roots: NDArray[np.int64], feature: NDArray[np.int32], threshold: NDArray[np.float32],
    missing_left: NDArray[np.bool_], subtrees: NDArray[np.int64], table: Floats, columns: NDArray[np.int32],
    conditions: NDArray[np.int32], result: Floats,
) -> None:  # fmt: skip
    """Add up the table row of each subtree: a block of rows at a time, so that a table is used while it is near."""
    block = min(BLOCK, matrix.shape[0])
    goes_left = np.empty((np.diff(roots).max(), block), np.uint8)
    holds, pattern = np.empty(block, np.uint8), np.empty(block, np.uint16)
    for start in range(0, matrix.shape[0], BLOCK):
        rows = min(BLOCK, matrix.shape[0] - start)
        values = matrix[start : start + rows].T.copy()
        first = column = condition = subtree = 0
        for tree in range(roots.size - 1):
            root, end = roots[tree], roots[tree + 1]
            for node in range(root, end):
                if feature[node] >= 0:
                    asked, below, missing = feature[node], threshold[node], missing_left[node]
                    for row in range(rows):
                        x = values[asked, row]
                        goes_left[node - root, row] = (x < below) | (missing & (x != x))
            while subtree < subtrees.shape[0] and subtrees[subtree, 0] < end:
                bits, width = subtrees[subtree, 1], subtrees[subtree, 2]
                pattern[:rows] = 0
                for bit in range(bits):
                    holds[:rows] = 1
                    last = False
                    while not last:
                        node, other = conditions[condition, 0] - root, np.uint8(1 - conditions[condition, 1])
                        for row in range(rows):
                            holds[row] &= goes_left[node, row] ^ other
                        last = conditions[condition, 2] == 1
                        condition += 1
                    for row in range(rows):
                        pattern[row] |= np.uint16(holds[row]) << np.uint16(bit)
                for row in range(rows):
                    at = first + pattern[row] * width
                    for place in range(width):
                        result[start + row, columns[column + place]] += table[at + place]
                first += width << bits
                column += width
                subtree += 1
