"""Cautions: findings that raise an alert of their own and never recommend retraining.

A broken feed is repaired at its source, a threshold that no longer fits is changed, and training rows are left out of
the batch. A person checks the cause first.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from scipy.special import betainc

from churnops.data.profile import ColumnProfile, Profile
from churnops.evaluation.importance import column_importance
from churnops.model import Bundle
from churnops.monitoring.budget import Recommendation, TriggerName
from churnops.monitoring.decline import Errors
from churnops.monitoring.drift import MIN_ROWS
from churnops.monitoring.verdicts import SINGLE_LEVEL, ColumnDrift, FeatureDrift
from churnops.words import title

CautionName = Literal["broken_columns", "wrong_predictions", "training_rows", "unknown_levels"]
BROKEN = 0.5
"""Smallest effect of a break: difference of missing rates, share of unseen choices, or KS distance."""
ERROR_RATIO = 1.5
"""Smallest ratio of wrong predictions to the expected number of them that causes a caution."""


@dataclass(frozen=True)
class Caution:
    """A finding that raises an alert, and recommends nothing.

    Attributes
    ----------
    big
        Whether the difference reaches its limit; None if unknown.
    fired
        Whether the difference is big and certain; None if unknown.
    columns
        Names of the broken columns, each with its title for people.
    """

    name: CautionName
    severity: Literal["critical", "warning"]
    big: bool | None
    fired: bool | None
    reason: str
    columns: Mapping[str, str] = field(default_factory=dict)


def explained_by(broken: Caution, *, same_rows: bool) -> frozenset[TriggerName]:
    """Return the triggers whose difference the broken columns explain.

    Parameters
    ----------
    same_rows
        Whether the outcomes are those of the customers with the broken columns, as in a file. In the journal they
        belong to earlier predictions, so a decline has another cause.
    """
    if not broken.fired:
        return frozenset()
    return frozenset({"prediction_drift", "performance"} if same_rows else {"prediction_drift"})


def broken_columns(
    bundle: Bundle, batch: Profile, features: FeatureDrift, certain: float, unreadable: Mapping[str, str]
) -> Caution:
    """Compare every column with its reference, each at an equal part of the level `certain`.

    Each caution has an error budget of its own: a quarter of `false_alarm_budget`, as large as a trigger's part of it.

    Parameters
    ----------
    batch
        Profiles of the watched columns, counted in the cells of the bundle's reference.
    certain
        Highest p-value of a certain difference at this look, see `budget.level`.
    unreadable
        Columns that are certainly broken, with the reason (`Batch.broken`). Without a model input no customer can be
        scored, so the alert is critical.
    """
    share = certain / max(len(features.columns), 1)
    profiles = {
        column.name: batch[column.name]
        for column in features.columns
        if column.name in batch and column.name not in unreadable
    }
    enough = [name for name, profile in profiles.items() if profile.rows + profile.missing >= MIN_ROWS]
    if not enough and not unreadable:
        return Caution("broken_columns", "warning", None, None, f"fewer than {MIN_ROWS} customers")
    breaks = {
        column.name: list(_breaks(column, bundle.reference[column.name], profiles[column.name]))
        for column in features.columns
        if column.name in enough
    }
    certainly = {name: [words for p_value, words in ways if p_value <= share] for name, ways in breaks.items()}
    broken = {**unreadable, **{name: words[0] for name, words in certainly.items() if words}}
    if not broken:
        doubtful = any(breaks.values())
        reason = f"no column is {'certainly ' if doubtful else ''}empty, constant or on another scale"
        return Caution("broken_columns", "warning", doubtful, False, reason)
    importance = column_importance(bundle, None)
    unscored = {column.name for column in bundle.schema.model_inputs} & unreadable.keys()
    ordered = sorted(broken, key=lambda name: (name not in unscored, -importance.get(name, 0.0)))
    # A column is important if its share of the scores is at least that of the average column.
    important = bool(unscored) or importance.get(ordered[0], 0.0) * len(importance) >= 1.0
    more = f"; and {len(broken) - 3} more" if len(broken) > 3 else ""
    columns = {name: title(bundle.schema.by_name[name]) for name in ordered}
    reason = "; ".join(f"{columns[name]} {broken[name]}" for name in ordered[:3]) + more
    return Caution("broken_columns", "critical" if important else "warning", True, True, reason, columns)


def _breaks(column: ColumnDrift, reference: ColumnProfile, batch: ColumnProfile) -> Iterator[tuple[float, str]]:
    """Yield the p-value and the words of each way in which a column seems broken."""
    rows = batch.rows + batch.missing
    # One row with the value and one without it are added: a value that a small reference lacks is not impossible.
    before = (reference.missing + 1) / (reference.rows + reference.missing + 2)
    if batch.missing / rows - before >= BROKEN:
        words = "is empty" if not batch.rows else f"is empty in {batch.missing / rows:.0%} of the rows"
        yield float(betainc(batch.missing, batch.rows + 1, before)), words
    # Between the smallest and the largest value of training, all rows in one cell have (nearly) one value.
    inner = batch.counts[1:-1]
    if batch.rows >= MIN_ROWS and inner.max(initial=0) == batch.rows:
        usual = (float(reference.counts[1:-1][inner.argmax()]) + 1) / (reference.rows + 2)
        if usual**batch.rows <= SINGLE_LEVEL:
            yield usual**batch.rows, "has the same value in every row"
    texts = {
        "unseen_categories": "has choices that training did not have, in {:.0%} of the rows",
        "ks": "has other values than in training (distance {:.2f}): has its unit changed?",
    }
    for finding in column.findings:
        if finding.test in texts and finding.p_value is not None and (finding.effect or 0.0) >= BROKEN:
            yield finding.p_value, texts[finding.test].format(finding.effect)


def wrong_predictions(
    errors: Errors | None, recommendation: Recommendation, explained: Collection[TriggerName], certain: float
) -> Caution:
    """Compare the number of wrong predictions with the expected one.

    If the trigger `performance` fired, that trigger names them. If it is in `explained`, a broken column explains them.
    In both cases there is no caution.
    """
    if any(trigger.fired for trigger in recommendation.triggers if trigger.name == "performance"):
        return Caution("wrong_predictions", "warning", None, None, "the trigger performance names them")
    if errors is None:
        reason = (
            "cannot tell, because a column is broken" if "performance" in explained else "too few outcomes are known"
        )
        return Caution("wrong_predictions", "warning", None, None, reason)
    big = errors.wrong >= ERROR_RATIO * errors.expected and errors.wrong > errors.expected
    if big and "performance" in explained:
        return Caution("wrong_predictions", "warning", None, None, f"{errors}; cannot tell, because a column is broken")
    return Caution("wrong_predictions", "warning", big, big and errors.p_value <= certain, str(errors))
