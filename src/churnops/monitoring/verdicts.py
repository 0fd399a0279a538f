"""Verdicts: a difference counts if it is significant and big, for any number of columns and rows.

With `correction: none` the plain rule holds instead: one test a column, and p below the threshold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from churnops.data.profile import ColumnProfile, Profile
from churnops.model import Bundle
from churnops.model.reference import SCORE
from churnops.monitoring.drift import Finding, chi_square_test, ks_test, level_rate_test, score_test, tests_for
from churnops.schema import Column, Schema
from churnops.settings import MonitoringSettings
from churnops.words import title

DISTRIBUTION = ("ks", "chi_square")
NOT_KEPT = "is personal, so its values are not kept"
"""Reason of a personal column without a verdict, as the predicate of a sentence."""
MIN_MISSING = 0.05
"""Difference of missing rates below which there is no drift."""
MIN_UNSEEN = 0.01
"""Share of rows with categories that the reference lacks, below which there is no drift."""
MIN_RARITY = 0.05
"""Distance of the frequencies of choices below which there is no drift."""
MIN_LEVEL_RATES = 0.05
"""Distance of the churn rates of choices below which there is no drift: one eighth of a standard deviation."""

SINGLE_LEVEL = 0.01
"""Significance level of the tests of scores and of labels, each of which is a trigger by itself."""
MIN_SCORE_DISTANCE = 0.1
MIN_KNOWN = 0.8
"""Share of due outcomes that must be known before their churn rate is compared."""
MIN_LABEL_PSI = 0.02
"""Stability index below which labels have no drift: about 5 points at a churn rate of 14.5 %."""


@dataclass(frozen=True)
class ColumnDrift:
    """Verdict on one column.

    Attributes
    ----------
    test, statistic, p_value, effect
        Result of the test that decided the verdict, before correction. The numbers are None if the column could not be
        tested; `test` is "cannot tell" if no test was run.
    adjusted_p_value
        p-value corrected for the numbers of tests and of columns; for scores and labels, `p_value`. None if unknown,
        and for columns under the plain rule.
    drifted
        Whether the column drifted; None if unknown.
    reason
        The verdict in words.
    linked_to
        Column that determines this one. Both belong to one unit of the drift rate, see `FeatureDrift`.
    findings
        Results of all tests of the column.
    """

    name: str
    kind: str
    test: str
    statistic: float | None
    p_value: float | None
    adjusted_p_value: float | None
    effect: float | None
    drifted: bool | None
    reason: str
    linked_to: str | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class FeatureDrift:
    """Verdict on all columns together.

    Attributes
    ----------
    drift_rate
        Share of drifted units among the `units` with a verdict; None without any. A unit is a column together with
        the columns that it determines; it drifted if any of them drifted. Under the plain rule, a unit is one column.
    drifted
        Names of drifted columns.
    p_value
        p-value of "no column changed"; None without a verdict on any column, and under the plain rule.
    """

    columns: tuple[ColumnDrift, ...]
    drift_rate: float | None
    units: int
    drifted: tuple[str, ...]
    p_value: float | None
    reason: str


def benjamini_hochberg(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return adjusted p-values: to keep the false discovery rate at or below q, reject where they are at or below q.

    Benjamini and Hochberg, "Controlling the false discovery rate", J. R. Statist. Soc. B 57 (1995) 289-300.

    Parameters
    ----------
    p_values
        Shape (m,), in [0, 1]; m may be 0.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.2]).round(4).tolist()
    [0.04, 0.0533, 0.0533, 0.2]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    scaled = p[order] * p.size / np.arange(1, p.size + 1)
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum.accumulate(scaled[::-1])[::-1]
    return adjusted


def judge_columns(
    bundle: Bundle, batch: Profile, settings: MonitoringSettings, unreadable: Mapping[str, str] = MappingProxyType({})
) -> FeatureDrift:
    """Judge every watched column, and all of them together.

    Parameters
    ----------
    bundle
        Its inputs that its reference has are the watched columns.
    batch
        Column profiles, counted in the cells of the reference. A watched column that the batch lacks has no verdict.
    unreadable
        Columns of the batch without a verdict, with the reason: "is missing".

    Notes
    -----
    A column drifted if its p-value, times the number of its tests (Bonferroni) and adjusted for the number of columns
    (Benjamini-Hochberg), is at most `drift_threshold`, and its effect is not below its floor.

    The p-value of a unit is the smallest of its columns, times their number. The p-value of all columns is the smallest
    of the units, times their number (Bonferroni). So it is valid for any dependence between columns. A method for
    independent columns, such as one on the fifth smallest of fourteen p-values, would be sharper, but five dependent
    columns would then raise a false alarm together.
    """
    plain = settings.correction == "none"
    watched = [column for column in bundle.schema.inputs if column.name in bundle.reference]
    tested = [
        _untested(column, bundle.linked.get(column.name), f"the column {unreadable[column.name]}")
        if column.name in unreadable
        else _tested(column, bundle, batch.get(column.name), settings)
        for column in watched
    ]
    judged = [column for column in tested if column.p_value is not None]
    adjusted = benjamini_hochberg([_evidence(column) for column in judged])
    columns = {column.name: column for column in tested}
    for column, p_value in zip(judged, adjusted.tolist(), strict=True):
        columns[column.name] = _plain(column, settings) if plain else _verdict(column, p_value, settings)
    return _together(tuple(columns.values()), bundle.schema, settings)


def judge_scores(
    reference: ColumnProfile, batch: ColumnProfile, settings: MonitoringSettings, slack: float
) -> ColumnDrift:
    """Compare the deployed model's scores of a batch with the reference's out-of-fold scores.

    The null hypothesis allows for the difference that a refit makes, see `score_test`. So a refit alone causes no
    alarm, for any number of rows. `slack` is that of the model, see `model_slack`.
    """
    if settings.correction == "none":
        return _single(SCORE, "score", ks_test(reference, batch), 0.0, settings)
    return _single(SCORE, "score", score_test(reference, batch, slack), MIN_SCORE_DISTANCE, settings)


def judge_labels(
    name: str, reference: ColumnProfile, batch: ColumnProfile, settings: MonitoringSettings, *, known: float = 1.0
) -> ColumnDrift:
    """Compare the churn rate of a batch with the reference's; `batch` must hold resolved outcomes only.

    Parameters
    ----------
    known
        Share of the due outcomes that are known. Outcomes of churned customers often arrive first, or alone. So with
        less than `MIN_KNOWN` there is no verdict.
    """
    if known < MIN_KNOWN and settings.correction != "none":
        reason = f"{known:.0%} of the due outcomes are known; {MIN_KNOWN:.0%} are needed"
        return ColumnDrift(name, "target", "cannot tell", None, None, None, None, None, reason, None, ())
    finding = chi_square_test(reference, batch)
    if finding.p_value is not None:
        now, before = (float(profile.at_points[-1]) / profile.rows for profile in (batch, reference))
        finding = replace(finding, reason=f"the churn rate is {now:.1%}; in training it was {before:.1%}")
    return _single(name, "target", finding, MIN_LABEL_PSI, settings)


def _untested(column: Column, linked_to: str | None, reason: str) -> ColumnDrift:
    return ColumnDrift(column.name, column.kind, "cannot tell", None, None, None, None, None, reason, linked_to, ())


def _tested(column: Column, bundle: Bundle, batch: ColumnProfile | None, settings: MonitoringSettings) -> ColumnDrift:
    """Run the tests of a column, and choose the one that decides.

    The most significant big difference decides; if none is big, the most significant difference does.
    """
    linked_to, rates = bundle.linked.get(column.name), bundle.level_rates.get(column.name)
    if batch is None:
        return _untested(column, linked_to, "the batch lacks this column")
    reference = bundle.reference[column.name]
    findings = tuple(test(reference, batch) for test in tests_for(column))
    if rates is not None:
        findings += (level_rate_test(reference, batch, rates),)
    if settings.correction == "none":
        findings = tuple(finding for finding in findings if finding.test in DISTRIBUTION)
    # Without missing values on either side, the missing-rate test cannot be significant, so it does not count (Tarone,
    # Biometrics 46 (1990) 515-522).
    complete = reference.missing == batch.missing == 0
    findings = tuple(finding for finding in findings if not (complete and finding.test == "missing_rate"))
    if not findings:
        return _untested(
            column, linked_to, "dates are tested for missing values only: those of later customers are later"
        )
    known = [finding for finding in findings if finding.p_value is not None]
    decides = min(known, key=lambda f: (not _big(f, settings), f.p_value)) if known else findings[0]
    return ColumnDrift(
        column.name,
        column.kind,
        decides.test,
        decides.statistic,
        decides.p_value,
        None,
        decides.effect,
        None,
        decides.reason,
        linked_to,
        findings,
    )


def floor(test: str, settings: MonitoringSettings) -> float:
    """Return the effect size below which a test finds no drift."""
    floors = {
        "ks": settings.min_distance,
        "chi_square": settings.min_psi,
        "missing_rate": MIN_MISSING,
        "unseen_categories": MIN_UNSEEN,
        "rarity": MIN_RARITY,
        "level_rates": MIN_LEVEL_RATES,
    }
    return floors[test]


def _big(finding: Finding, settings: MonitoringSettings) -> bool:
    return finding.effect is not None and abs(finding.effect) >= floor(finding.test, settings)


def _evidence(column: ColumnDrift) -> float:
    """Return a column's p-value corrected for the number of its tests."""
    assert column.p_value is not None, "only columns with a p-value are judged"
    return min(1.0, column.p_value * sum(finding.p_value is not None for finding in column.findings))


