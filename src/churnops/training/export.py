"""Export of fitted estimators to plain arrays, which predict without the library that fitted them."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier
from xgboost import Booster, XGBClassifier

from churnops.model import LinearModel, TreeEnsemble
from churnops.model.tree_arrays import LEAF, Link
from churnops.training.candidates import Fitted

_Tree = dict[str, NDArray[Any]]


def export(fitted: Fitted) -> LinearModel | TreeEnsemble:
    """Return the plain-array form of a fitted candidate.

    Its probabilities equal those of the library within 1e-6, also for missing values if the library accepts them.
    XGBoost adds up leaves in float32; the other families are exact to rounding.
    """
    if isinstance(fitted, Pipeline):
        return _linear(fitted)
    if isinstance(fitted, XGBClassifier):
        return export_boosters([fitted.get_booster()])
    if isinstance(fitted, DecisionTreeClassifier):
        return _ensemble([_sklearn_tree(fitted, trees=1)], 0.0, "identity")
    trees = [_sklearn_tree(tree, trees=len(fitted.estimators_)) for tree in fitted.estimators_]
    return _ensemble(trees, 0.0, "identity")


def _linear(fitted: Pipeline) -> LinearModel:
    """Fold the scaling into the coefficients: w·(x - mean)/scale + b = (w/scale)·x + (b - (w/scale)·mean)."""
    scaler, regression = (step for _, step in fitted.steps)
    coefficients = regression.coef_[0] / scaler.scale_
    return LinearModel(coefficients, float(regression.intercept_[0] - coefficients @ scaler.mean_), scaler.mean_)


def strictly_below(threshold: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 thresholds s such that `x < s` if and only if `x <= threshold`, for every float32 x.

    scikit-learn compares float32 features with float64 thresholds; a `TreeEnsemble` compares float32 numbers. The
    threshold of a split that only tells missing values from others is infinite: it becomes the largest float32 number.
    """
    rounded = threshold.astype(np.float32)
    above = np.nextafter(rounded, np.float32(np.inf))
    below = np.where(rounded.astype(np.float64) <= threshold, above, rounded)
    return np.minimum(below, np.finfo(np.float32).max).astype(np.float32)


def _sklearn_tree(fitted: DecisionTreeClassifier, trees: int) -> _Tree:
    """Convert a tree of scikit-learn; its probabilities are divided by `trees`, the number of trees in the forest."""
    tree = fitted.tree_
    leaf = tree.children_left == LEAF
    classes = tree.value[:, 0, :]
    churned = classes[:, 1] / classes.sum(axis=1) if classes.shape[1] == 2 else np.full(leaf.size, fitted.classes_[0])
    return {
        "feature": np.where(leaf, LEAF, tree.feature),
        "threshold": np.where(leaf, np.float32(0.0), strictly_below(tree.threshold)),
        "left": tree.children_left,
        "right": tree.children_right,
        "missing_left": ~leaf & tree.missing_go_to_left.astype(np.bool_),
        "value": np.where(leaf, churned / trees, 0.0),
        "cover": tree.weighted_n_node_samples,
    }


def export_boosters(boosters: Sequence[Booster]) -> TreeEnsemble:
    """Return the plain-array form of boosters of XGBoost; several are averaged in log-odds."""
    trees, base = [], 0.0
    for booster in boosters:
        model = json.loads(bytes(booster.save_raw("json")))["learner"]
        average = float(model["learner_model_param"]["base_score"].strip("[]"))
        base += float(np.log(average / (1.0 - average))) / len(boosters)
        trees += [_xgboost_tree(tree) for tree in model["gradient_booster"]["model"]["trees"]]
    for tree in trees:
        tree["value"] = tree["value"] / len(boosters)
    return _ensemble(trees, base, "logistic")


def _xgboost_tree(tree: dict[str, Any]) -> _Tree:
    """Convert a tree of XGBoost, without pruned nodes and with parents before their children."""
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    order = [0]
    for node in order:
        if left[node] != LEAF:
            order += [left[node], right[node]]
    place = np.full(left.size, LEAF)
    place[order] = np.arange(len(order))
    leaf = left[order] == LEAF
    condition = np.array(tree["split_conditions"])[order]
    return {
        "feature": np.where(leaf, LEAF, np.array(tree["split_indices"])[order]),
        "threshold": np.where(leaf, 0.0, condition),
        "left": np.where(leaf, LEAF, place[left[order]]),
        "right": np.where(leaf, LEAF, place[right[order]]),
        "missing_left": ~leaf & (np.array(tree["default_left"])[order] == 1),
        "value": np.where(leaf, condition, 0.0),
        "cover": np.array(tree["sum_hessian"])[order],
    }


def _ensemble(trees: list[_Tree], base: float, link: Link) -> TreeEnsemble:
    """Join trees to an ensemble with one numbering of nodes."""
    sizes = np.array([tree["feature"].size for tree in trees])
    roots = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for tree, root in zip(trees, roots, strict=True):
        for child in ("left", "right"):
            tree[child] = np.where(tree[child] == LEAF, LEAF, tree[child] + root)
    joined = {
        name: np.concatenate([tree[name] for tree in trees]).astype(dtype)
        for name, dtype in TreeEnsemble.arrays.items()
        if name != "roots"
    }
    return TreeEnsemble(roots=roots.astype(np.int64), **joined, base=base, link=link)
