"""Answers while a split runs: each customer's arm decides which model answers.

The champion answers in the challenger's place, in the same request, if the challenger raises an error, is not loaded,
or does not answer in time.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any, TypeVar

from churnops.api.bounded import Bounded
from churnops.api.challenger import RunningExperiment, ServedChallenger
from churnops.api.customers import Record
from churnops.api.metrics import Metrics
from churnops.api.predictions import Answers, answer
from churnops.api.served import Served
from churnops.experiments.assignment import arm_of, challengers
from churnops.journal.experiments import Experiment, ExperimentStore
from churnops.journal.exposures import Exposure
from churnops.journal.predictions import PredictionRow
from churnops.journal.tables import microseconds
from churnops.schema import ARM, is_blank
from churnops.scoring.arms import Arms

log = logging.getLogger("churnops.api")

SLOW, WITHOUT_ID, FELL_BACK = "slow_answers", "without_id", "fell_back"
"""Counts among the details of an experiment."""
MAX_SLOW = 3
"""Number of slow answers of the challenger, in all processes, that end a split."""
COUNT_SECONDS = 5.0  # between two writes of counts
WAIT_SECONDS, MAX_WAIT_SECONDS = 2.0, 60.0
"""Time that a request waits for the challenger beyond its limit, however busy the machine is; and the longest time."""
TRUSTED = 200
"""Number of calls in time, one after the other, after which a challenger scores one customer without another thread.

