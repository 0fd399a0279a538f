"""Commands on the settings and the program: config, version."""

import json

import click

from churnops import __version__
from churnops.cli.root import error_document, json_option, main, settings_of, show, show_json
from churnops.errors import ChurnopsError, redact


@main.group()
def config() -> None:
    """Show or check the settings."""


@config.command("show")
def config_show() -> None:
    """Print the commented default config.yaml."""
    from churnops.settings import default_config

    click.echo(default_config().encode(), nl=False)  # UTF-8 regardless of the terminal's encoding


@config.command("check")
@json_option
@click.pass_context
def config_check(ctx: click.Context, as_json: bool) -> None:
    """Check config.yaml, CHURNOPS_* variables and feature expressions.

    Exit code: 0 if they are valid, 2 if not. With --json the verdict is `valid`.
    """
    from churnops.features import all_features

    try:
        settings = settings_of(ctx)
        features = all_features(settings.table, settings.features)
    except ChurnopsError as error:
        if not as_json:
            raise
        show_json({"valid": False, **error_document(error)})
        ctx.exit(error.exit_code)
    valid = f"The settings are valid: {len(settings.table.columns)} columns, {len(features)} features."
    people = f"{valid} Paths start at {settings.root}"
    document = {"valid": True, **json.loads(redact(settings.model_dump_json(by_alias=True)))}
    show(as_json, lambda: document, lambda: click.echo(people))


@main.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version; with --json also the version of the bundle format."""
    if as_json:
        from churnops.model import PROTOCOL

        show_json({"churnops": __version__, "bundle_protocol": PROTOCOL})
    else:
        click.echo(f"churnops {__version__}")
