"""Chernoff's bound on the probability that a sum is large."""

from collections.abc import Callable

MAX_TILT = 50.0


def log_tail(cumulants: Callable[[float], tuple[float, float]], value: float) -> float:
    """Return an upper bound on the logarithm of the probability of at least `value`.

    Chernoff, "A measure of asymptotic efficiency for tests of a hypothesis", Annals of Mathematical Statistics 23
    (1952) 493-507.

    Parameters
    ----------
    cumulants
        Returns, for a tilt t >= 0, the logarithm of the moment generating function at t (or of a bound on it), and its
        derivative: the mean of the tilted distribution.

    Examples
    --------
    >>> round(log_tail(lambda tilt: (tilt**2 / 2, tilt), 3.0), 6)  # the normal distribution
    -4.5
    """
    low, high = 0.0, MAX_TILT
    for _ in range(60):  # any tilt gives a bound; with the best one, the mean is `value`
        middle = (low + high) / 2
        low, high = (middle, high) if cumulants(middle)[1] < value else (low, middle)
    return cumulants(low)[0] - low * value
