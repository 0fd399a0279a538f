"""Wilson's interval of a share."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

Z = 1.959964  # of a two-sided 95 % interval


def wilson(churned: ArrayLike, customers: ArrayLike, z: float = Z) -> tuple[Floats, Floats, Floats]:
    """Return the rate and both ends of Wilson's score interval (JASA 1927), 95 % by default.

    Without customers, the rate is NaN and the interval is 0 to 1.

    >>> [round(float(end), 3) for end in wilson(2, 10)]
    [0.2, 0.057, 0.51]
    """
    k, n = np.asarray(churned, dtype=np.float64), np.asarray(customers, dtype=np.float64)
    middle, half = (k + z**2 / 2) / (n + z**2), z * np.sqrt(k * (n - k) / np.maximum(n, 1) + z**2 / 4) / (n + z**2)
    rate: Floats = np.divide(k, n, out=np.full(np.shape(n), np.nan), where=n > 0)
    return rate, np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)
