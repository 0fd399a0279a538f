"""Columns of a report: importance for the model, size of the drift, and values before and now."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from churnops.app.shared.text import number, quantity
from churnops.data.batches import open_batches
from churnops.data.profile import ColumnProfile, count_profile, merge_profiles
from churnops.data.read import encode
from churnops.data.validate import check_customers
from churnops.errors import DataError
from churnops.model import Bundle
from churnops.monitoring.document import ColumnPart
from churnops.monitoring.drift.finding import TEST_LABELS
from churnops.monitoring.figures import median
from churnops.monitoring.verdicts import floor
from churnops.schema import Column
from churnops.settings import MonitoringSettings
from churnops.words import percent

SHOWN = 12
"""Number of columns shown at first."""
BLOCK, BLOCKS = 25_000, 4  # rows of a batch read at a time, and number of reads
_FLOORS = {"ks": 0.08, "chi_square": 0.1}  # smallest effects that count as drift if the settings have none


@dataclass(frozen=True)
class Ranked:
    """A column of a report.

    Attributes
    ----------
    importance
        Share of the total contribution to the scores, in [0, 1]; None if not known.
    size
        Effect as a multiple of the smallest effect that counts as drift; None if the column could not be tested.
    """

    finding: ColumnPart
    importance: float | None
    size: float | None


@dataclass(frozen=True)
class Counted:
    """Counts of a batch's values in the cells of the reference profiles; `whole`: whether all rows are counted."""

    profile: Mapping[str, ColumnProfile]
    rows: int
    whole: bool


def ranked(
    findings: Sequence[ColumnPart], importance: Mapping[str, float] | None, settings: MonitoringSettings
) -> tuple[Ranked, ...]:
    """Order columns by importance times size of drift, largest first; columns with equal products by size."""
    known = importance or {}
    columns = [
        Ranked(finding, known.get(finding.name, 0.0) if importance is not None else None, _size(finding, settings))
        for finding in findings
    ]
    return tuple(sorted(columns, key=lambda one: (-(one.importance or 0.0) * (one.size or 0.0), -(one.size or 0.0))))


def _size(finding: ColumnPart, settings: MonitoringSettings) -> float | None:
    if finding.effect is None or finding.test not in TEST_LABELS:
        return None
    return abs(finding.effect) / (floor(finding.test, settings) or _FLOORS[finding.test])


def count_batch(path: Path, bundle: Bundle) -> Counted:
    """Count the values in each column of a report's batch file, up to its first 100,000 customers.

    Raises
    ------
    DataError
        If the file is missing, damaged, or does not fit the model's Schema.
    """
    if path.is_symlink() or not path.is_file():
        raise DataError(f"{path.name} no longer exists beside the report, so only the report's numbers are shown")
    schema = bundle.schema
    watched = [c.name for c in schema.inputs if c.name in bundle.reference and not c.personal]
    reference = {name: bundle.reference[name] for name in watched}
    counts = {name: profile.empty() for name, profile in reference.items()}
    rows = 0
    batches = open_batches(path, rows=BLOCK, schema=schema)
    for table in islice(batches, BLOCKS):
        checked = check_customers(table, schema, path.name, may_lack=schema.personal, may_have_gaps=True)
        columns = encode(checked, schema)
        counts = merge_profiles(counts, count_profile(reference, columns))
        rows += table.height
    return Counted(counts, rows, whole=next(batches, None) is None)


def column_sentence(column: Column | None, reference: ColumnProfile, batch: ColumnProfile) -> str:
    """Describe a column before and now, also for screen readers.

    The text may contain a category's choices, which come from users' tables, so escape it before display.
    """
    parts = []
    if not batch.rows:
        return "No customer has a value now."
    if column is None or column.numeric:
        before, now = median(reference), median(batch)
        if before is not None and now is not None:
            unit, is_date = (column.unit, column.kind == "date") if column else ("", False)
            was, is_now = (quantity(value, unit, is_date=is_date) for value in (before, now))
            parts.append(f"The median was {was} and is {is_now}.")
        else:
            parts.append("At least half of the values now lie outside the range of training.")
    else:
        parts.append(_largest(column, reference, batch))
        if batch.outside:
            new = percent(batch.outside / batch.rows)
            parts.append(f"{new} of the known values are choices that are new since training.")
    missing = [profile.missing / max(profile.missing + profile.rows, 1) for profile in (reference, batch)]
    if any(missing):
        parts.append(f"Missing values: {percent(missing[0])} before, {percent(missing[1])} now.")
    return " ".join(parts)


def _largest(column: Column, reference: ColumnProfile, batch: ColumnProfile) -> str:
    """Describe the choice whose share changed most."""
    before, now = (profile.at_points / max(profile.rows, 1) for profile in (reference, batch))
    if not before.size:
        return "The reference customers have no value."
    place = int(np.argmax(np.abs(now - before)))
    code = float(reference.points[place])
    known = code.is_integer() and 0 <= code < len(column.levels)
    choice = column.levels[int(code)] if known else number(code)
    return f"{choice}: {percent(float(before[place]))} before, {percent(float(now[place]))} now."


def verdict(one: Ranked) -> str:
    """Return a column's verdict in words, with its importance."""
    drifted = {True: "drifted", False: "no drift", None: "cannot tell"}[one.finding.drifted]
    if one.importance is None:
        return drifted
    used = f"importance {percent(one.importance)}" if one.importance else "not used by the model"
    return f"{drifted}, {used}"
