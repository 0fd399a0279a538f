"""Shadow: a challenger scores answered customers in a thread, and both models' scores go to the journal.

A request only adds its recorded customers to a list, after its commit. So no failure, absence or slowness of the
challenger reaches an answer. Customers that do not fit on the list are dropped and counted.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from threading import Lock

from churnops.api.challenger import RunningExperiment, ServedChallenger
from churnops.api.gauges import ShadowMetrics
from churnops.api.work import Threads
from churnops.errors import ChurnopsError
from churnops.experiments.assignment import draw
from churnops.experiments.shadow import DROPPED
from churnops.journal.decoding import PackedInputs, decode_inputs
from churnops.journal.experiments import ExperimentStore
from churnops.journal.predictions import PredictionRow
from churnops.journal.shadow_scores import ShadowScore, ShadowScores
from churnops.journal.tables import microseconds

log = logging.getLogger("churnops.api")

MAX_WAITING = 20_000
"""Limit of the list, in customers: a few tens of megabytes."""
SCORE_SECONDS = 0.25  # between two looks at the list
PART_ROWS = 250  # customers scored in one step, in a few milliseconds
COUNT_SECONDS = 5.0  # between two writes of the counts


class Shadow:
    """Scores answered customers by the challenger. `add` belongs to the event loop, `score` to one thread."""

    def __init__(
        self, challenger: ServedChallenger, store: ExperimentStore, scores: ShadowScores, metrics: ShadowMetrics
    ) -> None:
        self._challenger = challenger
        self._store = store
        self._scores = scores
        self._metrics = metrics
        self._threads = Threads("shadow", 1)
        self._lock = Lock()
        self._waiting: list[PredictionRow] = []
        self._waiting_for = 0  # experiment of the waiting customers
        self._dropped = Counter[int]()  # by experiment, since the last write
        self._failure: str | None = None
        self._counted_at = 0.0

    def add(self, rows: Sequence[PredictionRow]) -> None:
        """Add recorded customers to the list, if a shadow of their model runs and they take part."""
        running = self._challenger.current
        if running is None or running.experiment.kind != "shadow":
            return
        experiment = running.experiment
        if rows[0].layout.content_sha256 != experiment.champion:
            return
        if experiment.share < 1.0:
            rows = [row for row in rows if draw(experiment.id, row.customer_id or row.id) < experiment.share]
        if running.served is None:
            self._drop(running, len(rows), "not loaded")
            return
        with self._lock:
            if self._waiting_for != experiment.id:
                self._waiting_for = experiment.id
                self._waiting = []
            fits = len(self._waiting) + len(rows) <= MAX_WAITING
            if fits:
                self._waiting.extend(rows)
        if not fits:
            self._drop(running, len(rows), "list full")

    async def score_always(self) -> None:
        """Score the list in a thread of its own until cancelled."""
        while True:
            await asyncio.sleep(SCORE_SECONDS)
            if self._waiting or self._dropped:
                await self._threads.run(self.score)

    def score(self) -> None:
        """Score and record the customers on the list. A failure is counted, and logged when its reason changes."""
        while self._waiting:
            number, part = self._next_part()
            running = self._challenger.current
            if running is None or running.served is None or running.experiment.id != number:
                continue  # their shadow has ended
            try:
                self._record(running, part)
            except Exception as error:  # of any kind: the challenger is on trial, and the service is not
                self._drop(running, len(part), "failed")
                if self._failure != str(error):
                    self._failure = str(error)
                    known = isinstance(error, ChurnopsError)
                    log.error("the challenger's scores are not recorded: %s", error, exc_info=not known)
            else:
                self._failure = None
        self._write_counts()

    def close(self) -> None:
        """Score the rest of the list."""
        self._counted_at = 0.0
        self.score()
        self._threads.close()

    def _next_part(self) -> tuple[int, list[PredictionRow]]:
        """Take customers off the list, and return them with the experiment that they wait for."""
        with self._lock:
            part, self._waiting = self._waiting[:PART_ROWS], self._waiting[PART_ROWS:]
            return self._waiting_for, part

    def _record(self, running: RunningExperiment, rows: Sequence[PredictionRow]) -> None:
        experiment, served = running.experiment, running.served
        assert served is not None
        own = [row for row in rows if row.layout.content_sha256 == experiment.champion]
        if not own:
            return
        columns = decode_inputs(PackedInputs.of(own), served.bundle.schema)
        probabilities = served.bundle.predict(columns).probability.tolist()
        scores = [
            ShadowScore(row.id, experiment.id, microseconds(row.at), row.customer_id, row.churn_probability, score)
            for row, score in zip(own, probabilities, strict=True)
        ]
        self._scores.write(scores)
        self._metrics.scored.inc(len(scores))

    def _drop(self, running: RunningExperiment, rows: int, reason: str) -> None:
        self._metrics.dropped.labels(reason).inc(rows)
        with self._lock:
            self._dropped[running.experiment.id] += rows

    def _write_counts(self) -> None:
        """Add the counts of dropped customers to the experiments' details; after a failure, with the next call."""
        if not self._dropped or time.monotonic() - self._counted_at < COUNT_SECONDS:
            return
        self._counted_at = time.monotonic()
        with self._lock:
            dropped, self._dropped = self._dropped, Counter()
        for experiment, rows in dropped.items():
            try:
                self._store.count(experiment, {DROPPED: rows})
            except ChurnopsError:
                with self._lock:
                    self._dropped[experiment] += rows
