"""Sample-ratio mismatch: whether the arms of a split have the planned shares of customers.

A mismatch means that customers were lost or changed their arm, so the arms cannot be compared. The test may be looked
at after every customer: Lindon and Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betaln

LEVEL = 0.01
"""Probability of a false mismatch over all looks at one experiment."""

CUSTOMERS = 1_000.0
"""Strength of the prior, as a number of customers. 1,000 suit shifts of one to two percentage points best."""


@dataclass(frozen=True)
class SampleRatio:
    """Result of the test.

    Attributes
    ----------
    champion, challenger
        Numbers of customers in both arms.
    share
        Planned share of the challenger, in (0, 1).
    p_value
        Anytime-valid p-value, in (0, 1]: below `LEVEL` at any look with a probability of at most `LEVEL` if the shares
        are as planned.
    """

    champion: int
    challenger: int
    share: float
    p_value: float

    @property
    def mismatch(self) -> bool:
        """Whether the shares are not those that were planned."""
        return self.p_value < LEVEL


def judge_ratio(champion: int, challenger: int, share: float) -> SampleRatio:
    """Test the numbers of customers in both arms against the challenger's planned share, in (0, 1).

    >>> judge_ratio(800, 200, 0.2).mismatch, judge_ratio(10_000, 9_200, 0.5).mismatch
    (False, True)
    """
    evidence = float(log_evidence(champion, challenger, share))
    return SampleRatio(champion, challenger, share, float(np.exp(-max(evidence, 0.0))))


def log_evidence(champion: ArrayLike, challenger: ArrayLike, share: float) -> NDArray[np.float64]:
    """Return the logarithm of the Bayes factor against the planned share, for arrays of counts of one shape.

    The alternative is a beta distribution around the planned share with the strength of `CUSTOMERS`: the two-arm case
    of the paper's Dirichlet mixture. If the share is as planned, the factor is a martingale that begins at 1. So it
    ever reaches 1 / level with a probability of at most `level` (Ville's inequality).
    """
    m, n = np.asarray(champion, dtype=np.float64), np.asarray(challenger, dtype=np.float64)
    a, b = CUSTOMERS * (1 - share), CUSTOMERS * share
    evidence: NDArray[np.float64] = betaln(a + m, b + n) - betaln(a, b) - m * np.log1p(-share) - n * np.log(share)
    return evidence
