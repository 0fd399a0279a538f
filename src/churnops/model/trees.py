"""All tree families in one form: a decision tree, a random forest and gradient boosting as plain arrays.

A row goes left if its feature, rounded to float32 as in scikit-learn and XGBoost, is below the threshold. scikit-learn
compares `x <= t` with a float64 threshold; `churnops.training.export` converts those thresholds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from churnops.compiled import compiled, entry
from churnops.errors import BundleError
from churnops.model.explain import TreeExplainer
from churnops.model.explain_tables import look_up
from churnops.model.linear import logistic
from churnops.model.prediction import largest, totals
from churnops.model.tree_arrays import LEAF, TreeArrays
from churnops.model.tree_scores import MAX_NODES, MIN_ROWS, scores_by_node, scores_by_row

MAX_TREES = 10_000
MAX_DEPTH = 512
MAX_TREE_STEPS = 2**26
MAX_STEPS = 2**31
"""Limits of an ensemble. Steps are nodes times levels, or nodes times features if these are fewer than levels.

An explanation takes at most one operation per two steps for each customer, and 24 bytes per step of the largest tree.
The families of `churnops.training.candidates` have at most 240 trees of depth 8. Other tools may grow trees fully: to
depth 74 on 200,000 rows, and about 10 levels more for four times as many rows. A tree on a million rows and 100 columns
has about 2**25 steps.
"""
COVER_TOLERANCE = 1e-5  # XGBoost adds up covers in float32
Matrix = NDArray[np.float64] | NDArray[np.float32]


@compiled("float32[:, ::1](float64[:, :])")
def _rounded(matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round to float32, faster than NumPy for one row. Numbers beyond float32 become infinite."""
    rounded = np.empty(matrix.shape, np.float32)
    for row in range(matrix.shape[0]):
        for feature in range(matrix.shape[1]):
            rounded[row, feature] = matrix[row, feature]
    return rounded


@compiled(
    "void(float64[:, ::1], boolean, "
    "Tuple((int64[::1], int32[::1], float32[::1], int32[::1], int32[::1], boolean[::1], float64[::1], float64)), "
    "Tuple((int64[::1], int32[::1], float32[::1], boolean[::1], int64[:, ::1], float64[::1], int32[::1], "
    "int32[:, ::1], float64)), int64[::1], float64[::1])"
)
def _answer(
    row: NDArray[np.float64],
    is_logistic: bool,
    scoring: tuple[Any, ...],
    explaining: tuple[Any, ...],
    by_name: NDArray[np.int64],
    result: NDArray[np.float64],
) -> None:
    """Score and explain one row in one call, because passing arguments and results takes longer than the work.

    `result` is filled as `TreeEnsemble.answer` describes. `scoring` has the arguments of `scores_by_row` after the
    matrix. `explaining` has those of `look_up` between matrix and result, then the base value.
    """
    rounded, contributions = _rounded(row), np.zeros(row.shape)
    scores = scores_by_row(rounded, *scoring)
    result[0] = logistic(scores)[0] if is_logistic else scores[0]
    if not is_logistic and result[0] < 0.0:
        result[0] = 0.0
    elif not is_logistic and result[0] > 1.0:
        result[0] = 1.0
    look_up(rounded, *explaining[:8], contributions)
    result[1] = totals(explaining[8], contributions)[0]
    count = result.size // 2 - 1
    positions, values = largest(contributions, by_name, count)
    result[2 : 2 + count] = positions[0]
    result[2 + count :] = values[0]


_answer_code = entry(_answer)


@compiled("int64(int32[::1], int32[::1], int32[::1])")
def _depth(feature: NDArray[np.int32], left: NDArray[np.int32], right: NDArray[np.int32]) -> int:
    """Return the depth of the deepest tree; children come after their parents."""
    depth, deepest = np.zeros(feature.size, np.int32), 0
    for node in range(feature.size):
        if feature[node] >= 0:
            depth[left[node]] = depth[right[node]] = depth[node] + 1
            deepest = max(deepest, depth[node] + 1)
    return deepest


