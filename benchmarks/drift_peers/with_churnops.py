"""churnops: counts in the cells of the reference, and the test of each column."""

from clock import Columns, Figures, run

import churnops.monitoring  # noqa: F401  as in production
from churnops.data.profile import Profile, count_profile, fit_profile
from churnops.monitoring.drift import Finding, ks_test


def check(reference: Profile, batch: Columns) -> list[Finding]:
    counted = count_profile(reference, batch)
    return [ks_test(column, counted[name]) for name, column in reference.items()]


def figures(findings: list[Finding]) -> Figures:
    return [finding.statistic for finding in findings], [finding.p_value for finding in findings]


run(dict, fit_profile, check, figures)
