"""Removal of predictions that neither monitoring nor retraining reads any more."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from churnops.errors import SettingsError
from churnops.journal.forget import rewrite_unused_pages
from churnops.journal.prune import PrunedPredictions, count_older, prune, shortest_age
from churnops.monitoring.window import PAST_WINDOWS
from churnops.project import Project
from churnops.settings import Settings


@dataclass(frozen=True)
class PrunedJournal:
    """Result of a removal, or of the count before it.

    `before` is the time up to which predictions are removed. `returned` is whether the free bytes went back to the
    system; those of a SQLite journal that another process has open stay free for new predictions.
    """

    before: datetime
    pruned: PrunedPredictions
    removed: bool
    returned: bool = False

    @property
    def sentences(self) -> str:
        """Result for people."""
        rows, labels = self.pruned.predictions, self.pruned.labels
        before = f"{self.before:%Y-%m-%d %H:%M} UTC"
        counts = f"{rows:,} predictions before {before}, and the {labels:,} labels given for them"
        if self.pruned.stored_columns:
            counts += f", and the stored columns of {self.pruned.stored_columns:,} customers"
        if not self.removed:
            return f"Would remove {counts}\nNothing is removed: repeat the command with --yes"
        place = "returned to the system" if self.returned else "free for new predictions: the journal is in use"
        return f"Removed {counts}\n{self.pruned.freed / 1e6:.1f} MB are {place}"

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON types."""
        return {
            "before": self.before,
            "removed": self.removed,
            "predictions": self.pruned.predictions,
            "labels": self.pruned.labels,
            "stored_columns": self.pruned.stored_columns,
            "bytes": self.pruned.freed,
            "returned": self.returned,
        }


def prune_journal(settings: Settings, age: timedelta, *, remove: bool) -> PrunedJournal:
    """Count predictions older than an age, or remove them.

    Raises
    ------
    SettingsError
        If monitoring or retraining reads predictions of this age.
    JournalError
        If the database does not answer.
    """
    _refuse_short(settings, age)
    before, url = datetime.now(UTC) - age, settings.database_url(settings.journal.url)
    with Project.open(settings) as project:
        if not remove:
            return PrunedJournal(before, count_older(project.engine, before), removed=False)
        pruned = prune(project.engine, before)
    returned = not url.startswith("sqlite") or rewrite_unused_pages(url)
    return PrunedJournal(before, pruned, removed=True, returned=returned)


def _refuse_short(settings: Settings, age: timedelta) -> None:
    horizon, window, history = (
        timedelta(days=days)
        for days in (
            settings.journal.label_horizon,
            settings.monitoring.window_days,
            settings.retraining.history_days,
        )
    )
    shortest = shortest_age(horizon, window, PAST_WINDOWS, history)
    if age < shortest:
        days = -(-shortest // timedelta(days=1))
        by = "retraining.history_days" if shortest == history else "journal.label_horizon and monitoring.window_days"
        raise SettingsError(
            f"--older-than {age.days}d would remove predictions that are still read, up to {days:,} days back ({by}): "
            f"give {days}d or more"
        )
