"""Texts of the Experiments page: the question, assignment, answer and needs of each experiment."""

from dataclasses import dataclass

from churnops.experiments.shadow import last_look
from churnops.experiments.split import REPORT, SplitReport
from churnops.journal.experiments import Experiment
from churnops.untrusted import mapping, text
from churnops.words import customers_text

NO_LOOK = "Nobody has looked at the evidence yet."


@dataclass(frozen=True)
class Entry:
    """An experiment in words."""

    experiment: Experiment
    question: str
    assignment: str
    answer: str
    needed: str

    @property
    def label(self) -> str:
        """Plain text for a list of choices."""
        e = self.experiment
        return f"{e.kind} {e.id}: version {e.version}, {e.state}, since {e.started_at:%Y-%m-%d}"


def entry_of(experiment: Experiment, report: SplitReport | None = None) -> Entry:
    """Describe an experiment; `report` is the present report of a split, if it was made."""
    if experiment.kind == "shadow":
        return _shadow(experiment)
    question = (
        f"Do fewer customers leave if {experiment.challenger_name} answers them instead of {experiment.champion_name}?"
    )
    assignment = f"the challenger answers {customers_text(experiment.share)}, by a hash of their ids"
    if report is not None:
        return Entry(experiment, question, assignment, report.answer, report.needed)
    kept = text(mapping(experiment.details.get(REPORT)).get("answer"))
    answer = kept or "Choose it below to see its report."
    return Entry(experiment, question, assignment, answer, "")


def _shadow(experiment: Experiment) -> Entry:
    question = f"Does {experiment.challenger_name} predict better than {experiment.champion_name}?"
    assignment = f"both score {customers_text(experiment.share)}; the champion answers"
    look = last_look(experiment)
    if look is None:
        return Entry(experiment, question, assignment, NO_LOOK, "")
    interval = "" if look.low is None or look.high is None else f" (gain between {look.low:+.4f} and {look.high:+.4f})"
    needed = ""
    if experiment.state == "running" and look.labels_needed is not None:
        days = "" if look.days_needed is None else f", due in about {look.days_needed:,} days"
        needed = f"A gain of this size needs about {look.labels_needed:,} more outcomes{days}."
    return Entry(experiment, question, assignment, f"{look.verdict.capitalize()}: {look.reason}{interval}", needed)
