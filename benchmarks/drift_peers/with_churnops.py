"""churnops: counts in the cells of the reference, and the test of each column."""

from clock import Columns, Figures, run

import churnops.monitoring  # noqa: F401  whoever monitors has it
from churnops.data.profile import Profile, count_profile, fit_profile
from churnops.monitoring.drift import Finding, ks_test


def check(reference: Profile, batch: Columns) -> list[Finding]:
    counted = count_profile(reference, batch)
    return [ks_test(column, counted[name]) for name, column in reference.items()]


def figures(found: list[Finding]) -> Figures:
    return [finding.statistic for finding in found], [finding.p_value for finding in found]


run(dict, fit_profile, check, figures)
