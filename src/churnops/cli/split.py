"""Commands of a split: split start, stop, report."""

import click

from churnops.cli.completion import completing, registered
from churnops.cli.models import reason_text
from churnops.cli.root import MAX_NUMBER, NumberRange, json_option, main, settings_of, show, show_done


@main.group()
def split() -> None:
    """Let a registered version answer a share of the customers, and compare the outcomes.

    A customer's arm follows from the customer's id: it is the same in the API, in files, in batch folders, on clusters
    and on all replicas. A customer without an id is the deployed model's. You may look at the report as often as you
    like: its intervals hold at all looks together.
    """


@split.command("start")
@click.argument("version", type=click.IntRange(1), shell_complete=completing(registered))
@click.option(
    "--share",
    type=NumberRange(0.0, 1.0, min_open=True, max_open=True),
    required=True,
    help="Share of the customers whom VERSION answers, such as 0.2.",
)
@click.option("--reason", callback=reason_text, metavar="TEXT", help="Reason, kept with the split.")
@json_option
@click.pass_context
def start(ctx: click.Context, version: int, share: float, reason: str | None, as_json: bool) -> None:
    """Let the registered VERSION answer a share of the customers from now on.

    Running servers begin within a second, all replicas alike. The deployed model answers in the same request if the
    challenger fails or its files are missing. After three answers that take longer than api.challenger_milliseconds the
    split ends by itself, and an alert is sent. One experiment runs at a time. A deployment or a rollback ends it. With
    the setting registry.approval, the command needs an API key in CHURNOPS_REGISTRY__APPROVAL_KEY.

    \b
    Examples:
      churnops split start 7 --share 0.2
      churnops split start 7 --share 0.5 --reason "offers follow the scores since May"
    """  # noqa: D301
    from churnops.experiments.split import start_split
    from churnops.project import Project
    from churnops.words import customers_text

    with Project.open(settings_of(ctx)) as project:
        started = start_split(project, version, share, reason or "")
    text = (
        f"Started split {started.id}: version {version} ({started.challenger_name}) answers "
        f"{customers_text(share)}, {started.champion_name} the others. `churnops split report` compares the outcomes"
    )
    document = {name: value for name, value in vars(started).items() if name != "details"}
    show_done(as_json, lambda: document, lambda: click.echo(text))


@split.command("stop")
@click.option(
    "--reason", default="no reason given", callback=reason_text, metavar="TEXT", help="Reason, kept with the split."
)
@json_option
@click.pass_context
def stop(ctx: click.Context, reason: str, as_json: bool) -> None:
    """End the running split: the deployed model answers all customers again, on all replicas within a second.

    \b
    Example:
      churnops split stop --reason "complaints since noon"
    """  # noqa: D301
    from churnops.experiments.split import report_of, stop_split
    from churnops.project import Project
    from churnops.screens import show_split

    with Project.open(settings_of(ctx)) as project:
        done = report_of(project, stop_split(project, reason))
    show_done(as_json, done.to_json, lambda: show_split(done))


@split.command("report")
@click.argument("number", type=click.IntRange(1, MAX_NUMBER), required=False)
@json_option
@click.pass_context
def report(ctx: click.Context, number: int | None, as_json: bool) -> None:
    """Compare the outcomes of both arms of the newest split, or of the split NUMBER.

    A customer counts once, in its arm, from the first answer on; the outcome counts when the label horizon has ended.
    The report tests first whether the arms have the planned shares of customers: if not, customers were lost, and the
    arms cannot be compared. Intervals of the churn rates and of their difference hold at all looks together (95 %).

    \b
    Examples:
      churnops split report
      churnops split report 3 --json
    """  # noqa: D301
    from churnops.experiments.split import find_split, report_of
    from churnops.project import Project
    from churnops.screens import show_split

    with Project.open(settings_of(ctx)) as project:
        done = report_of(project, find_split(project, number))
    show(as_json, done.to_json, lambda: show_split(done))
