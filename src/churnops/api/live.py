"""Live drift: answered customers are counted and compared with the model's reference.

A request only adds its customer to a list. Twice a second a thread counts the customers on the list. Every ten seconds
each worker writes its counts to the journal's database, reads the other workers' counts, and shows the drift of all
customers in `/metrics`. The window (`monitoring.window_days`) has eight parts, which begin at the same times for every
worker; the oldest part is dropped as a whole. A killed worker loses at most the counts of its last ten seconds.
"""

import asyncio
import logging
import secrets
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import inf, nan
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.api.customers import Record, codes_of
from churnops.api.gauges import LiveGauges
from churnops.api.served import Served
from churnops.api.work import Threads
from churnops.data.packing import pack_profile, unpack_profile
from churnops.data.profile import Profile, count_profile, merge_profiles
from churnops.errors import ChurnopsError, DataError
from churnops.journal.profiles import ProfilePart, ProfileStore
from churnops.model.reference import SCORE
from churnops.monitoring.drift import model_slack
from churnops.monitoring.verdicts import NOT_KEPT, judge_columns, judge_scores
from churnops.schema import Column, Columns
from churnops.settings import MonitoringSettings

log = logging.getLogger("churnops.api")

COUNT_SECONDS = 0.5  # time between two counts of the list
PARTS = 8  # number of parts of the window
MAX_WAITING = 20_000  # uncounted customers, a few MB
CLOSE_SECONDS = 5.0  # limit of the wait for a merge in progress, before the last counts are written

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_GIVEN = -inf  # value of an absent field; no customer has this value, because JSON has no infinity


class _Customers:
    """Customers of one model as plain numbers, a row each, which NumPy reads without a copy."""

    def __init__(self, served: Served) -> None:
        self.served = served
        reference = served.bundle.reference
        watched = [c for c in served.bundle.schema.inputs if c.name in reference and not c.personal]
        self._plan = [(column.name, _codes(column)) for column in watched]
        self._numbers = array("d")

    def add(self, record: Record, score: float) -> None:
        row = [score]
        for name, codes in self._plan:
            value = record.get(name, _NOT_GIVEN)
            row.append(codes[value] if codes is not None else nan if value is None else value)
        self._numbers.extend(row)

    def columns(self) -> dict[str, NDArray[np.float64]]:
        rows = np.frombuffer(self._numbers).reshape(-1, len(self._plan) + 1)
        columns = {SCORE: rows[:, 0]}
        for place, (name, _) in enumerate(self._plan, start=1):
            values = rows[:, place]
            columns[name] = values[values != _NOT_GIVEN]
        return columns


def _codes(column: Column) -> dict[Any, float] | None:
    """Return the encoded value of each JSON value, of null and of an absent field; None for numbers."""
    codes = codes_of(column)
    if codes is not None:
        codes.update({None: nan, _NOT_GIVEN: _NOT_GIVEN})
    return codes


@dataclass(frozen=True)
class _Count:
    """Counts of this worker for one model in one part of the window; the random name `worker` identifies them."""

    worker: str
    profile: Profile


@dataclass(frozen=True)
class _MergedCounts:
    """Counts of all workers in one part of the window."""

    written: Mapping[str, datetime]  # time of each worker's last write; counts are read again only after a new one
    profile: Profile
    damaged: frozenset[bytes]  # unreadable counts: logged, not merged


