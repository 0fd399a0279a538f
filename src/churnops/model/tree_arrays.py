"""Trees as plain arrays, with one numbering of all nodes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

LEAF = -1
Link = Literal["logistic", "identity"]


@dataclass(frozen=True)
class TreeArrays:
    """Trees whose leaf values, added to `base`, give a score; the link turns the score into a probability.

    Each array but `roots` has one value per node of all trees. A child always comes after its parent.

    Attributes
    ----------
    roots : int64, shape (trees,)
        First node of each tree, ascending.
    feature : int32
        Column of the feature matrix that a node splits on; -1 in a leaf.
    threshold : float32
        A row goes left if its feature is below the threshold.
    left, right : int32
        Children; -1 in a leaf.
    missing_left : bool
        Whether a missing value goes left.
    value : float64
        Amount that a leaf adds to the score; 0 in other nodes.
    cover : float64
        Weight of the training rows that reached the node; exact SHAP values need it.
    link
        `logistic` if the score is log-odds (boosting), `identity` if it is the probability (tree, forest).
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int32]
    threshold: NDArray[np.float32]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    missing_left: NDArray[np.bool_]
    value: NDArray[np.float64]
    cover: NDArray[np.float64]
    base: float
    link: Link

    arrays: ClassVar[Mapping[str, Any]] = {
        "roots": np.int64,
        "feature": np.int32,
        "threshold": np.float32,
        "left": np.int32,
        "right": np.int32,
        "missing_left": np.bool_,
        "value": np.float64,
        "cover": np.float64,
    }
