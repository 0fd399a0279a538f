"""Arms of a running split: which customers the challenger answers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from churnops.model import Bundle


@dataclass(frozen=True)
class Arms:
    """A running split, as tables need it; picklable if its functions are.

    Attributes
    ----------
    experiment, share
        Id of the experiment, and share of the challenger.
    assign
        Returns whether each customer is the challenger's, from the experiment's id, the share and the customers' ids:
        `experiments.assignment.challengers`.
    load
        Returns the challenger; None if it cannot be loaded.
    """

    experiment: int
    share: float
    assign: Callable[[int, float, Iterable[str | None]], NDArray[np.bool_]]
    load: Callable[[], Bundle | None]


def no_challenger() -> None:
    """Return no Bundle: the `load` of a challenger that is missing."""
