"""The service behind all requests: settings, model, journal, access, metrics."""

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count

from churnops.api.challenger import ServedChallenger
from churnops.api.feast import FeastServer
from churnops.api.live import LiveDrift
from churnops.api.metrics import Metrics
from churnops.api.predictions import Recorder
from churnops.api.presence import Presence
from churnops.api.security import Access
from churnops.api.served import ServedModel
from churnops.api.shadow import Shadow
from churnops.api.split import SplitAnswers
from churnops.api.stopping import CLOSE_SECONDS
from churnops.api.uploads.answer import Uploads
from churnops.api.work import Threads, Work
from churnops.decision.in_force import newest_policy
from churnops.decision.policy import DecisionPolicy
from churnops.errors import ChurnopsError
from churnops.experiments.shadow import last_look, look_at
from churnops.journal.database import is_sqlite_file
from churnops.journal.experiments import Experiment
from churnops.journal.exposures import sort_exposures
from churnops.journal.newest_scores import follow_predictions
from churnops.journal.partitions import ensure_partitions
from churnops.journal.profiles import ProfileStore
from churnops.journal.seen import sort_customers
from churnops.journal.sqlite_log import SqliteLog
from churnops.journal.writer import JournalWriter
from churnops.project import Project
from churnops.registry.store_place import StorePlace
from churnops.settings import LIVE, Settings

log = logging.getLogger("churnops.api")

MAX_PENDING = 20_000  # uncommitted rows; at least two of the longest lists fit
MAX_SOURCES = 50  # in /metrics, in addition to live traffic
LOOK_SECONDS = 0.5  # between two checks for a new deployment
STORE_SECONDS = 2.0  # between two looks at an object store of models
COPY = "the copy of the deployed model"
KEY_SECONDS = 2.0  # between two reads of the API keys
POLICY_SECONDS = 2.0  # between two reads of the decision policy
EVIDENCE_EVERY = timedelta(hours=1)  # between two looks at a shadow's evidence, over all processes
ARMS_SECONDS = 3600.0  # between two looks at the arms of a split
SORTED_PARTS = 50  # limit of the parts that one round of `watch` sorts or reads; a part has 2,000 customers
SORT_PAUSE_SECONDS = 0.05
CHECK_SECONDS = 5.0  # limit for the journal's answer to a readiness check
WATCH_SECONDS = 10.0  # between two rounds of `watch`
CLOCK_LOOKS = 6  # every sixth round of `watch` searches the journal for entries dated ahead