def _verdict(column: ColumnDrift, adjusted: float, settings: MonitoringSettings) -> ColumnDrift:
    judged = _judged(column, adjusted <= settings.drift_threshold, floor(column.test, settings))
    return replace(judged, adjusted_p_value=adjusted)


def _judged(column: ColumnDrift, significant: bool, floor: float) -> ColumnDrift:
    """Return the column with its verdict: it drifted if the difference is significant and reaches the floor."""
    assert column.effect is not None, "a p-value comes with an effect"
    big = abs(column.effect) >= floor
    why = "it drifted" if significant and big else "too little to matter" if significant else "this may be chance"
    return replace(column, drifted=significant and big, reason=f"{column.reason}: {why}")


def _plain(column: ColumnDrift, settings: MonitoringSettings) -> ColumnDrift:
    assert column.p_value is not None, "only columns with a p-value are judged"
    drifted = column.p_value < settings.drift_threshold
    return replace(
        column, drifted=drifted, reason=f"{column.reason}: {'it drifted' if drifted else 'this may be chance'}"
    )


def _together(columns: tuple[ColumnDrift, ...], schema: Schema, settings: MonitoringSettings) -> FeatureDrift:
    plain = settings.correction == "none"
    judged = [column for column in columns if column.drifted is not None]
    drifted = tuple(column.name for column in judged if column.drifted)

    def excess(column: ColumnDrift) -> float:
        """Return the effect of a drifted column in multiples of its floor; 0 for any other."""
        smallest_effect = floor(column.test, settings)
        return abs(column.effect or 0.0) / smallest_effect if column.drifted and smallest_effect else 0.0

    units: dict[str, list[ColumnDrift]] = {}
    for column in judged:
        units.setdefault(column.name if plain else column.linked_to or column.name, []).append(column)
    if not units:
        return FeatureDrift(columns, None, 0, (), None, "no column has enough values")
    changed = sum(any(column.drifted for column in unit) for unit in units.values())
    smallest = min(min(map(_evidence, unit)) * len(unit) for unit in units.values())
    p_value = None if plain else min(1.0, smallest * len(units))
    rate = changed / len(units)
    reason = f"{changed} of {len(units)} columns drifted"
    if changed:
        reason += f" ({rate:.0%})"
        most_drifted = [max(unit, key=excess) for unit in units.values() if any(column.drifted for column in unit)]
        names = [title(schema.by_name[c.name]) for c in sorted(most_drifted, key=excess, reverse=True)[:2]]
        reason += f"{', most in' if changed > 2 else ':'} {' and '.join(names)}"
    return FeatureDrift(columns, rate, len(units), drifted, p_value, reason)


def _single(name: str, kind: str, finding: Finding, floor: float, settings: MonitoringSettings) -> ColumnDrift:
    """Judge a test that is a trigger by itself."""
    column = ColumnDrift(
        name,
        kind,
        finding.test,
        finding.statistic,
        finding.p_value,
        finding.p_value,
        finding.effect,
        None,
        finding.reason,
        None,
        (finding,),
    )
    if finding.p_value is None or finding.effect is None:
        return column
    if settings.correction == "none":
        return _plain(column, settings)
    return _judged(column, finding.p_value <= SINGLE_LEVEL, floor)
