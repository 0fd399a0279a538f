"""Discover a customer table: survey it, decide on each column, and look for leaks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from churnops.data.dependence import linked_columns
from churnops.discovery.kinds import DescribedColumn, decide
from churnops.discovery.leaks import Leak, encoded, find_leaks
from churnops.discovery.naming import names_of
from churnops.discovery.survey import Forms, survey
from churnops.discovery.target import TargetColumn, find_target
from churnops.errors import DataError


@dataclass(frozen=True)
class Discovery:
    """Facts and decisions about a table.

    Attributes
    ----------
    columns
        DescribedColumns on all columns but the target, in the order of the table.
    missing
        Texts that mean a missing value.
    leaks
        Columns that contain the outcome or may contain it; the certain ones are left out.
    linked
        Columns that another column determines, each with the name of that column.
    """

    rows: int
    target: TargetColumn
    target_name: str
    columns: tuple[DescribedColumn, ...]
    missing: tuple[str, ...]
    forms: Forms
    leaks: tuple[Leak, ...]
    linked: Mapping[str, str]

    @property
    def notes(self) -> Mapping[str, str]:
        """A short comment for each column that a person should look at, by header."""
        notes = {d.header: f"check: {d.reason}" for d in self.columns if d.check and d.kind}
        names = {d.name: d for d in self.columns}
        notes |= {names[name].header: f"determined by {other}" for name, other in self.linked.items()}
        return notes | {leak.header: f"check: {leak.evidence}" for leak in self.leaks}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "rows": self.rows,
            "target": asdict(self.target) | {"name": self.target_name, "churn_rate": self.target.churn_rate},
            "columns": [asdict(decision) for decision in self.columns],
            "missing": list(self.missing),
            **asdict(self.forms),
            "leaks": [asdict(leak) for leak in self.leaks],
            "determined": dict(self.linked),
        }


def discover(
    paths: Sequence[Path],
    target: str,
    *,
    positive: str | None = None,
    identifier: str | None = None,
    progress: Callable[[int, float], None] = lambda rows, share: None,
) -> Discovery:
    """Find out what a customer table holds.

    Parameters
    ----------
    paths
        Files that have the same columns; their rows together are the table.
    target, identifier
        Headers of the outcome and of the customer's id; an id is looked for if `identifier` is None.
    positive
        Value of the target that means churned; chosen by its name, or else the rarer one, if None.
    progress
        Is called with the number of rows read and the share of the files.

    Raises
    ------
    DataError
        If a file cannot be read; a header does not exist; the target has not two values; or no column can be an input.
    """
    facts = survey(paths, progress)
    outcome = find_target(facts, target, positive)
    decisions = decide(facts, outcome.header, identifier)
    leaks = find_leaks(facts, decisions.columns, outcome)
    certain = {leak.header: leak for leak in leaks if leak.certain}
    columns = tuple(
        replace(d, kind=None, choices=(), reason=f"contains the outcome: {certain[d.header].evidence}", check=True)
        if d.header in certain and d.kind != "id"
        else d
        for d in decisions.columns
    )
    if not any(d.kind in ("number", "integer", "category", "flag") for d in columns):
        raise DataError(
            "no column can be an input of a model: " + "; ".join(f"{d.header!r} {d.reason}" for d in columns)
        )
    name = names_of([column.header for column in facts.columns])[outcome.header]
    linked = linked_columns(encoded(facts, columns))
    return Discovery(facts.rows, outcome, name, columns, decisions.missing, facts.forms, tuple(leaks), linked)
