"""Evidence of a shadow: customers enter on the day their label horizon ends, and every day is a look.

Leavers enter on that day too, although their outcome may be known earlier. Otherwise the first customers would all be
leavers. Each customer enters once, with the first score. All looks use the outcomes that are known now: a late or
corrected outcome counts on the day it was due.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from churnops.experiments.budget import shadow_level
from churnops.experiments.evidence import FUTILITY_LEVEL, MIN_COVERAGE, MIN_OF_EACH, EndRules, Looks, labels_needed
from churnops.experiments.experiment import CONTACTS
from churnops.experiments.sequence import Floats, log_losses
from churnops.journal.experiments import Experiment, State
from churnops.journal.shadow_scores import DueScores
from churnops.project import Project
from churnops.schema import is_blank
from churnops.settings import RetrainingSettings
from churnops.settings.sections import MIN_IMPROVEMENTS
from churnops.wire import ShadowAnswer, ShadowLook, ShadowVerdict

MAX_CUSTOMERS = 200_000
"""Number of due customers after which no more are read: enough to end nearly every shadow."""
LOOK = "look"
"""Key of the newest look in an experiment's details."""
DROPPED = "dropped"
"""Key of the number of answered customers that the challenger did not score."""
_DAY = 86_400_000_000  # in microseconds
_EPOCH = date(1970, 1, 1)
_STATES: dict[str, State] = {"better": "success", "not better": "futility"}


def look_at(project: Project, experiment: Experiment, now: datetime | None = None) -> ShadowLook:
    """Judge a shadow by the outcomes that are known now, and record the look. A verdict ends a running shadow.

    Raises
    ------
    JournalError
        If the database does not answer.
    """
    now = now or datetime.now(UTC)
    customers = DueCustomers.read(project.shadow_scores.due(experiment.id, project.label_horizon, now))
    rules = shadow_rules(project, experiment)
    look = judge(customers, rules, project.label_horizon, now, project.shadow_scores.count(experiment.id))
    details = {LOOK: look.model_dump(mode="json")}
    if experiment.state != "running" or look.verdict not in _STATES:
        project.experiments.note(experiment.id, details)
    else:
        project.experiments.end(experiment.id, _STATES[look.verdict], "the evidence", look.reason, details)
    return look


def last_look(experiment: Experiment) -> ShadowLook | None:
    """Return the newest recorded look; None before the first."""
    kept = experiment.details.get(LOOK)
    return None if kept is None else ShadowLook.model_validate(kept)


def described(experiment: Experiment) -> ShadowAnswer:
    """Return a shadow as the API and the command show it."""
    given = {name: value for name, value in vars(experiment).items() if name in ShadowAnswer.model_fields}
    return ShadowAnswer.model_validate(
        given
        | {
            "champion": experiment.champion_name,
            "challenger": experiment.challenger_name,
            "dropped": experiment.details.get(DROPPED, 0),
            "look": last_look(experiment),
            "note": CONTACTS,
        }
    )


def shadow_rules(project: Project, experiment: Experiment) -> EndRules:
    """Return the rules of a shadow: the required gain, and its part of the champion's error budget."""
    options = project.settings.retraining
    level = shadow_level(project.experiments.place(experiment), options.confidence)
    return EndRules(required_log_loss(options), level)


def required_log_loss(options: RetrainingSettings) -> float:
    """Return the required gain in log loss: the setting if it is in log loss, else that metric's default."""
    return options.improvement if options.metric == "log_loss" else MIN_IMPROVEMENTS["log_loss"]


@dataclass(frozen=True)
class DueCustomers:
    """Due customers of a shadow in the order of their scores, each once; arrays of shape (n,).

    Attributes
    ----------
    at
        Time of the first score, in microseconds since 1970.
    churned
        1 churned, 0 stayed, NaN while unknown.
    known_at
        Time since which the outcome is known, in microseconds since 1970; 0 while unknown.
    champion, challenger
        Probabilities of churn.
    without_id
        Number of customers without an id; each prediction of theirs is a customer.
    """

    at: NDArray[np.int64]
    churned: Floats
    known_at: NDArray[np.int64]
    champion: Floats
    challenger: Floats
    without_id: int

    @classmethod
    def read(cls, pages: Iterable[DueScores]) -> "DueCustomers":
        """Keep the first score of each customer, up to `MAX_CUSTOMERS`."""
        seen: set[str] = set()
        without_id = 0
        times, scores = [np.empty((2, 0), np.int64)], [np.empty((3, 0))]
        for page in pages:
            first = []
            for row, (customer, id_) in enumerate(zip(page.customers, page.ids, strict=True)):
                named = customer is not None and not is_blank(customer)
                key = f"customer {customer}" if named else f"prediction {id_}"
                if key not in seen and len(seen) < MAX_CUSTOMERS:
                    seen.add(key)
                    first.append(row)
                    without_id += not named
            times.append(np.array([page.outcomes.at, page.outcomes.known_at])[:, first])
            scores.append(np.array([page.outcomes.churned, page.champion, page.challenger])[:, first])
            if len(seen) >= MAX_CUSTOMERS:
                break
        at, known_at = np.concatenate(times, axis=1)
        churned, champion, challenger = np.concatenate(scores, axis=1)
        return cls(at, churned, known_at, champion, challenger, without_id)


