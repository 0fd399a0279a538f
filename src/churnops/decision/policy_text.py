"""Decision policies and their profits in words, for the command and the dashboard."""

from churnops.decision.choice import Choice
from churnops.decision.policy import DecisionPolicy
from churnops.decision.proposal import flagged_text
from churnops.evaluation.labelled_scores import LabelledScores
from churnops.model import Bundle
from churnops.words import percent


def policy_lines(policy: DecisionPolicy, bundle: Bundle | None) -> list[tuple[str, str]]:
    """Return the parts of a policy in words, each with its label."""
    own = "no model is deployed" if bundle is None else f"the model proposes {bundle.own_threshold:.4g}"
    threshold = "that of the model" if policy.threshold is None else f"{policy.threshold:.4g}"
    lines = [("Threshold", f"{threshold} ({own})")]
    scores = None if bundle is None else LabelledScores.read(bundle.metrics)
    if bundle is not None and scores is not None:
        lines.append(("Evaluation", f"the policy {flagged_text(scores, bundle.threshold)}"))
    limit = "every customer at or above the threshold"
    if policy.limit is not None:
        limit = f"the {policy.limit:,} customers with the highest expected profits"
    if policy.budget is not None:
        limit += f" ({policy.amount(policy.budget)})"
    lines.append(("Call list", limit))
    if not policy.missing_terms():
        lines.append(("Offer", assumptions(policy)))
    if policy.break_even is not None:
        lines.append(("A contact pays", f"from a probability of {policy.break_even:.2g}"))
    return lines


def assumptions(policy: DecisionPolicy) -> str:
    """Return cost, value and success rate in words; the policy has all three."""
    value = f"the column {policy.value}" if isinstance(policy.value, str) else policy.amount(policy.value)
    success = percent(policy.success_rate or 0.0)
    return (
        f"cost {policy.amount(policy.cost)}, value {value}, {success} of the contacted customers who would leave stay"
    )


def advice(choice: Choice, policy: DecisionPolicy) -> str:
    """Compare the best policy with the one in force, in one sentence."""
    value, low, high = choice.gain
    more = (
        f"about {policy.amount(round(value))} more than the policy in force (between {low:,.0f} and {high:,.0f}), "
        "after the correction for picking the best of many"
    )
    if low <= 0.0:
        return "Keep the policy in force: no other one is proven better. A difference may be chance."
    if choice.best.contacts == 0:
        return f"Contact nobody: with these assumptions a contact costs more than it brings. This brings {more}."
    if choice.threshold is None:
        return f"Contact the {choice.best.contacts:,} customers with the highest probabilities: this brings {more}."
    return f"Contact every customer with a probability of at least {percent(choice.threshold)}: this brings {more}."
