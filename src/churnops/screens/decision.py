"""Screens of the decision policy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from churnops.screens.layout import line, plain, table_of, time_text
from churnops.words import percent

if TYPE_CHECKING:
    from churnops.decision.choice import Choice, Profit
    from churnops.decision.policy import DecisionPolicy
    from churnops.model import Bundle
    from churnops.pipelines.choose_policy import ChosenPolicy


def policy_document(policy: "DecisionPolicy", bundle: "Bundle | None") -> dict[str, Any]:
    """Return a policy for `--json`, with the threshold in force and its errors in the model's evaluation."""
    from churnops.evaluation.labelled_scores import LabelledScores

    scores = None if bundle is None else LabelledScores.read(bundle.metrics)
    return {
        **policy.model_dump(mode="json"),
        "rule": policy.rule,
        "limit": policy.limit,
        "break_even": policy.break_even,
        "threshold_in_force": policy.threshold if bundle is None else bundle.threshold,
        "own_threshold": None if bundle is None else bundle.own_threshold,
        "evaluated": None if scores is None or bundle is None else scores.confusion(bundle.threshold),
    }


def show_policy(policy: "DecisionPolicy", bundle: "Bundle | None", console: Console | None = None) -> None:
    """Print a policy in words, with the customers that it flags in the model's evaluation."""
    console = console or Console()
    if policy.is_set:
        set_by = f" by {policy.by}, {time_text(policy.at)} UTC: {policy.reason}"
        line(console, f"Decision policy {policy.version}", set_by)
    else:
        line(console, "Decision policy", ": nobody has set one, so the threshold of the deployed model counts")
    for label, text in policy_lines(policy, bundle):
        line(console, "", f"  {label:<16}{text}")


def policy_lines(policy: "DecisionPolicy", bundle: "Bundle | None") -> list[tuple[str, str]]:
    """Return the parts of a policy in words, each with its label."""
    from churnops.decision.proposal import flagged_text
    from churnops.evaluation.labelled_scores import LabelledScores

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
        value = f"the column {policy.value}" if isinstance(policy.value, str) else policy.amount(policy.value)
        success = percent(policy.success_rate or 0.0)
        assumed = f"{success} of the contacted customers who would leave stay"
        lines.append(("Offer", f"cost {policy.amount(policy.cost)}, value {value}, {assumed}"))
    if policy.break_even is not None:
        lines.append(("A contact pays", f"from a probability of {policy.break_even:.2g}"))
    return lines


def show_policies(versions: "Sequence[DecisionPolicy]", console: Console | None = None) -> None:
    """Print the versions of the policy, newest first."""
    console = console or Console()
    if not versions:
        console.print("Nobody has set a decision policy yet: type `churnops decision set --help`")
        return
    for policy in versions:
        terms = ", ".join(f"{name} {value}" for name, value in policy.terms().items()) or "threshold of the model"
        line(console, f"{policy.version:>4}", f"  {time_text(policy.at)} by {policy.by}: {terms}. {policy.reason}")


def show_choice(chosen: "ChosenPolicy", console: Console | None = None) -> None:
    """Print the profits of policies on customers with known outcomes, and the next command."""
    console = console or Console()
    choice, policy = chosen.choice, chosen.policy
    console.print(f"{choice.in_force.customers:,} {chosen.description}", highlight=False)
    offer = dict(policy_lines(policy, None))["Offer"]
    line(console, "Assumed", f": {offer}")
    numbers = ("contacts", "of them left", "profit", "at least", "at most")
    table = table_of(left=("policy",), right=numbers, wrapped=("policy", "of them left"))
    for profit in (choice.in_force, choice.best):
        table.add_row(plain(_policy_name(profit, choice)), *_numbers(profit))
    console.print(table)
    line(console, "Best threshold", f": {_gain(choice, policy)}")
    console.print("[bold]Lists of the customers with the highest expected profits")
    lists = table_of(left=("share of customers",), right=numbers, wrapped=("share of customers", "of them left"))
    for profit in choice.budgets:
        lists.add_row(profit.name, *_numbers(profit))
    console.print(lists)
    if choice.segments:
        console.print("[bold]Segments, under the policy")
        segments = table_of(left=("segment",), right=("customers", *numbers), wrapped=("segment", "of them left"))
        for profit in choice.segments:
            segments.add_row(plain(profit.name), f"{profit.customers:,}", *_numbers(profit))
        console.print(segments)
    console.print(f"Each table: all intervals hold together with {percent(choice.confidence)} confidence.")
    console.print("Next: churnops decision set --help", highlight=False)


def _numbers(profit: "Profit") -> tuple[str, ...]:
    amounts = (profit.profit, profit.low, profit.high)
    return f"{profit.contacts:,}", f"{profit.left:,}", *(f"{amount:,.0f}" for amount in amounts)


def _policy_name(profit: "Profit", choice: "Choice") -> str:
    if profit is choice.best and choice.threshold is not None:
        return f"{profit.name} ({choice.threshold:.4g})"
    return profit.name


def _gain(choice: "Choice", policy: "DecisionPolicy") -> str:
    value, low, high = choice.gain
    if choice.best.contacts == 0:
        return "contact nobody: the offer costs more than it brings"
    if low <= 0.0:
        return "no threshold is proven better than the one in force"
    more = f"{policy.amount(round(value))} more than with the threshold in force ({low:,.0f} to {high:,.0f})"
    return f"{more}, after the correction for choosing it on these customers"
