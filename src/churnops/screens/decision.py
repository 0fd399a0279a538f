"""Screens of the decision policy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console

from churnops.screens.layout import line, plain, table_of, time_text
from churnops.words import percent

if TYPE_CHECKING:
    from churnops.decision.choice import Profit
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
    from churnops.decision.policy_text import policy_lines

    console = console or Console()
    if policy.is_set:
        set_by = f" by {policy.by}, {time_text(policy.at)} UTC: {policy.reason}"
        line(console, f"Decision policy {policy.version}", set_by)
    else:
        line(console, "Decision policy", ": nobody has set one, so the threshold of the deployed model counts")
    for label, text in policy_lines(policy, bundle):
        line(console, "", f"  {label:<16}{text}")


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
    from churnops.decision.policy_text import advice, assumptions

    console = console or Console()
    choice, policy = chosen.choice, chosen.policy
    console.print(f"{choice.in_force.customers:,} {chosen.description}", highlight=False)
    line(console, "Assumed", f": {assumptions(policy)}")
    numbers = ("contacts", "of them left", "profit", "at least", "at most")
    table = table_of(left=("policy",), right=numbers, wrapped=("policy", "of them left"))
    named = {"best": choice.best, "contact everyone": choice.everybody, "contact nobody": choice.nobody}
    if choice.threshold is not None:
        named = {f"best threshold ({choice.threshold:.4g})": named.pop("best")} | named
    for name, profit in ({"policy in force": choice.in_force} | named).items():
        table.add_row(plain(name), *_numbers(profit))
    console.print(table)
    line(console, "Advice", f": {advice(choice, policy)}")
    console.print("[bold]Lists of the customers with the highest expected profits")
    lists = table_of(left=("share",), right=("budget", *numbers), wrapped=("of them left",))
    for profit in choice.budgets:
        cost = f"{profit.contacts * (policy.cost or 0):,.0f}"
        lists.add_row(percent(float(profit.name)), cost, *_numbers(profit))
    console.print(lists)
    if choice.segments:
        console.print("[bold]Segments, under the policy in force")
        segments = table_of(left=("segment",), right=("customers", *numbers), wrapped=("segment", "of them left"))
        for profit in choice.segments:
            segments.add_row(plain(profit.name), f"{profit.customers:,}", *_numbers(profit))
        console.print(segments)
    console.print(f"Each table: all intervals hold together with {percent(choice.confidence)} confidence.")
    console.print("Next: churnops decision set --help", highlight=False)


def _numbers(profit: "Profit") -> tuple[str, ...]:
    amounts = (profit.profit, profit.low, profit.high)
    return f"{profit.contacts:,}", f"{profit.left:,}", *(f"{amount:,.0f}" for amount in amounts)
