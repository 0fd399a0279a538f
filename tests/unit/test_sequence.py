"""The confidence sequence: its formula against an integral, and its error rate over all looks."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import brentq

from churnops.experiments.budget import gate_level, shadow_level
from churnops.experiments.evidence import EndRules, Looks, labels_needed
from churnops.experiments.sequence import OPTIMUM, boundary, half_width, log_losses


def mixture_boundary(variance: float, alpha: float, rho: float) -> float:
    """Return the sum at which the mixture of likelihood ratios is 1 / alpha, by integrating over positive effects.

    The effects have a half-normal density: Howard, Ramdas, McAuliffe and Sekhon (2021), section 3.
    """

    def excess(total: float) -> float:
        peak = total / (variance + rho)  # the integrand is largest there, with the logarithm `top`
        top = 0.5 * math.log(2 * rho / math.pi) + total**2 / (2 * (variance + rho))
        width = 10 / math.sqrt(variance + rho)
        area = quad(
            lambda effect: math.exp(-(variance + rho) * (effect - peak) ** 2 / 2), max(0.0, peak - width), peak + width
        )[0]
        return top + math.log(area) - math.log(1 / alpha)

    return float(brentq(excess, 0.01, 50 * math.sqrt(variance + rho), xtol=1e-9))


@pytest.mark.parametrize("alpha", [0.05, 0.02, 0.0067])
@pytest.mark.parametrize("variance", [20.0, 2000.0, 50_000.0])
def test_the_boundary_is_close_to_the_exact_mixture_from_above(variance: float, alpha: float):
    width = 2 * math.log(1 / alpha)
    rho = OPTIMUM / (width + math.log(1 + width))
    exact = mixture_boundary(variance, alpha, rho)
    assert exact <= boundary(variance, alpha, OPTIMUM) <= 1.03 * exact


def test_the_boundary_is_narrowest_at_its_optimum():
    at = [float(boundary(1000.0, 0.02, optimum)) for optimum in (250, 500, 1000, 2000, 4000)]
    assert min(at) == at[2]


def test_few_walks_ever_cross_the_boundary():
    steps = np.random.default_rng(7).normal(size=(1000, 3000))
    crossed = (steps.cumsum(axis=1) > boundary(np.arange(1, 3001), 0.05, OPTIMUM)).any(axis=1)
    assert 0.01 < crossed.mean() < 0.065


def test_the_width_does_not_depend_on_the_unit():
    assert half_width(500, 2.5, 0.02) == pytest.approx(1000 * half_width(500, 0.0025, 0.02))


def test_log_loss_of_a_certain_wrong_score_is_finite():
    assert log_losses([1, 0, 1], [0.0, 1.0, 1.0]) == pytest.approx([36.04, 36.04, 0.0], abs=0.01)


def test_the_budget_holds_for_any_number_of_challengers():
    numbers = range(1, 100_000)
    total = sum(shadow_level(n, 0.95) for n in numbers) + sum(gate_level(n, 0.95) for n in numbers)
    assert 0.0499 < total <= 0.05
    assert shadow_level(1, None) == shadow_level(1, 0.95)


def test_the_needed_labels_are_enough_if_customers_stay_alike():
    def look(pairs: float) -> Looks:
        n = np.array([pairs])
        return Looks(n, n, n / 5, 0.02 * n, (0.25**2 + 0.02**2) * n)

    rules = EndRules(0.005, 0.02)
    more = labels_needed(look(500.0), rules)
    assert more is not None
    assert look(500.0 + more).success(rules).all()
    assert not look(500.0 + 0.97 * more).success(rules).any()
    assert labels_needed(look(500.0), EndRules(0.03, 0.02)) is None
