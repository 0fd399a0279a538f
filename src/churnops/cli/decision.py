"""Commands of the decision policy: decision show, set, history, revert, choose."""

from collections.abc import Callable
from typing import Any

import click

from churnops.cli.completion import categories, completing, policies
from churnops.cli.models import reason_text
from churnops.cli.root import json_option, main, settings_of, show, show_done

why_option = click.option(
    "--why", required=True, callback=reason_text, metavar="TEXT", help="Reason, kept in the history."
)


_POLICY_OPTIONS = (
    click.option("--threshold", metavar="P", help="Lowest probability of a flagged customer; own: that of the model."),
    click.option("--budget", type=float, metavar="AMOUNT", help="Largest total cost of a call list."),
    click.option("--contacts", type=int, metavar="N", help="Largest number of customers of a call list."),
    click.option("--no-limit", is_flag=True, help="Neither a budget nor a number of contacts."),
    click.option("--cost", type=float, metavar="AMOUNT", help="Cost of contacting one customer."),
    click.option(
        "--value", metavar="AMOUNT|COLUMN", help="Value of a kept customer, or the number column that has it."
    ),
    click.option(
        "--success-rate", type=float, metavar="SHARE", help="Share of leaving customers whom a contact keeps."
    ),
    click.option("--currency", metavar="WORD", help="Currency of all amounts, such as EUR."),
)


def policy_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a policy to a command, which passes them on to `_changes`."""
    for option in reversed(_POLICY_OPTIONS):
        command = option(command)
    return command


@main.group()
def decision() -> None:
    """Choose whom to contact: the decision policy, beside the model.

    A policy has the threshold from which a customer is flagged, the limit of a call list (a budget or a number of
    contacts), the cost of a contact, the value of a kept customer, and the success rate of a contact. It needs no
    training. A change is in force at once for files, and within seconds in every running service and dashboard. Before
    anybody has set a policy, the threshold of the deployed model counts.

    \b
    Examples:
      churnops decision show
      churnops decision set --threshold 0.3 --why "fewer calls"
      churnops decision set --contacts 120 --cost 10 --value 200 --success-rate 0.25 --why "spring campaign"
      churnops decision revert --why "too many calls"
    """  # noqa: D301


@decision.command("show")
@json_option
@click.pass_context
def decision_show(ctx: click.Context, as_json: bool) -> None:
    """Show the policy in force, and how many customers it flags.

    The numbers of customers come from the evaluation of the deployed model. A contact pays from the probability cost /
    (value x success rate).
    """
    from churnops.project import Project
    from churnops.screens import policy_document, show_policy

    with Project.open(settings_of(ctx)) as project:
        policy, bundle = project.policy(), project.deployed()
    show(as_json, lambda: policy_document(policy, bundle), lambda: show_policy(policy, bundle))


@decision.command("set")
@policy_options
@why_option
@json_option
@click.pass_context
def decision_set(ctx: click.Context, /, why: str, as_json: bool, **options: Any) -> None:
    """Set the policy. It is in force at once, and options that are left out stay as they are.

    The version, your name, the time and the reason are recorded. Running services and dashboards follow within seconds.

    \b
    Examples:
      churnops decision set --threshold 0.3 --why "fewer calls"
      churnops decision set --budget 1200 --cost 10 --value monthly_charges --success-rate 0.25 --why "spring campaign"
      churnops decision set --threshold own --why "the threshold of the new model"
    """  # noqa: D301
    from churnops.pipelines.decide import change_policy
    from churnops.project import Project
    from churnops.screens import policy_document, show_policy

    changes = _changes(**options)
    if not changes:
        raise click.UsageError("Give an option to change, such as --threshold 0.3.")
    with Project.open(settings_of(ctx)) as project:
        policy = change_policy(project, changes, why)
        bundle = project.deployed()
    show_done(as_json, lambda: policy_document(policy, bundle), lambda: show_policy(policy, bundle))


@decision.command("history")
@click.option("--last", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Number of versions.")
@json_option
@click.pass_context
def decision_history(ctx: click.Context, last: int, as_json: bool) -> None:
    """List the versions of the policy, newest first, each with its time, person and reason."""
    from churnops.decision.in_force import policy_of
    from churnops.project import Project
    from churnops.screens import show_policies

    with Project.open(settings_of(ctx)) as project:
        versions = [policy_of(recorded) for recorded in project.policies.newest(last)]
    show(as_json, lambda: [version.to_json() for version in versions], lambda: show_policies(versions))


@decision.command("revert")
@click.option(
    "--to",
    type=click.IntRange(0),
    shell_complete=completing(policies),
    metavar="VERSION",
    help="Version to restore; 0: as before anybody set a policy. Default: the version before the one in force.",
)
@why_option
@json_option
@click.pass_context
def decision_revert(ctx: click.Context, to: int | None, why: str, as_json: bool) -> None:
    """Restore an earlier policy, as a new version.

    \b
    Examples:
      churnops decision revert --why "too many calls"
      churnops decision revert --to 0 --why "the threshold of the model is enough"
    """  # noqa: D301
    from churnops.pipelines.decide import revert_policy
    from churnops.project import Project
    from churnops.screens import policy_document, show_policy

    with Project.open(settings_of(ctx)) as project:
        policy = revert_policy(project, to, why)
        bundle = project.deployed()
    show_done(as_json, lambda: policy_document(policy, bundle), lambda: show_policy(policy, bundle))


@decision.command("choose")
@click.option(
    "--from",
    "customers",
    type=click.Choice(("journal", "training")),
    default="journal",
    show_default=True,
    help="Customers with known outcomes: of the journal, or a sample of the training rows.",
)
@click.option(
    "--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="Days of predictions of the journal."
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Last day of predictions. Default: the last whose outcomes are due.",
)
@click.option("--by", metavar="COLUMN", shell_complete=completing(categories), help="Also compare its segments.")
@policy_options
@json_option
@click.pass_context
def decision_choose(
    ctx: click.Context, /, customers: Any, days: int, until: Any, by: str | None, as_json: bool, **options: Any
) -> None:
    """Show the profit that policies would have had on customers whose outcome is known. Nothing changes.

    The result has the profit of the policy in force, of the best threshold, of contacting everyone and nobody, and of
    budgets; with --by also of each segment. Options of a policy replace those of the policy in force. Success rate and
    value are assumptions. The intervals account for picking the best line of a table.

    \b
    Examples:
      churnops decision choose --cost 10 --value 200 --success-rate 0.25
      churnops decision choose --from training --budget 500 --by international_plan
    """  # noqa: D301
    from churnops.pipelines.choose_policy import choose_policy
    from churnops.pipelines.decide import changed
    from churnops.project import Project
    from churnops.screens import show_choice

    with Project.open(settings_of(ctx)) as project:
        policy = changed(project.policy(), _changes(**options))
        last = None if until is None else until.date()
        result = choose_policy(project, policy, customers, days=days, until=last, by=by)
    document = {"customers": result.description, "policy": policy.terms(), **result.choice.to_json()}
    show(as_json, lambda: document, lambda: show_choice(result))


def _changes(*, no_limit: bool, threshold: str | None, value: str | None, **others: Any) -> dict[str, Any]:
    """Return the fields that the options change; None removes a value."""
    changes: dict[str, Any] = dict.fromkeys(("budget", "contacts")) if no_limit else {}
    changes |= {name: given for name, given in others.items() if given is not None}
    if threshold is not None:
        changes["threshold"] = None if threshold == "own" else _number(threshold)
    if value is not None:
        changes["value"] = _number(value)
    return changes


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
