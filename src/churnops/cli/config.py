"""Commands on the settings and the program: config, version."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from churnops import __version__
from churnops.cli.root import error_document, json_option, main, settings_of, show, show_json
from churnops.errors import ChurnopsError, redact

if TYPE_CHECKING:
    from churnops.data.skipped import Skipped
    from churnops.settings import Settings


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
    """Check config.yaml, CHURNOPS_* variables, feature expressions, and the tables of `data`.

    Each table that exists is read whole and checked against the schema; the broken rules of all columns are listed,
    and the files, columns and rows that a training run does not use.

    Exit code: 0 if everything is valid, 2 if not. With --json the verdict is `valid`.
    """
    from churnops.features import all_features

    try:
        settings = settings_of(ctx)
        features = all_features(settings.table, settings.features, one_hot=settings.training.recipe == "report")
        rows, skipped = _check_tables(settings)
    except ChurnopsError as error:
        if not as_json:
            raise
        show_json({"valid": False, **error_document(error)})
        ctx.exit(error.exit_code)
    valid = f"The settings are valid: {len(settings.table.columns)} columns, {len(features)} features."
    tables = ", ".join(f"{count:,} rows of {name}" for name, count in rows.items())
    people = f"{valid} {f'The tables are valid: {tables}. ' if tables else ''}Paths start at {settings.root}"
    people = "\n".join([people, *skipped.sentences()])
    checked = {"valid": True, "tables": rows, "skipped": asdict(skipped)}
    document = checked | json.loads(redact(settings.model_dump_json(by_alias=True)))
    show(as_json, lambda: document, lambda: click.echo(people))


def _check_tables(settings: "Settings") -> "tuple[dict[str, int], Skipped]":
    """Check the tables of `data.raw` and `data.production` that exist; return their rows, and what is not used."""
    from churnops.data.skipped import Skipped
    from churnops.data.stored import fetch_tables
    from churnops.data.validate import validate_data

    fetch_tables(settings)
    raw, later = (list(map(settings.path, paths)) for paths in (settings.training_tables, settings.data.production))
    if not all(path.exists() for path in raw):
        return {}, Skipped()
    later = [path for path in later if path.exists()]
    validated = validate_data(
        raw, later, settings.table, max_broken_rows=settings.data.max_broken_rows, by_time=settings.evaluation.in_time
    )
    tables = (*validated.raw.items(), *validated.production.items())
    return {name: table.height for name, table in tables}, validated.skipped


@main.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version; with --json also the version of the bundle format."""
    if as_json:
        from churnops.model import PROTOCOL

        show_json({"churnops": __version__, "bundle_protocol": PROTOCOL})
    else:
        click.echo(f"churnops {__version__}")
