"""Distribution of the two-sided Kolmogorov-Smirnov statistic of one sample, without importing `scipy.stats`.

The regions of the formulas are those of Simard and L'Ecuyer, "Computing the two-sided Kolmogorov-Smirnov distribution",
Journal of Statistical Software 39 (2011), with SciPy's limits, so the results equal SciPy's. Within a region, a
formula may differ from SciPy's.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, smirnov

Floats = NDArray[np.float64]

_EXACT = 140  # number of rows up to which everything but the tail is exact
_EXACT_START = 10_000  # number of rows up to which small distances are exact; beyond, the series' error is below 1e-12
_SUMMED = 1000  # number of rows up to which SciPy's sum over rows is fast: 0.5 ms; a million rows take a second
_NODES = 400  # number of terms that stand for a longer sum
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def kolmogorov_tail(rows: int, distance: float) -> float:
    """Return the probability that a sample's distribution is at least `distance` from its true, continuous one.

    Parameters
    ----------
    rows
        Size of the sample, 1 or more.
    distance
        Largest distance between the two distribution functions.

    Returns
    -------
    float
        In [0, 1]; equal to `scipy.stats.kstwo.sf(distance, rows)` to nine digits as far as 1e-300.

    Examples
    --------
    >>> round(kolmogorov_tail(100, 0.12), 6), round(kolmogorov_tail(10_000, 0.0136), 6)
    (0.103304, 0.049036)
    """
    reach = rows * distance
    scale = reach * distance  # square of the variable that has a limit distribution
    if reach <= 0.5:
        return 1.0
    if distance >= 1.0:
        return 0.0
    if distance >= 0.5 or scale >= (4.0 if rows <= _EXACT else 2.2):
        return min(1.0, 2.0 * _one_sided_tail(rows, distance))
    if rows <= _EXACT or (rows <= _EXACT_START and reach**1.5 <= 1.4 * rows**0.5):
        return max(0.0, 1.0 - _durbin(rows, distance))
    return max(0.0, 1.0 - _pelz_good(rows, distance))


def _one_sided_tail(rows: int, distance: float) -> float:
    """Return P(D+ >= distance), Smirnov's sum (1944); in the tail, P(D >= distance) is twice that.

    The terms of a long sum form a smooth function that vanishes with all its derivatives at both ends. So `_NODES`
    equally spaced terms give the sum of all. The binomial weights are split as in Loader, "Fast and accurate
    computation of binomial probabilities" (2000); otherwise their logarithms would lose digits.
    """
    if rows <= _SUMMED:
        return float(smirnov(rows, distance))
    reach = rows * distance
    step = (rows - reach) / _NODES
    below: Floats = step * np.arange(1.0, _NODES)
    above: Floats = rows - below
    with np.errstate(divide="ignore"):  # at a distance of almost 1, the last term rounds to 0
        power = below * np.log1p(reach / below) + above * np.log1p(-reach / above)
    correction = _stirling(np.array(float(rows))) - _stirling(below) - _stirling(above)
    weight = reach / (reach + below) * np.sqrt(rows / (2.0 * np.pi * below * above))
    return float(step * (weight * np.exp(power + correction)).sum())


def _stirling(n: Floats) -> Floats:
    """Return log n! minus Stirling's formula, for an n that is not small."""
    return np.polynomial.polynomial.polyval(1.0 / n**2, _STIRLING) / n


def _durbin(rows: int, distance: float) -> float:
    """Return P(D < distance) exactly: Durbin's matrix (1968) to the power of `rows`.

    Source: Marsaglia, Tsang and Wang, "Evaluating Kolmogorov's distribution", Journal of Statistical Software 8
    (2003). The matrix is divided by e, which keeps its powers within the range of float64.
    """
    centre = int(np.ceil(rows * distance))
    rest = centre - rows * distance
    size = 2 * centre - 1
    order = np.arange(1, size + 1)
    factorial = np.exp(-gammaln(np.arange(size + 2) + 1.0))
    apart = order[:, None] - order[None, :] + 1
    matrix = np.where(apart >= 0, factorial[np.maximum(apart, 0)], 0.0)
    edge = (1.0 - rest**order) * factorial[order]
    matrix[:, 0], matrix[-1, :] = edge, edge[::-1]
    matrix[-1, 0] = (1.0 - 2.0 * rest**size + max(2.0 * rest - 1.0, 0.0) ** size) * factorial[size]
    power = np.linalg.matrix_power(matrix / np.e, rows)[centre - 1, centre - 1]
    return float(power * np.exp(gammaln(rows + 1.0) + rows - rows * np.log(rows)))


def _pelz_good(rows: int, distance: float) -> float:
    """Return P(D < distance) from the limit distribution and three corrections.

    Pelz and Good, "Approximating the lower tail-areas of the Kolmogorov-Smirnov one-sample statistic", Journal of the
    Royal Statistical Society B 38 (1976) 152-156.
    """
    z2 = rows * distance * distance
    z = np.sqrt(z2)
    odd = (np.pi * (np.arange(1, 12) - 0.5)) ** 2
    whole = (np.pi * np.arange(1, 12)) ** 2
    at_odd, at_whole = np.exp(-odd / (2.0 * z2)), np.exp(-whole / (2.0 * z2))
    # fmt: off
    terms = (
        at_odd.sum() / z,
        ((odd - z2) * at_odd).sum() / (6 * z2**2),
        ((6 * z2**3 + 2 * z2**2 + (2 * z2**2 - 5 * z2) * odd + (1 - 2 * z2) * odd**2) * at_odd).sum() / (72 * z2**3 * z)
        - (whole * at_whole).sum() / (36 * z2 * z),
        ((-30 * z2**3 - 90 * z2**4 + (135 * z2**2 - 96 * z2**3) * odd + (212 * z2**2 - 60 * z2) * odd**2
          + (5 - 30 * z2) * odd**3) * at_odd).sum() / (6480 * z2**5)
        + ((3 * z2 * whole - whole**2) * at_whole).sum() / (216 * z2**3),
    )
    # fmt: on
    return float(np.sqrt(2 * np.pi) * sum(term / rows ** (order / 2) for order, term in enumerate(terms)))
