"""Comparison of a model's own threshold with the decision policy, which stays until people change it."""

from churnops.decision.policy import DecisionPolicy
from churnops.evaluation.labelled_scores import LabelledScores
from churnops.model import Bundle


def proposal(policy: DecisionPolicy, model: Bundle, deployed: Bundle | None) -> str:
    """Describe the difference between the policy and the threshold that a new model proposes; empty if there is none.

    Parameters
    ----------
    deployed
        The model that the new one may replace.
    """
    if problem := policy.value_problem(model.schema):
        return f"no call lists with this model: {problem}"
    own = model.own_threshold
    if not policy.is_set or policy.threshold == own:
        return ""
    if policy.threshold is None:
        before = None if deployed is None else deployed.own_threshold
        if before is None or before == own:
            return ""
        return f"decision policy {policy.version} follows the model: its threshold is {own:.4g}, it was {before:.4g}"
    stays = f"decision policy {policy.version} stays, with the threshold {policy.threshold:.4g}"
    return f"{stays}; this model proposes {own:.4g}{_flagged(model, policy.threshold, own)}"


def flagged_text(scores: LabelledScores, threshold: float) -> str:
    """Return the numbers of flagged customers, and of those among them who left.

    >>> flagged_text(LabelledScores.of([0, 1, 0, 1], [0.1, 0.4, 0.4, 0.8]), 0.4)
    'flags 3 of 4 customers, and 2 of the 2 who left'
    """
    counts = scores.confusion(threshold)
    flagged, left = counts["tp"] + counts["fp"], counts["tp"] + counts["fn"]
    return f"flags {flagged:,} of {sum(counts.values()):,} customers, and {counts['tp']:,} of the {left:,} who left"


def _flagged(model: Bundle, threshold: float, own: float) -> str:
    scores = LabelledScores.read(model.metrics)
    if scores is None:
        return ""
    return f" (in its evaluation the policy {flagged_text(scores, threshold)}; {own:.4g} {flagged_text(scores, own)})"
