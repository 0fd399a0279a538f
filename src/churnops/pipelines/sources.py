"""Sources of the customers that a monitoring cycle looks at: the journal's window, a file, or a simulation.

A cycle acts (counts a look, alarms, recovers, retrains) for the source that it is of: `live` is what the API answers;
files have a source by `data.batches` or by `--act --source NAME`. All other cycles report, and nothing follows.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from churnops.errors import DataError
from churnops.journal import Journal
from churnops.model import Bundle
from churnops.monitoring.batch import Batch
from churnops.monitoring.collect import batch_from_columns, batch_from_file, batch_from_journal
from churnops.settings import LIVE, Settings

PRODUCTION = "data.production"
"""Source of the tables that `churnops run` monitors: the name of their setting. No other source can be called so."""

Collect = Callable[[Settings, Journal, Bundle], Batch]
"""Collects the customers of a cycle, given the deployed bundle."""


@dataclass(frozen=True)
class BatchSource:
    """Where a batch comes from.

    Attributes
    ----------
    acts_as
        Name of the source that the cycle acts for; None: it reports only.
    path
        The file, if it is one: its customers with known outcomes are rows to retrain on.
    """

    collect: Collect
    acts_as: str | None = None
    path: Path | None = None


def window(length: timedelta | None = None, until: datetime | None = None) -> BatchSource:
    """Collect predictions from the journal: of `length` (by default the settings' `window_days`) before `until` (now).

    Outcomes are those known by now, so that a past window is seen with the labels that came in since.
    """

    def collect(settings: Settings, journal: Journal, bundle: Bundle) -> Batch:
        now = datetime.now(UTC)
        end = until or now
        return batch_from_journal(
            journal,
            bundle,
            (end - (length or timedelta(days=settings.monitoring.window_days)), end),
            horizon=timedelta(days=settings.journal.label_horizon),
            known_at=now,
        )

    return BatchSource(collect, acts_as=LIVE if until is None else None)


def file(path: Path, acts_as: str | None = None) -> BatchSource:
    """Collect a CSV or Parquet file of customers.

    Raises
    ------
    DataError
        If there is no such file.
    """
    if not path.is_file():
        raise DataError(f"{path} is not a file")

    def collect(settings: Settings, journal: Journal, bundle: Bundle) -> Batch:
        return batch_from_file(path, bundle, acts_as=acts_as)

    return BatchSource(collect, acts_as, path)


def simulation(seed: int | None = None, rows: int = 500) -> BatchSource:
    """Make up a batch by the plain recipe, noise and flipped labels, from the production table or else the raw one."""
    from churnops.data.simulate import Drift
    from churnops.pipelines.simulate import simulate_customers

    def collect(settings: Settings, journal: Journal, bundle: Bundle) -> Batch:
        sources = [settings.path(source) for source in settings.data.production or settings.data.raw]
        chosen = settings.random_state if seed is None else seed
        drift = Drift(recipe=True, noisy=settings.monitoring.recipe_columns)
        made, _ = simulate_customers(sources, bundle.schema, drift, rows=rows, seed=chosen)
        batch = batch_from_columns(made.columns, made.outcome, bundle, f"simulated: {made.description}")
        return replace(batch, simulated=True)

    return BatchSource(collect)


def source_of(path: Path, settings: Settings) -> str | None:
    """Return the source in `data.batches` that a file lies in, the one nearest to it; None if there is none.

    Links are followed first, so a link in a folder does not bring a file from elsewhere into it.
    """
    places = {name: settings.path(place).resolve() for name, place in settings.data.batches.items()}
    holding = {name: place for name, place in places.items() if path.resolve().is_relative_to(place)}
    return max(holding, key=lambda name: len(holding[name].parts), default=None)
