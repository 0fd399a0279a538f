"""Sources of customers for a monitoring cycle: a window of the journal, a file, a folder, or a simulation.

A cycle with a named source acts: it counts a look, starts and ends alarms, and retrains. `live` names the API's
predictions; `data.batches` or `--act --source NAME` names a file's source. A cycle without a name only reports.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from churnops.errors import DataError
from churnops.journal import Journal
from churnops.model import Bundle
from churnops.monitoring.batch import Batch
from churnops.monitoring.collect import batch_from_columns, batch_from_customers, batch_from_file
from churnops.monitoring.window import newest_batch
from churnops.settings import LIVE, Settings

PRODUCTION = "data.production"
"""Source name of the tables that `churnops run` monitors: the name of their setting. No other source can have it."""

Collect = Callable[[Settings, Journal, Bundle], Batch]
"""Collects the customers of a cycle, given the deployed bundle."""


@dataclass(frozen=True)
class BatchSource:
    """Source of a batch.

    Attributes
    ----------
    acts_as
        Name of the source for which the cycle acts; None: it only reports.
    path
        The file of the customers, if any. A retraining uses its customers with known outcomes.
    """

    collect: Collect
    acts_as: str | None = None
    path: Path | None = None


def window(length: timedelta | None = None, until: datetime | None = None) -> BatchSource:
    """Collect a window of the journal, by default of `window_days` up to now: see `window.newest_batch`."""

    def collect(settings: Settings, journal: Journal, bundle: Bundle) -> Batch:
        span = length or timedelta(days=settings.monitoring.window_days)
        return newest_batch(journal, bundle, span, now=datetime.now(UTC), until=until)

    return BatchSource(collect, acts_as=LIVE if until is None else None)


def file(path: Path, acts_as: str | None = None, accept_missing: Sequence[str] = ()) -> BatchSource:
    """Collect a CSV, Parquet or Excel file of customers; `accept_missing` as in `FileScorer`.

    Raises
    ------
    DataError
        If there is no such file.
    """
    if not path.is_file():
        raise DataError(f"{path} {'is not a file' if path.exists() else 'does not exist'}")

    def collect(settings: Settings, journal: Journal, bundle: Bundle) -> Batch:
        return batch_from_file(path, bundle, acts_as=acts_as, accept_missing=accept_missing)

    return BatchSource(collect, acts_as, path)


def folder(path: Path, accept_missing: Sequence[str] = ()) -> BatchSource:
    """Report on a data set: a folder of Parquet or CSV files, by the workers of `cluster.address`."""
    from churnops.monitoring.folder import batch_from_folder

    def collect(settings: Settings, journal: Journal, bundle: Bundle) -> Batch:
        address = settings.cluster.address
        return batch_from_folder(path, bundle, settings.models, address=address, accept_missing=accept_missing)

    return BatchSource(collect)


def table(customers: object) -> BatchSource:
    """Report on customers in any form of `scoring.customers.as_table`."""

    def collect(settings: Settings, journal: Journal, bundle: Bundle) -> Batch:
        return batch_from_customers(customers, bundle)

    return BatchSource(collect)


def simulation(seed: int | None = None, rows: int = 500) -> BatchSource:
    """Simulate a batch with noise and flipped labels from the production tables, or without these the raw tables."""
    from churnops.data.simulate import Drift
    from churnops.pipelines.simulate import simulate_customers, source_tables

    def collect(settings: Settings, journal: Journal, bundle: Bundle) -> Batch:
        chosen = settings.random_state if seed is None else seed
        drift = Drift(recipe=True, noisy=settings.monitoring.recipe_columns)
        made, _ = simulate_customers(source_tables(settings), bundle.schema, drift, rows=rows, seed=chosen)
        batch = batch_from_columns(made.columns, made.outcome, bundle, f"simulated: {made.description}")
        return replace(batch, simulated=True)

    return BatchSource(collect)


def source_of(path: Path, settings: Settings) -> str | None:
    """Return the source in `data.batches` whose folder contains a file, the innermost of several; None without one.

    Links are resolved first: the folder of a link's target counts, not that of the link.
    """
    folders = {name: settings.path(folder).resolve() for name, folder in settings.data.batches.items()}
    matches = {name: folder for name, folder in folders.items() if path.resolve().is_relative_to(folder)}
    return max(matches, key=lambda name: len(matches[name].parts), default=None)
