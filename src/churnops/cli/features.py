"""Commands on features: export to a feature store, and the newest columns of customers."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from churnops.cli.root import json_option, local_table, main, settings_of, show_done

if TYPE_CHECKING:
    from collections.abc import Iterator

    from churnops.feature_store.export import Exported


@main.group()
def features() -> None:
    """Export the columns of the customers to a feature store, or store the newest ones for the API."""


@features.command("export")
@click.option(
    "--feast",
    "folder",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the Feast repository; it is made if it does not exist.",
)
@click.option("--force", is_flag=True, help="Replace files of an earlier export. Other files in DIR stay.")
@json_option
@click.pass_context
def features_export(ctx: click.Context, folder: Path, force: bool, as_json: bool) -> None:
    """Write a Feast repository of the tables of data.raw.

    DIR gets the definitions (entity, source, views, service), a Parquet file of the columns and derived columns with
    the time from which each row holds, the outcomes, and a script that joins them point-in-time in Feast's
    environment. README.md in DIR lists the commands of Feast. churnops itself changes only with `features.source:
    feast` in config.yaml.

    The schema needs a column of kind id. Rows hold from their time (a column of kind time), or else from now on.
    Personal columns are left out.

    \b
    Examples:
      churnops features export --feast feast            write the repository into the folder feast
      churnops features export --feast feast --force    write it again, with new rows
    """  # noqa: D301
    from churnops.feature_store.export import export

    exported = export(settings_of(ctx), folder, force=force)
    show_done(as_json, exported.to_json, lambda: click.echo("\n".join(_lines(exported))))


@features.command("upload")
@click.argument("table", metavar="FILE", type=click.Path(path_type=str))
@json_option
@click.pass_context
def features_upload(ctx: click.Context, table: str, as_json: bool) -> None:
    """Store the newest columns of the customers in FILE, so that the API needs their ids only.

    FILE is a CSV, Parquet or Excel file, or a query (.sql), with the columns of the deployed model and the id.
    `POST /predict` with nothing but the id then uses the stored columns, and answers their time as columns_at. A row
    holds from its time (a column of kind time), or else from now on; the newest row of a customer stays. Personal
    columns are not stored.

    The service may keep running. An interrupted command can be repeated.

    \b
    Example:
      churnops features upload data/newest.parquet
    """  # noqa: D301
    from churnops.pipelines.store_features import store_features
    from churnops.progress import rows_progress

    settings = settings_of(ctx)
    path = local_table(settings, table)
    with rows_progress(path.name, hidden=as_json) as (on_rows, _):
        done = store_features(settings, path, on_rows)
    older = f"; {done.rows - done.stored:,} rows are older than a stored one" if done.stored < done.rows else ""
    show_done(
        as_json, lambda: asdict(done), lambda: click.echo(f"Stored the columns of {done.stored:,} customers{older}")
    )


def _lines(exported: "Exported") -> "Iterator[str]":
    yield (
        f"Wrote {exported.folder}: {exported.rows:,} rows of {exported.customers:,} customers, "
        f"{len(exported.columns)} columns, {len(exported.derived)} derived columns"
    )
    if exported.personal:
        yield f"Left out (personal): {', '.join(exported.personal)}"
    yield f"Next: the commands in {exported.folder / 'README.md'}"