class Service:
    """Shared state of all requests: settings, model, journal, access, metrics."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        # Commits without a flush are fast enough for the event loop. Moving SQLite's log flushes: a thread does that.
        inline = settings.journal.durability == "process"
        self.project = project = Project(settings, durability=settings.journal.durability, moves_log=not inline)
        self._log = SqliteLog(project.engine) if is_sqlite_file(project.engine) else None
        self.journal = project.journal
        self._writer = None
        if settings.journal.predictions:
            self._writer = JournalWriter(
                project.engine,
                timeout=settings.api.timeout_seconds,
                inline=inline,
                max_pending=max(MAX_PENDING, 2 * settings.api.max_batch_rows),
            )
        self.access = Access(project.keys, settings.api.rate_limit, settings.api.require_key)
        self.work = Work(settings.api.max_body_bytes)
        self.model = ServedModel(project.models, self.work.housekeeping, simulated=settings.demonstration)
        self._place = project.place
        self.challenger = ServedChallenger(project.experiments, self._place, simulated=settings.demonstration)
        seconds = settings.api.challenger_milliseconds / 1000
        self.split = SplitAnswers(self.challenger, project.experiments, metrics, seconds, self._announce_slow)
        self.shadow = Shadow(self.challenger, project.experiments, project.shadow_scores, self._writer, metrics.shadow)
        self.recorder = Recorder(
            self._writer, metrics, self.split.exposures, self.shadow.add, required=settings.journal.required
        )
        self._presence = Presence(project.replicas, self.model, self._place, lambda: self._failing.get(COPY))
        self._question: asyncio.Future[None] | None = None
        self.live = None
        if settings.api.live_drift:
            self.live = LiveDrift(ProfileStore(project.engine), settings.monitoring, metrics.live)
        self.feast = FeastServer.of(settings)
        self.uploads = Uploads(
            self.recorder, self.split, settings.api, self.work, self.live, safe_csv=settings.safe_csv
        )
        self._policy_lock = asyncio.Lock()  # otherwise a slow read could bring an older policy back
        self._failing: dict[str, str] = {}
        self._stopping = False
        self._next_check = 0.0  # of the split's arms
        self.entries_ahead: tuple[str, ...] = ()

    async def keep_house(self) -> None:
        """Do the background work until cancelled: deployments, keys, decision policy, journal, monitoring."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.look())
            group.create_task(self.follow_keys())
            group.create_task(self.follow_policy())
            group.create_task(self.follow_place())
            group.create_task(self.watch())
            group.create_task(self.report())
            group.create_task(self.follow_experiment())
            group.create_task(self.shadow.score_always())
            if self.live is not None:
                group.create_task(self.live.count_always(self.work.housekeeping))

    async def refresh_keys(self) -> None:
        """Read the API keys."""
        await self.work.housekeeping.run(self.access.refresh)

    async def follow_keys(self) -> None:
        """Read new and revoked keys until cancelled; if that fails, the known keys stay valid."""
        while True:
            await self._watch("the list of API keys", self.access.refresh)
            await asyncio.sleep(KEY_SECONDS)

    async def refresh_policy(self) -> None:
        """Read the decision policy; if that fails, the known policy stays in force."""
        async with self._policy_lock:
            policy = await self.work.housekeeping.run(self._read_policy)
            if policy is not None and policy != self.model.policy:
                self.model.decide(policy)
                self.challenger.decide(policy)
                log.info("decision policy %d is in force", policy.version)

    async def follow_policy(self) -> None:
        """Follow changes of the decision policy until cancelled."""
        while True:
            await asyncio.sleep(POLICY_SECONDS)
            await self.refresh_policy()

    def _read_policy(self) -> DecisionPolicy | None:
        read: list[DecisionPolicy] = []
        self._attempt("the decision policy", lambda: read.append(newest_policy(self.project.policies)))
        return read[0] if read else None

    async def follow_place(self) -> None:
        """Copy deployments from an object store until cancelled; if that fails, the loaded model stays."""
        if isinstance(place := self._place, StorePlace):
            while True:
                await self._watch(COPY, place.follow)
                await asyncio.sleep(STORE_SECONDS)

    async def follow_experiment(self) -> None:
        """Follow the running experiment until cancelled; if that fails, the known one stays."""
        while True:
            await self.refresh_challenger()
            await self._watch("the counts of the split", self.split.write_counts)
            await asyncio.sleep(LOOK_SECONDS)

    async def refresh_challenger(self) -> None:
        """Read the running experiment, and load its challenger."""
        await self._watch("the running experiment", self.challenger.refresh)

    def _announce_slow(self, experiment: Experiment) -> None:
        """Send the alert that a split has ended because its challenger is slow."""
        from churnops.alerting.alarms import slow_challenger
        from churnops.alerting.alerts import Alerts

        alarm = slow_challenger(experiment.challenger_name, experiment.champion_name, experiment.id)
        Alerts.of(self.settings, self.project.alerts).announce(alarm)

    async def look(self) -> None:
        """Follow deployments until cancelled."""
        while True:
            try:
                await self.refresh_model()
            except Exception:  # of any kind: the next deployment may succeed
                log.exception("the check for a new deployment failed")
            self._attempt("the metrics of the process", self._show_process)
            if self._log is not None:
                self._attempt("SQLite's log", self._log.rest)
            await asyncio.sleep(LOOK_SECONDS)

    async def report(self) -> None:
        """Report to the table of replicas which model answers, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)  # first, because the address is known once the process listens
            if self._presence.is_due():
                await self._watch("the table of replicas", self._presence.report)

    async def watch(self) -> None:
        """Show live drift and the newest monitoring cycle, and check and sort the journal, until cancelled."""
        for look in count():
            if look % CLOCK_LOOKS == 0:
                await self._watch("the check of the journal's times", self._check_times)
                await self._watch("the partitions of the journal", self._make_partitions)
            await self._watch("the newest monitoring cycle", self._show_cycle)
            await self._watch("the evidence of the shadow", self._show_shadow)
            await self._watch("the check of the split's arms", self._check_arms)
            await self._watch("the table of customers with a prediction", self._sort_customers)
            await self._watch("the table of newest scores", self._follow_predictions)
            await self._watch("the table of exposures", self._sort_exposures)
            if (live := self.live) is not None:
                await self._watch("live drift", partial(live.merge, self.model.current))
            await asyncio.sleep(WATCH_SECONDS)

    async def _watch(self, what: str, work: Callable[[], None]) -> None:
        await self.work.housekeeping.run(self._attempt, what, work)

    def _attempt(self, what: str, work: Callable[[], None]) -> None:
        """Call `work`; log a failure, and again only if its reason changes. Gauges of times show the age of values."""
        try:
            work()
        except Exception as error:  # of any kind: the watch continues
            if self._failing.get(what) != str(error):
                self._failing[what] = str(error)
                log.error("%s is not up to date: %s", what, error, exc_info=not isinstance(error, ChurnopsError))
        else:
            if what in self._failing:
                del self._failing[what]
                log.info("%s is up to date again", what)

    def _check_times(self) -> None:
        known, self.entries_ahead = self.entries_ahead, self.project.entries_ahead()
        if self.entries_ahead and not known:
            for message in self.entries_ahead:
                log.warning("%s", message)

    def _show_process(self) -> None:
        self.metrics.process.show(self._writer.pending if self._writer else 0)

    def _show_cycle(self) -> None:
        since = datetime.now(UTC) - timedelta(days=1)
        cycles = self.project.cycles
        newest = cycles.newest(source=LIVE)
        finished = cycles.newest(status="finished", source=LIVE)
        model = self.model.current
        own = cycles.newest(status="finished", source=LIVE, content_sha256=model.bundle.content_sha256) if model else []
        self.metrics.cycle.show(
            own[0].summary if own else None,
            finished[0].at if finished else None,
            failed=bool(newest) and newest[0].status == "failed",
            undelivered=self.project.alerts.undelivered(since),
        )
        others = [name for name in cycles.sources() if name != LIVE][:MAX_SOURCES]
        self.metrics.cycle.show_sources({c.source: c for name in others for c in cycles.newest(source=name)})

    def _show_shadow(self) -> None:
        """Show the newest look at the running shadow; take one if it is old, which may end the shadow."""
        running = self.project.experiments.running("shadow")
        look = last_look(running) if running else None
        if running and (look is None or datetime.now(UTC) - look.at > EVIDENCE_EVERY):
            look = look_at(self.project, running)
        self.metrics.shadow.show(look, running=running is not None)

    def _check_arms(self) -> None:
        """Look at the numbers of customers in the running split's arms every hour, and send an alert of a mismatch."""
        running = self.challenger.current
        if running is None or running.experiment.kind != "split" or time.monotonic() < self._next_check:
            return
        from churnops.experiments.ratio_alert import alert_mismatch

        self._next_check = time.monotonic() + ARMS_SECONDS
        alert_mismatch(self.project, running.experiment)

    def _make_partitions(self) -> None:
        ensure_partitions(self.project.engine, datetime.now(UTC))

    def _sort_customers(self) -> None:
        """Sort newly recorded customers into the set that `journal.seen` keeps, with pauses for other writers."""
        self._in_parts(partial(sort_customers, self.project.engine))

    def _follow_predictions(self) -> None:
        """Keep each customer's newest score in the table that call lists are made of, from the first list on."""
        column = newest_policy(self.project.policies).value_column
        self._in_parts(partial(follow_predictions, self.project.engine, column, begin=False))

    def _sort_exposures(self) -> None:
        """Sort new exposures into the table that reports of a split read."""
        self._in_parts(partial(sort_exposures, self.project.engine))

    def _in_parts(self, work: Callable[[], bool]) -> None:
        for _ in range(SORTED_PARTS):
            if self._stopping or not work():
                break
            time.sleep(SORT_PAUSE_SECONDS)

    async def refresh_model(self, *, again: bool = False) -> None:
        """Load a new deployment, and set the metrics of the loaded model."""
        await self.model.refresh(again=again)
        current = self.model.current
        self.metrics.model(current.version if current else None, self.model.refused is not None)

    async def check_journal(self) -> None:
        """Check that predictions can be written; one check at a time, so a hanging database blocks one thread only.

        Raises
        ------
        JournalError
            If predictions cannot be written.
        TimeoutError
            If the check takes too long.
        """
        if self._writer is not None:
            self._writer.check_waiting()
        if self._question is None or self._question.done():
            self._question = asyncio.ensure_future(self.work.housekeeping.run(self._check_journal))
        seconds = min(CHECK_SECONDS, self.settings.api.timeout_seconds)
        done, _ = await asyncio.wait({self._question}, timeout=seconds)
        if not done:
            raise TimeoutError
        self._question.result()

    def _check_journal(self) -> None:
        self.journal.check()
        if self._writer is not None:
            self._writer.check()

    async def stop(self) -> None:
        """Close the service. Wait at most `CLOSE_SECONDS` for the journal: acknowledged rows are committed already."""
        self._stopping = True
        closing = Threads("closing", 1)  # as the other threads may hang
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await closing.run(self._close)
        except TimeoutError:
            log.error("the journal did not close within %g seconds: the service stops anyway", CLOSE_SECONDS)
        closing.close()
        self.work.close()
        if self.feast is not None:
            self.feast.close()

    def _close(self) -> None:
        """Commit waiting rows and close the database."""
        if self._writer is not None:
            self._writer.close()
        if self.live is not None:
            self.live.close()
        self.work.housekeeping.finish()  # housekeeping reads the files that are closed next
        self._attempt("the table of replicas", self._presence.leave)
        self._attempt("the counts of the split", partial(self.split.write_counts, at_once=True))
        self.split.close()
        self._attempt("the list of the shadow", self.shadow.close)  # late, because a challenger may hang
        if self._log is not None:
            self._log.close()
        self.project.close()