class LiveDrift:
    """Counts answered customers and shows their drift from the reference. Safe for several threads.

    Adding never waits for counting. Counting and merging need a thread beside the event loop.
    """

    def __init__(
        self,
        store: ProfileStore,
        settings: MonitoringSettings,
        gauges: LiveGauges,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._settings = settings
        self._gauges = gauges
        self._clock = clock
        self._length = timedelta(days=settings.window_days) / PARTS
        self._waiting_lock = Lock()
        self._counting = Lock()
        self._merging = Lock()
        self._waiting = 0
        self._customers: list[_Customers] = []
        self._tables: list[tuple[Served, Columns]] = []
        self._counts: dict[tuple[str, datetime], _Count] = {}
        self._written: dict[str, Profile] = {}  # last written counts, by their name
        self._parts: dict[datetime, _MergedCounts] = {}
        self._model = ""  # content hash of the model of `_parts`

    def add_one(self, served: Served, record: Record, score: float) -> None:
        """Add an answered customer to those that wait to be counted.

        If too many wait, the customer is only counted as dropped.
        """
        with self._waiting_lock:
            if self._waiting < MAX_WAITING:
                self._waiting += 1
                if not self._customers or self._customers[-1].served is not served:
                    self._customers.append(_Customers(served))
                self._customers[-1].add(record, score)
                return
        self._gauges.dropped.inc()

    def add(self, served: Served, columns: Columns, scores: Sequence[float]) -> None:
        """Add encoded customers like `add_one`; `columns` are the result of `given_columns`."""
        with self._waiting_lock:
            if not self._waiting or self._waiting + len(scores) <= MAX_WAITING:
                self._waiting += len(scores)
                self._tables.append((served, {**columns, SCORE: np.asarray(scores, dtype=np.float64)}))
                return
        self._gauges.dropped.inc(len(scores))

    async def count_always(self, threads: Threads) -> None:
        """Count in a thread, twice a second, until cancelled."""
        while True:
            await asyncio.sleep(COUNT_SECONDS)
            if self._waiting:
                await threads.run(self.count)

    def count(self) -> None:
        """Count the customers on the list."""
        with self._counting:
            with self._waiting_lock:
                customers, tables, waiting = self._customers, self._tables, self._waiting
                self._customers = []
                self._tables = []
                self._waiting = 0
            try:
                for served, columns in [*((some.served, some.columns()) for some in customers), *tables]:
                    self._count(served, columns)
            except Exception:  # a defect here must stop neither later counts nor the service
                log.exception("customers are not counted for live drift")
                self._gauges.dropped.inc(waiting)

    def _count(self, served: Served, columns: Columns) -> None:
        key = (served.bundle.content_sha256, self._part(self._clock()))
        kept = served.bundle.schema.without_personal(columns)
        counted, before = count_profile(served.bundle.reference, kept), self._counts.get(key)
        if before is None:
            self._counts[key] = _Count(secrets.token_hex(8), counted)
        else:
            self._counts[key] = _Count(before.worker, merge_profiles(before.profile, counted))

    def _part(self, now: datetime) -> datetime:
        return now - (now - _EPOCH) % self._length

    def merge(self, served: Served | None) -> None:
        """Write the counts, read those of the other workers, and show the drift of `served`'s customers.

        Raises
        ------
        JournalError
            If the database does not answer. The counts are written with the next call.
        """
        with self._merging:
            self._merge(served)

    def _merge(self, served: Served | None) -> None:
        now = self._clock()
        self._write(now, served)
        if served is not None:
            self._show(served, self._read(served, now), now)

    def _oldest(self, now: datetime) -> datetime:
        return self._part(now) - (PARTS - 1) * self._length

    def _newest(self, now: datetime) -> datetime:
        """Return the latest accepted start of a worker's part; a later start comes from a wrong clock."""
        return self._part(now) + self._length

    def _write(self, now: datetime, served: Served | None) -> None:
        """Write changed counts; then forget counts of ended parts, and of models other than the served one."""
        oldest = self._oldest(now)
        with self._counting:
            self._counts = {key: count for key, count in self._counts.items() if key[1] >= oldest}
            counts = dict(self._counts)
        new = [
            ProfilePart(model, part, count.worker, pack_profile(count.profile))
            for (model, part), count in counts.items()
            if self._written.get(count.worker) is not count.profile
        ]
        if new:
            self._store.write(new, now, oldest, self._newest(now))
        current = (served.bundle.content_sha256 if served else "", self._part(now))
        with self._counting:
            for key, count in counts.items():
                if key != current and self._counts[key] is count:
                    del self._counts[key]
        self._written = {count.worker: count.profile for key, count in counts.items() if key in self._counts}

    def _read(self, served: Served, now: datetime) -> Profile:
        """Return the counts of all workers for a model in the window."""
        model, reference = served.bundle.content_sha256, served.bundle.reference
        if model != self._model:
            count_profile(reference, served.bundle.probes)  # compiles and builds an index before customers are counted
            self._model = model
            self._parts = {}
        written = self._store.written(model, self._oldest(now), self._newest(now))
        parts = {}
        for part, workers in written.items():
            known = self._parts.get(part)
            if known is not None and known.written == workers:
                parts[part] = known
            else:
                logged = known.damaged if known is not None else frozenset()
                parts[part] = _MergedCounts(workers, *_together(reference, self._store.read(model, part), logged))
        self._parts = parts
        total = _empty(reference)
        for counts in parts.values():
            total = merge_profiles(total, counts.profile)
        return total

    def _show(self, served: Served, profile: Profile, now: datetime) -> None:
        bundle = served.bundle
        unwatched = dict.fromkeys(bundle.schema.personal, NOT_KEPT)
        features = judge_columns(bundle, profile, self._settings, unwatched)
        scores = judge_scores(bundle.reference[SCORE], profile[SCORE], self._settings, model_slack(bundle.metrics))
        missing = {
            column.name: counts.missing / (counts.rows + counts.missing)
            for column in features.columns
            if (counts := profile[column.name]).rows + counts.missing
        }
        self._gauges.show(profile[SCORE].rows, features, scores, missing, now)

    def close(self) -> None:
        """Count and write the rest; give up if a merge in progress does not end within `CLOSE_SECONDS`."""
        self.count()
        if self._merging.acquire(timeout=CLOSE_SECONDS):
            try:
                self._merge(None)
            except ChurnopsError as error:
                log.error("the last counts for live drift are lost: %s", error)
            finally:
                self._merging.release()


def given_columns(served: Served, records: Sequence[Record]) -> dict[str, NDArray[np.float64]]:
    """Encode checked customers: an array for each column of the reference.

    Null becomes NaN and counts as a missing value. An absent optional field is left out, so arrays may be shorter than
    `records`.
    """
    customers = _Customers(served)
    for record in records:
        customers.add(record, nan)
    columns = customers.columns()
    del columns[SCORE]
    return columns


def _empty(reference: Profile) -> Profile:
    return {name: column.empty() for name, column in reference.items()}


def _together(
    reference: Profile, packed: Sequence[bytes], logged: frozenset[bytes]
) -> tuple[Profile, frozenset[bytes]]:
    """Merge the counts of workers; also return the damaged counts, and log those that are not in `logged`."""
    total, damaged = _empty(reference), set()
    for data in packed:
        try:
            total = merge_profiles(total, unpack_profile(data, reference))
        except DataError as error:
            damaged.add(data)
            if data not in logged:
                log.error("a worker's counts for live drift are left out: %s", error)
    return total, frozenset(damaged)
