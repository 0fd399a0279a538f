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
from churnops.journal.writer import JournalWriter

log = logging.getLogger("churnops.api")

MAX_WAITING = 20_000
"""Limit of the list, in customers: a few tens of megabytes."""
SCORE_SECONDS = 0.25  # between two looks at the list
PART_ROWS = 1000  # customers scored in one step, in a few milliseconds: a step reads the whole model into the cache
WRITE_ROWS = 25  # scores added to one commit of answers, so that it takes hardly longer; more if the list is long
COUNT_SECONDS = 5.0  # between two writes of the counts


class Shadow:
    """Scores answered customers by the challenger: in a thread of its own, everything else on the event loop.

    The scores are committed together with the next answers. A transaction of their own would keep answers waiting.
    """

    def __init__(
        self,
        challenger: ServedChallenger,
        store: ExperimentStore,
        scores: ShadowScores,
        writer: JournalWriter | None,
        metrics: ShadowMetrics,
    ) -> None:
        self._challenger = challenger
        self._store = store
        self._scores = scores
        self._writer = writer
        self._metrics = metrics
        self._threads = Threads("shadow", 1)
        self._waiting: list[PredictionRow] = []
        self._waiting_for = 0  # experiment of the waiting customers
        self._lock = Lock()
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
        if self._waiting_for != experiment.id:
            self._waiting_for = experiment.id
            self._waiting = []
        if len(self._waiting) + len(rows) <= MAX_WAITING:
            self._waiting.extend(rows)
        else:
            self._drop(running, len(rows), "list full")

    async def score_always(self) -> None:
        """Score the list until cancelled."""
        while True:
            await asyncio.sleep(SCORE_SECONDS)
            if self._waiting or self._dropped:
                await self.score()

    async def score(self) -> None:
        """Score and record the customers on the list. A failure is counted, and logged when its reason changes."""
        while self._waiting and self._writer is not None:
            waiting, scored = self._waiting, 0
            part = waiting[:PART_ROWS]
            if running := self._loaded():
                try:
                    scores = await self._threads.run(_scores, running, part)
                    size = max(WRITE_ROWS, len(waiting) // 40)
                    for start in range(0, len(scores), size):
                        await self._writer.append((), scores=scores[start : start + size])
                        scored = min(start + size, len(scores))
                except Exception as error:  # of any kind: the challenger is on trial, and the service is not
                    self._note_failure(running, len(part) - scored, error)
                else:
                    self._failure = None
                self._metrics.scored.inc(scored)
            del waiting[: len(part)]  # if cancelled before, `close` scores the part again
        await self._threads.run(self._write_counts)

    def close(self) -> None:
        """Score the rest of the list, after the end of the event loop's work."""
        while self._waiting:
            part, self._waiting = self._waiting[:PART_ROWS], self._waiting[PART_ROWS:]
            if running := self._loaded():
                try:
                    self._scores.write(_scores(running, part))
                except Exception as error:  # of any kind: the next part may succeed
                    self._note_failure(running, len(part), error)
        self._counted_at = 0.0
        self._write_counts()
        self._threads.close()

    def _loaded(self) -> RunningExperiment | None:
        """Return the experiment that the list waits for, if it still runs and its challenger is loaded."""
        running = self._challenger.current
        if running is None or running.served is None or running.experiment.id != self._waiting_for:
            return None
        return running

    def _note_failure(self, running: RunningExperiment, rows: int, error: Exception) -> None:
        self._drop(running, rows, "failed")
        if self._failure != str(error):
            self._failure = str(error)
            known = isinstance(error, ChurnopsError)
            log.error("the challenger's scores are not recorded: %s", error, exc_info=None if known else error)

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


def _scores(running: RunningExperiment, rows: Sequence[PredictionRow]) -> list[ShadowScore]:
    """Return both models' scores of the champion's customers."""
    experiment, served = running.experiment, running.served
    assert served is not None
    own = [row for row in rows if row.layout.content_sha256 == experiment.champion]
    if not own:
        return []
    columns = decode_inputs(PackedInputs.of(own), served.bundle.schema)
    probabilities = served.bundle.predict(columns).probability.tolist()
    return [
        ShadowScore(row.id, experiment.id, microseconds(row.at), row.customer_id, row.churn_probability, score)
        for row, score in zip(own, probabilities, strict=True)
    ]
