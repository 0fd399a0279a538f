"""Commands on alerts: test."""

import sys

import click

from churnops.cli.root import json_option, main, settings_of, show
from churnops.errors import ChurnopsError


@main.group()
def alerts() -> None:
    """Check the channels of alerts.

    The environment variable CHURNOPS_ALERTS__URLS lists the channels as Apprise URLs.
    """


@alerts.command("test")
@json_option
@click.pass_context
def alerts_test(ctx: click.Context, as_json: bool) -> None:
    """Send a test message to every channel.

    \b
    Example:
      CHURNOPS_ALERTS__URLS='["slack://…"]' churnops alerts test

    Exit code: 0 if the message reached every channel, 1 if a channel failed, 2 if there is no channel.
    """  # noqa: D301
    from churnops.alerting.alerts import Alerts

    settings = settings_of(ctx)
    if not settings.alerts.urls:
        raise ChurnopsError("there is no channel: set CHURNOPS_ALERTS__URLS, such as '[\"slack://…\"]'")
    deliveries = Alerts.of(settings, None).send_test()
    lines = [f"{d.channel}: {'delivered' if d.delivered else f'failed: {d.error}'}" for d in deliveries]
    show(as_json, lambda: [vars(delivery) for delivery in deliveries], lambda: click.echo("\n".join(lines)))
    sys.exit(not all(delivery.delivered for delivery in deliveries))
