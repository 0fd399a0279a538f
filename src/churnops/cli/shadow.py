"""Commands of a shadow: shadow start, stop, report."""

import click

from churnops.cli.completion import completing, registered
from churnops.cli.models import reason_text
from churnops.cli.root import MAX_NUMBER, NumberRange, json_option, main, settings_of, show, show_done


@main.group()
def shadow() -> None:
    """Compare a registered version with the deployed model on live customers.

    The deployed model answers. The challenger scores the same customers in the background, and both scores are kept in
    the journal. When a customer's label horizon has ended, the outcome counts. You may look at the evidence as often as
    you like: its bounds hold at all looks together.
    """


@shadow.command("start")
@click.argument("version", type=click.IntRange(1), shell_complete=completing(registered))
@click.option(
    "--share",
    type=NumberRange(0.0, 1.0, min_open=True),
    default=1.0,
    show_default=True,
    help="Share of the customers that take part. The same customer is always in or out.",
)
@click.option("--reason", callback=reason_text, metavar="TEXT", help="Reason, kept with the shadow.")
@json_option
@click.pass_context
def start(ctx: click.Context, version: int, share: float, reason: str | None, as_json: bool) -> None:
    """Let the registered VERSION score live customers, without answering them.

    Running servers begin within a few seconds, all replicas alike. A slow, failing or missing challenger costs no
    answer: customers that it did not score are counted. One experiment runs at a time. A deployment ends it.

    \b
    Examples:
      churnops shadow start 7
      churnops shadow start 7 --share 0.1 --reason "the new tariff"
    """  # noqa: D301
    from churnops.pipelines.shadow import start_shadow
    from churnops.words import customers_text

    started = start_shadow(settings_of(ctx), version, share, reason or "")
    text = (
        f"Started shadow {started.id}: version {version} ({started.challenger}) beside {started.champion}, "
        f"{customers_text(share)}. `churnops shadow report` shows its evidence"
    )
    show_done(as_json, lambda: started.model_dump(mode="json"), lambda: click.echo(text))


@shadow.command("stop")
@click.option(
    "--reason", default="no reason given", callback=reason_text, metavar="TEXT", help="Reason, kept with the shadow."
)
@json_option
@click.pass_context
def stop(ctx: click.Context, reason: str, as_json: bool) -> None:
    """End the running shadow. Its scores and evidence stay in the journal.

    \b
    Example:
      churnops shadow stop --reason "the campaign begins"
    """  # noqa: D301
    from churnops.pipelines.shadow import stop_shadow
    from churnops.screens import show_shadow

    stopped = stop_shadow(settings_of(ctx), reason)
    show_done(as_json, lambda: stopped.model_dump(mode="json"), lambda: show_shadow(stopped))


@shadow.command("report")
@click.argument("number", type=click.IntRange(1, MAX_NUMBER), required=False)
@json_option
@click.pass_context
def report(ctx: click.Context, number: int | None, as_json: bool) -> None:
    """Show the evidence of the newest shadow, or of the shadow NUMBER.

    The gain is the champion's log loss minus the challenger's, on the same customers, each once. A shadow ends by
    itself: with success if a gain is proven and above the required one (`churnops promote` then accepts it), for
    futility if the required gain is excluded.

    \b
    Examples:
      churnops shadow report
      churnops shadow report --json
    """  # noqa: D301
    from churnops.pipelines.shadow import report_shadow
    from churnops.screens import show_shadow

    shown = report_shadow(settings_of(ctx), number)
    show(as_json, lambda: shown.model_dump(mode="json"), lambda: show_shadow(shown))
