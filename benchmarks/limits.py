"""Upper confidence limits of shares, for independent trials and for clusters of dependent ones."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv


def upper_limit(hits: int, trials: int, confidence: float = 0.95) -> float:
    """Return the upper limit of Clopper and Pearson's two-sided interval.

    >>> round(upper_limit(0, 400), 4)
    0.0092
    """
    return 1.0 if hits >= trials else float(betaincinv(hits + 1, trials - hits, (1 + confidence) / 2))


def clustered_limit(hit: NDArray[np.bool_]) -> float:
    """Return the upper limit for trials of shape (clusters, trials) that are correlated within a cluster.

    Korn and Graubard (Survey Methodology 24 (1998) 193-201): Clopper and Pearson's limit for the number of independent
    trials that gives the rate the same variance as its spread over the clusters. If that spread is 0, because there was
    no hit, the clusters are counted as the trials.
    """
    rates = hit.reshape(len(hit), -1).mean(axis=1)
    rate = rates.mean()
    if not 0.0 < rate < 1.0:
        return upper_limit(int(rate) * len(rates), len(rates))
    trials = min(hit.size, rate * (1 - rate) / max(rates.var(ddof=1) / len(rates), 1e-300))
    return float(betaincinv(rate * trials + 1, trials - rate * trials, 0.975))


def ratio_limit(hits: NDArray[np.float64], trials: NDArray[np.float64]) -> float:
    """Return the upper limit of a share, from hits and trials by cluster: see `clustered_limit`.

    Clusters may differ in size, so the variance is that of a ratio (Cochran, *Sampling Techniques*, 1977, 6.3).

    >>> round(ratio_limit(np.zeros(400), np.full(400, 20.0)), 4)
    0.0092
    """
    hits, trials = hits[trials > 0].astype(np.float64), trials[trials > 0].astype(np.float64)
    rate, clusters = hits.sum() / trials.sum(), trials.size
    if not 0.0 < rate < 1.0:
        return upper_limit(int(rate) * clusters, clusters)
    variance = clusters / (clusters - 1) * ((hits - rate * trials) ** 2).sum() / trials.sum() ** 2
    alone = min(trials.sum(), rate * (1 - rate) / max(variance, 1e-300))
    return float(betaincinv(rate * alone + 1, alone - rate * alone, 0.975))
