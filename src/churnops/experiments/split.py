"""Splits: the challenger answers a share of the customers, and the outcomes of both arms are compared."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from churnops.errors import ChurnopsError, RegistryError
from churnops.experiments.assignment import challengers
from churnops.experiments.experiment import CONTACTS, start_experiment
from churnops.experiments.rates import RateDifference, rate_difference, rate_interval
from churnops.experiments.sample_ratio import SampleRatio, judge_ratio
from churnops.journal.arm_outcomes import ArmCount
from churnops.journal.experiments import Experiment
from churnops.model import Bundle
from churnops.model.sent import SentBundle
from churnops.project import Project
from churnops.registry import Registry
from churnops.registry.approval import approver_of
from churnops.registry.folder import who
from churnops.scoring.arms import Arms, no_challenger
from churnops.tracking import Tracker

REPORT = "report"
"""Name of the last report among the details of an ended split."""


def start_split(project: Project, version: int, share: float, why: str, by: str | None = None) -> Experiment:
    """Let a registered version answer a share of the customers from now on.

    Parameters
    ----------
    share
        Share of the customers, in (0, 1).
    by
        Who starts it. Default: the user of this process, or the key that `registry.approval` asks for.

    Raises
    ------
    ChurnopsError
        If the version cannot be a challenger (see `start_experiment`), an experiment is running, or the approval is
        missing. Nothing is started then.
    """
    if not 0 < share < 1:
        raise RegistryError(f"the share {share:g} leaves an arm without customers: give a number between 0 and 1")
    approver = approver_of(project.settings, project.keys)
    registry = Registry(Tracker(project.settings), project.folder)
    challenger = registry.bundle(version)
    with registry.deployed.locked():
        _check_arms(project.require_deployed(), challenger, version)
        started_by = by or (f"{approver} (API key)" if approver else who())
        return start_experiment(project, "split", challenger, version, share, started_by, why)


def _check_arms(champion: Bundle, challenger: Bundle, version: int) -> None:
    """Refuse a challenger that identifies customers by another column, or has other personal columns."""
    ours, theirs = champion.schema, challenger.schema
    ids = [schema.identifier.name if schema.identifier else "none" for schema in (ours, theirs)]
    if ids[0] != ids[1]:
        raise RegistryError(
            f"version {version} has the id column {ids[1]}, and the deployed model {ids[0]}: a customer needs one arm"
        )
    if ours.personal != theirs.personal:
        names = ", ".join(sorted(ours.personal ^ theirs.personal))
        raise RegistryError(f"version {version} and the deployed model differ in the personal columns: {names}")


def stop_split(project: Project, why: str, by: str | None = None) -> Experiment:
    """End the running split at once, in every process; its last report stays in the journal.

    Raises
    ------
    RegistryError
        If no split is running.
    """
    running = project.experiments.running("split")
    if running is None:
        raise RegistryError("no split is running: `churnops split start VERSION --share 0.2` starts one")
    project.experiments.end(running.id, "stopped", by or who(), why)
    project.experiments.note(running.id, {REPORT: report_of(project, running).to_json()})
    ended = project.experiments.get(running.id)
    assert ended is not None
    return ended


def find_split(project: Project, number: int | None = None) -> Experiment:
    """Return a split by its number; by default the newest.

    Raises
    ------
    RegistryError
        If there is no such split.
    """
    if number is None:
        newest = project.experiments.newest(kind="split")
        if not newest:
            raise RegistryError("there was no split yet: `churnops split start VERSION --share 0.2` starts one")
        return newest[0]
    experiment = project.experiments.get(number)
    if experiment is None or experiment.kind != "split":
        raise RegistryError(f"experiment {number} is no split: `churnops split report` shows the newest")
    return experiment


@dataclass(frozen=True)
class RunningSplit:
    """The running split as commands need it that score files; `message` is None, or why the champion scores all."""

    experiment: Experiment
    arms: Arms
    message: str | None


def running_split(project: Project, champion: Bundle) -> RunningSplit | None:
    """Return the running split of the deployed model, with its challenger; None if there is none."""
    running = project.experiments.running("split")
    if running is None or running.champion != champion.content_sha256:
        return None
    try:
        project.place.fetch(running.folder, running.challenger)
        challenger = project.decided(Bundle.load(project.place.versions / running.folder))
        if challenger.content_sha256 != running.challenger:
            raise RegistryError(f"{running.folder} has another model")
    except ChurnopsError as error:
        message = f"the challenger of split {running.id} cannot be loaded, the deployed model scores all: {error}"
        return RunningSplit(running, Arms(running.id, running.share, challengers, no_challenger), message)
    load = SentBundle.of(challenger).load
    return RunningSplit(running, Arms(running.id, running.share, challengers, load), None)


@dataclass(frozen=True)
class ArmReport:
    """One arm of a split.

    Attributes
    ----------
    model_version
        Model that answers the arm.
    customers
        Number of customers, each counted once.
    fell_back
        Number of those whom the champion answered first in the challenger's place.
    due, known, churned
        Numbers of the customers whose horizon has ended, of those of them with a known outcome, and of those who left.
    rate, low, high
        Churn rate, and an interval that holds at all looks together; `rate` is None without outcomes.
    """

    model_version: str
    customers: int
    fell_back: int
    due: int
    known: int
    churned: int
    rate: float | None
    low: float
    high: float


@dataclass(frozen=True)
class SplitReport:
    """The state of a split.

    Attributes
    ----------
    ratio
        Test of the planned shares; None without customers.
    difference
        Churn rate of the challenger's arm minus the champion's; None with too few outcomes.
    days_needed
        Days until the outcomes that the difference needs are due, at the present rate; None if that is unknown.
    first_due
        Time at which the first outcomes are due.
    details
        Counts of the service: `without_id`, `fell_back`, `slow_answers`.
    """

    experiment: Experiment
    champion: ArmReport
    challenger: ArmReport
    ratio: SampleRatio | None
    difference: RateDifference | None
    days_needed: int | None
    first_due: datetime
    details: Mapping[str, Any]

    @property
    def answer(self) -> str:
        """The answer so far, in a sentence."""
        if self.ratio is not None and self.ratio.mismatch:
            return (
                f"The arms cannot be compared: their numbers of customers do not fit the share of "
                f"{self.experiment.share:g} (sample ratio mismatch, p = {self.ratio.p_value:.2g})."
            )
        if self.difference is None:
            return f"There are too few outcomes. The first are due on {self.first_due:%Y-%m-%d}."
        d = self.difference
        interval = f"{100 * d.value:+.2f} points, between {100 * d.low:+.2f} and {100 * d.high:+.2f}"
        if d.low > 0 or d.high < 0:
            return f"Customers of the challenger's arm churned {'more' if d.low > 0 else 'less'}: {interval}."
        return f"No difference in churn is certain yet: {interval}."

    @property
    def needed(self) -> str:
        """Outcomes that are still needed, in a sentence; empty if none are."""
        if self.experiment.state != "running" or self.difference is None:
            return ""
        labels = self.difference.labels_needed
        if labels is None:
            return (
                ""
                if self.difference.low > 0 or self.difference.high < 0
                else "The difference is too small to wait for."
            )
        days = "" if self.days_needed is None else f", due in about {self.days_needed:,} days"
        return f"A difference of this size needs about {labels:,} more outcomes{days}."

    @property
    def cautions(self) -> list[str]:
        """Sentences on customers who are not compared as planned, and on contacts."""
        without_id, slow = (int(self.details.get(name, 0)) for name in ("without_id", "slow_answers"))
        sentences = []
        if self.challenger.fell_back:
            sentences.append(
                f"{self.challenger.fell_back:,} customers of the challenger's arm were first answered by the deployed "
                "model, because the challenger failed. They stay in their arm."
            )
        if without_id:
            sentences.append(f"The deployed model answered {without_id:,} customers without an id. They are in no arm.")
        if slow:
            sentences.append(f"The challenger was too slow {slow:,} times.")
        return [*sentences, CONTACTS]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        document = asdict(self)
        del document["experiment"], document["details"]
        if self.ratio is not None:
            document["ratio"]["mismatch"] = self.ratio.mismatch
        e = self.experiment
        times = {"started_at": e.started_at, "ended_at": e.ended_at}
        names = ("id", "kind", "version", "share", "by", "why", "state", "ended_by", "ended_why")
        counts = {name: int(self.details.get(name, 0)) for name in ("without_id", "fell_back", "slow_answers")}
        return {
            **{name: getattr(e, name) for name in names},
            **{name: at.isoformat() if at else None for name, at in times.items()},
            **document,
            "first_due": self.first_due.isoformat(),
            **counts,
            "answer": self.answer,
            "needed": self.needed,
            "note": CONTACTS,
        }


def report_of(project: Project, experiment: Experiment, now: datetime | None = None) -> SplitReport:
    """Compare the arms of a split by the outcomes that are known now.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    now = now or datetime.now(UTC)
    outcomes = project.exposures.outcomes(experiment.id, project.label_horizon, now)
    counts = project.exposures.count(experiment.id)
    names = (experiment.champion_name, experiment.challenger_name)
    champion, challenger = (
        _arm(name, count, outcomes.churned[outcomes.challenger == arm])
        for name, count, arm in zip(names, counts, (False, True), strict=True)
    )
    known = ~np.isnan(outcomes.churned)
    difference = rate_difference(outcomes.challenger[known], outcomes.churned[known], experiment.share)
    sizes = counts[0].customers, counts[1].customers
    return SplitReport(
        experiment,
        champion,
        challenger,
        judge_ratio(*sizes, experiment.share) if sum(sizes) else None,
        difference,
        _days(difference, int(known.sum()), now - experiment.started_at - project.label_horizon),
        experiment.started_at + project.label_horizon,
        experiment.details,
    )


def _arm(name: str, count: ArmCount, churned: NDArray[np.float64]) -> ArmReport:
    known = churned[~np.isnan(churned)]
    left = int(known.sum())
    rate = left / known.size if known.size else None
    return ArmReport(name, *count, churned.size, known.size, left, rate, *rate_interval(left, known.size))


def _days(difference: RateDifference | None, known: int, since_first_due: timedelta) -> int | None:
    if difference is None or difference.labels_needed is None or not known or since_first_due <= timedelta():
        return None
    return ceil(difference.labels_needed / known * since_first_due / timedelta(days=1))