A change of threads takes longer than such an answer.
"""

T = TypeVar("T")


class SplitAnswers:
    """Lets the challenger answer the customers of its arm, and counts. Safe for several threads.

    Parameters
    ----------
    limit
        Processor time of the challenger for one customer, in seconds. The processor time of other threads and processes
        does not count, so a busy machine does not make an answer slow.
    on_slow
        Called with an experiment that this process has ended because its challenger was slow.
    """

    def __init__(
        self,
        challenger: ServedChallenger,
        store: ExperimentStore,
        metrics: Metrics,
        limit: float,
        on_slow: Callable[[Experiment], object],
    ) -> None:
        self._challenger = challenger
        self._store = store
        self._metrics = metrics
        self._limit = limit
        self._on_slow = on_slow
        self._lock = Lock()
        self._counts: dict[int, Counter[str]] = {}  # by experiment, since the last write
        self._slow = 0  # of the running experiment, in this process
        self._experiment = 0
        self._written_at = 0.0
        self._failure: str | None = None
        self._calls = Bounded("challenger")
        self._in_time: Counter[int] = Counter()  # calls of the challenger since a slow one, by experiment

    def running(self, served: Served) -> RunningExperiment | None:
        """Return the running split of a deployed model; None if there is none."""
        running = self._challenger.current
        if running is None or running.experiment.kind != "split":
            return None
        over = self._slow >= MAX_SLOW and self._experiment == running.experiment.id
        return None if over or running.experiment.champion != served.bundle.content_sha256 else running

    def arms(self, served: Served) -> tuple[Arms, Served | None] | None:
        """Return the arms of the running split for tables, and the loaded challenger; None if no split runs."""
        running = self.running(served)
        if running is None:
            return None
        experiment, challenger = running.experiment, running.served
        bundle = challenger.bundle if challenger else None
        return Arms(experiment.id, experiment.share, challengers, lambda: bundle), challenger

    def answer(self, served: Served, records: Sequence[Record], key: str | None) -> Answers:
        """Score and explain checked customers, each by the model of its arm; see `predictions.answer`."""
        running = self.running(served)
        if running is None:
            return answer(served, records, key)
        experiment, identifier = running.experiment, served.form.identifier
        ids = [record.get(identifier) if identifier else None for record in records]
        theirs = [arm_of(experiment.id, experiment.share, id_) == "challenger" for id_ in ids]
        if not any(theirs):
            answers, rows = answer(served, records, key)
            return [{**item, ARM: "champion"} for item in answers], rows
        challenged = self._challenged(
            running, [r for r, is_theirs in zip(records, theirs, strict=True) if is_theirs], key
        )
        by_challenger = [is_theirs and challenged is not None for is_theirs in theirs]
        others = [record for record, is_other in zip(records, by_challenger, strict=True) if not is_other]
        own = zip(*answer(served, others, key), strict=True) if others else iter(())
        given = zip(*(challenged or ([], [])), strict=True)
        answers, rows = [], []
        for is_theirs, by_it in zip(theirs, by_challenger, strict=True):
            item, row = next(given if by_it else own)
            answers.append({**item, ARM: "challenger" if is_theirs else "champion"})
            rows.append(row)
        return answers, rows

    def _challenged(self, running: RunningExperiment, records: Sequence[Record], key: str | None) -> Answers | None:
        """Return the challenger's answers; None if the champion must answer."""
        if running.served is None:
            return None
        if not records:
            return [], []
        try:
            done, seconds = self.bounded(running.experiment, len(records), _timed_answer, running.served, records, key)
        except TimeoutError:
            return None
        except Exception as error:  # of any kind: the champion answers
            if self._failure != repr(error):
                self._failure = repr(error)
                log.error("the challenger of split %d fails, the champion answers: %r", running.experiment.id, error)
            return None
        if seconds / len(records) > self._limit:
            self._note_slow(running.experiment)
        return done

    def bounded(self, experiment: Experiment, customers: int, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function of the challenger; give it up, and count it as slow, if it hangs.

        A challenger that has answered in time often enough is not given up at one customer; slow answers still count.

        Raises
        ------
        TimeoutError
            If it does not return in time: two seconds and the limit for each customer, but at most a minute.
        """
        if customers == 1 and self._in_time[experiment.id] >= TRUSTED:
            return function(*arguments)
        try:
            seconds = min(WAIT_SECONDS + customers * self._limit, MAX_WAIT_SECONDS)
            result = self._calls.call(seconds, function, *arguments)
        except TimeoutError:
            self._note_slow(experiment)
            raise
        self._in_time[experiment.id] += 1
        return result

    def close(self) -> None:
        """End the threads."""
        self._calls.close()

    def _note_slow(self, experiment: Experiment) -> None:
        log.warning("the challenger of split %d takes longer than %g ms", experiment.id, 1000 * self._limit)
        with self._lock:
            self._slow = self._slow + 1 if self._experiment == experiment.id else 1
            self._experiment = experiment.id
            self._in_time[experiment.id] = 0
            self._counts.setdefault(experiment.id, Counter())[SLOW] += 1

    def exposures(self, rows: Sequence[PredictionRow]) -> list[Exposure]:
        """Return the exposures of answers, and count their arms. There are none if no split runs."""
        running = self._challenger.current
        if running is None or running.experiment.kind != "split":
            return []
        experiment = running.experiment
        exposures, counts = [], Counter[str]()
        for row in rows:
            model = row.layout.content_sha256
            if model not in (experiment.champion, experiment.challenger):
                continue
            if row.customer_id is None or is_blank(row.customer_id):
                counts[WITHOUT_ID] += 1
                continue
            arm = arm_of(experiment.id, experiment.share, row.customer_id)
            fell_back = arm == "challenger" and model == experiment.champion
            if fell_back:
                counts[FELL_BACK] += 1
            self._metrics.split_child(arm, row.layout.model_version).inc()
            exposures.append(
                Exposure(experiment.id, row.customer_id, row.id, microseconds(row.at), arm == "challenger", fell_back)
            )
        if counts:
            self._metrics.split_without_id.inc(counts[WITHOUT_ID])
            with self._lock:
                self._counts.setdefault(experiment.id, Counter()).update(counts)
        return exposures

    def write_counts(self, *, at_once: bool = False) -> None:
        """Add the counts to the experiments' details, and end one after its third slow answer. Call it from a thread.

        Counts without a slow answer are written every five seconds, or `at_once`.

        Raises
        ------
        JournalError
            If the database does not answer. The counts are written with the next call.
        """
        now = time.monotonic()
        for experiment, known in list(self._counts.items()):
            if not (at_once or known[SLOW]) and now - self._written_at < COUNT_SECONDS:
                continue
            with self._lock:
                counts = self._counts.pop(experiment)
            try:
                details = self._store.count(experiment, counts)
            except Exception:
                with self._lock:
                    self._counts.setdefault(experiment, Counter()).update(counts)
                raise
            self._written_at = now
            if details.get(SLOW, 0) >= MAX_SLOW:
                self._end(experiment)

    def _end(self, number: int) -> None:
        why = f"the challenger took longer than {1000 * self._limit:g} ms for a customer {MAX_SLOW} times"
        experiment = self._store.get(number)
        if experiment is not None and self._store.end(number, "stopped", "churnops serve", why):
            self._on_slow(experiment)


def _timed_answer(challenger: Served, records: Sequence[Record], key: str | None) -> tuple[Answers, float]:
    """Return the challenger's answers, and its processor time in seconds."""
    started = time.thread_time()
    done = answer(challenger, [challenger.form.read(dict(record)) for record in records], key)
    return done, time.thread_time() - started