@dataclass(frozen=True)
class TreeEnsemble(TreeArrays):
    """Trees that predict and explain; see `TreeArrays` for the attributes."""

    def rounded(self, matrix: Matrix) -> NDArray[np.float32]:
        """Return a feature matrix in float32, as the trees compare it; a float32 matrix is returned unchanged."""
        if matrix.dtype == np.float32:
            return matrix  # type: ignore[return-value]
        return _rounded(matrix)  # type: ignore[no-any-return]

    def probability(self, matrix: Matrix) -> NDArray[np.float64]:
        """Return the probability of churn, shape (n,), for a feature matrix of shape (n, k)."""
        scores = self.scores(matrix)
        if self.link == "logistic":
            probability: NDArray[np.float64] = logistic(scores)
            return probability
        return np.minimum(np.maximum(scores, 0.0), 1.0)  # like np.clip, in half the time for one row

    def scores(self, matrix: Matrix) -> NDArray[np.float64]:
        """Return the sum of base and leaf values, shape (n,), for a feature matrix of shape (n, k)."""
        rounded = self.rounded(matrix)
        score = scores_by_node if rounded.shape[0] >= MIN_ROWS and self.largest_tree <= MAX_NODES else scores_by_row
        scores: NDArray[np.float64] = score(
            rounded,
            self.roots,
            self.feature,
            self.threshold,
            self.left,
            self.right,
            self.missing_left,
            self.value,
            self.base,
        )
        return scores

    @cached_property
    def largest_tree(self) -> int:
        """Number of nodes of the largest tree."""
        return int(np.diff(np.append(self.roots, self.feature.size)).max())

    @property
    def explanation_scale(self) -> Literal["log-odds", "probability"]:
        """Scale of contributions: log-odds (boosting) or probability (tree, forest)."""
        return "log-odds" if self.link == "logistic" else "probability"

    @property
    def base_value(self) -> float:
        """Average score of the training rows, weighted by `cover`."""
        return self.explainer.base_value

    def contributions(self, matrix: Matrix) -> NDArray[np.float64]:
        """Return the exact path-dependent SHAP values, shape (n, k); with `base_value` they add up to the score.

        See `churnops.model.explain` for the method and its sources.

        >>> split = TreeEnsemble(
        ...     roots=np.array([0]), feature=np.array([0, -1, -1], np.int32), threshold=np.array([2, 0, 0], np.float32),
        ...     left=np.array([1, -1, -1], np.int32), right=np.array([2, -1, -1], np.int32),
        ...     missing_left=np.array([False, False, False]), value=np.array([0.0, 0.2, 0.8]),
        ...     cover=np.array([4.0, 3.0, 1.0]), base=0.0, link="identity",
        ... )
        >>> round(split.base_value, 9), split.contributions(np.array([[3.0, 7.0]])).round(9)
        (0.35, array([[0.45, 0.  ]]))
        """
        return self.explainer.contributions(self.rounded(matrix))

    def answer(self, row: NDArray[np.float64], by_name: NDArray[np.int64], count: int) -> list[float] | None:
        """Return one list of numbers for a row; None if the trees are too large for tables of explanations.

        The list has the row's probability; the sum of base value and contributions; the positions of its `count`
        largest contributions (see `largest`); their values. They equal those of `probability` and `contributions`, bit
        for bit.
        """
        if (arguments := self._arguments) is None:
            return None
        result = np.empty(2 + 2 * min(count, by_name.size))
        _answer_code(row, *arguments, by_name, result)
        numbers: list[float] = result.tolist()
        return numbers

    @cached_property
    def _arguments(self) -> tuple[bool, tuple[Any, ...], tuple[Any, ...]] | None:
        """Arguments of `_answer` that depend only on the model."""
        if (tables := self.explainer.tables) is None:
            return None
        trees = (self.roots, self.feature, self.threshold, self.left, self.right, self.missing_left, self.value)
        return self.link == "logistic", (*trees, self.base), (*tables, self.base_value)

    @cached_property
    def explainer(self) -> TreeExplainer:
        """Explainer of these trees, made for the first explanation."""
        return TreeExplainer(self)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that `from_arrays` rebuilds the ensemble from."""
        return {name: getattr(self, name) for name in self.arrays}

    def parameters(self) -> dict[str, Any]:
        """Return the parameters for `bundle.json`, beside the arrays."""
        return {"base": self.base, "link": self.link}

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], parameters: Mapping[str, Any], width: int
    ) -> "TreeEnsemble":
        """Audit and rebuild an ensemble over `width` features: every walk must end in a leaf of its own tree.

        Raises
        ------
        BundleError
            If an index points outside its tree or the features, a child comes before its parent or has two parents, a
            number is not finite, a cover is not positive or is above the parent's, or a limit is exceeded.
        """
        if set(parameters) != {"base", "link"} or parameters["link"] not in ("logistic", "identity"):
            raise BundleError("trees: base or link is missing or unknown")
        base = parameters["base"]
        if not isinstance(base, float) or not np.isfinite(base):
            raise BundleError("trees: the base is not a finite number")
        trees = cls(**arrays, base=base, link=parameters["link"])
        trees._audit(width)
        return trees

    def _audit(self, width: int) -> None:
        nodes = self.feature.size
        if nodes == 0 or any(getattr(self, name).size != nodes for name in self.arrays if name != "roots"):
            raise BundleError("trees: the arrays differ in length")
        roots = self.roots
        if roots.size == 0 or roots[0] != 0 or (np.diff(roots) <= 0).any() or roots[-1] >= nodes:
            raise BundleError("trees: a root points outside the nodes")
        if roots.size > MAX_TREES:
            raise BundleError(f"trees: {roots.size} trees, at most {MAX_TREES} are allowed")
        if ((self.feature < LEAF) | (self.feature >= width)).any():
            raise BundleError(f"trees: a node splits on a feature outside its {width} features")
        inner = self.feature != LEAF
        index = np.arange(nodes)
        end = np.append(roots[1:], nodes)[np.searchsorted(roots, index, side="right") - 1]  # of the node's tree
        for child in (self.left, self.right):
            if (child[~inner] != LEAF).any() or ((child <= index) | (child >= end))[inner].any():
                raise BundleError("trees: a child points outside its tree or back to an earlier node")
        parents = np.bincount(np.append(self.left[inner], self.right[inner]), minlength=nodes)
        parents[roots] += 1
        if (parents != 1).any():
            raise BundleError("trees: a node has no parent or several")
        self._audit_cost(width)
        self._audit_numbers(inner)

    def _audit_numbers(self, inner: NDArray[np.bool_]) -> None:
        """Refuse thresholds, values and covers that no training gives; `inner` (nodes,) is False in leaves."""
        for numbers in (self.threshold[inner], self.value, self.cover):
            if not np.isfinite(numbers).all():
                raise BundleError("trees: a threshold, value or cover is not finite")
        if (self.cover <= 0.0).any():
            raise BundleError("trees: a cover is not positive")
        limit = self.cover[inner] * (1.0 + COVER_TOLERANCE)
        if (self.cover[self.left[inner]] > limit).any() or (self.cover[self.right[inner]] > limit).any():
            raise BundleError("trees: a node's cover is above its parent's")

    def _audit_cost(self, width: int) -> None:
        """Refuse trees that no training gives: one explanation could take seconds and gigabytes."""
        depth = _depth(self.feature, self.left, self.right)
        if depth > MAX_DEPTH:
            raise BundleError(f"trees: a depth of {depth}, at most {MAX_DEPTH} is allowed")
        nodes, levels = self.feature.size, min(depth, width)
        if self.largest_tree * levels > MAX_TREE_STEPS or nodes * levels > MAX_STEPS:
            raise BundleError(
                f"trees: {nodes} nodes ({self.largest_tree} in the largest tree) are too many at a depth of {depth}"
            )