def judge(customers: DueCustomers, rules: EndRules, horizon: timedelta, now: datetime, scored: int) -> ShadowLook:
    """Judge the evidence at every day so far; the first day with a verdict decides.

    Parameters
    ----------
    scored
        Number of predictions that both models have scored, for the report.
    """
    due_at = customers.at + horizon // timedelta(microseconds=1)
    known = ~np.isnan(customers.churned)
    outcome = customers.churned[known]
    losses = [log_losses(outcome, scores[known]) for scores in (customers.champion, customers.challenger)]
    days, looks = _daily(due_at // _DAY, known, outcome, losses[0] - losses[1])
    ends = looks.success(rules) | looks.futility(rules)
    place = int(ends.argmax()) if ends.any() else len(days) - 1
    verdict, reason = _verdict(looks, place, rules, enough=bool(ends.any()))
    pairs = int(known.sum())
    needed = labels_needed(looks, rules) if verdict == "cannot tell" and pairs else None
    rate = pairs / max(len(days), 1)
    return ShadowLook(
        at=now,
        verdict=verdict,
        reason=reason,
        decided_on=_EPOCH + timedelta(days=int(days[place])) if ends.any() else None,
        scored=scored,
        due=due_at.size,
        labelled=pairs,
        churned=int(outcome.sum()),
        late=int((customers.known_at[known] > due_at[known] + _DAY).sum()),
        without_id=customers.without_id,
        champion_log_loss=float(losses[0].mean()) if pairs else None,
        challenger_log_loss=float(losses[1].mean()) if pairs else None,
        gain=float(looks.gain[-1]) if pairs else None,
        low=float(looks.lower(rules.level)[-1]) if pairs else None,
        high=float(looks.upper(FUTILITY_LEVEL)[-1]) if pairs else None,
        required_gain=rules.required_gain,
        level=rules.level,
        futility_level=FUTILITY_LEVEL,
        labels_needed=needed,
        days_needed=None if needed is None else int(np.ceil(needed / rate)),
    )


def _daily(
    day: NDArray[np.int64], known: NDArray[np.bool_], outcome: Floats, difference: Floats
) -> tuple[NDArray[np.int64], Looks]:
    """Return the days on which customers were due, and a look at the end of each."""
    days, starts = np.unique(day, return_index=True)
    ends = np.append(starts[1:], day.size)[: days.size]
    pairs = np.append(0, known.cumsum())[ends]
    churned, total, squares = (
        np.append(0.0, values.cumsum())[pairs] for values in (outcome, difference, difference**2)
    )
    return days, Looks(ends.astype(np.float64), pairs.astype(np.float64), churned, total, squares)


def _verdict(looks: Looks, place: int, rules: EndRules, *, enough: bool) -> tuple[ShadowVerdict, str]:
    """Return the verdict at a look, and its reason; `enough` is whether the look has one."""
    if not looks.pairs.size:
        return "cannot tell", "no customer's label horizon has ended yet"
    due, pairs, churned = (int(values[place]) for values in (looks.due, looks.pairs, looks.churned))
    if pairs < MIN_COVERAGE * due:
        known = f"the outcomes of {pairs:,} of {due:,} due customers are known"
        return "cannot tell", f"{known}, and {MIN_COVERAGE:.0%} are needed: the others may differ"
    if min(churned, pairs - churned) < MIN_OF_EACH:
        known = f"{pairs:,} outcomes are known ({churned:,} churned, {pairs - churned:,} stayed)"
        return "cannot tell", f"{known}, and at least {MIN_OF_EACH} of each are needed"
    gain, low, high = (float(v[place]) for v in (looks.gain, looks.lower(rules.level), looks.upper(FUTILITY_LEVEL)))
    change = f"lower by {gain:.4f}" if gain >= 0 else f"higher by {-gain:.4f}"
    measured = f"log loss is {change} nat on {pairs:,} customers ({churned:,} churned)"
    required = f"the required {rules.required_gain:g}"
    if not enough:
        between = f"the gain is between {low:.4f} and {high:.4f}"
        return "cannot tell", f"{measured}: {between}, so {required} is neither proven nor excluded"
    if looks.success(rules)[place]:
        sure = f"{100 * (1 - rules.level):.3g} % confidence at all looks together"
        return "better", f"{measured}: the gain is above {required}, and at least {low:.4f} ({sure})"
    return "not better", f"{measured}: the gain is at most {high:.4f}, below {required}"
