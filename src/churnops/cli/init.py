"""The command that describes a new table: init."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churnops.cli.root import json_option, main, show_done

if TYPE_CHECKING:
    from churnops.discovery.discover import Discovery

OPTIONS = (
    click.option("--target", metavar="HEADER", help="Header of the outcome's column."),
    click.option("--positive", metavar="VALUE", help="Outcome that means churned. Default: by its name, or the rarer."),
    click.option(
        "--id", "identifier", metavar="HEADER", help="Header of the customer's id. Default: it is looked for."
    ),
    click.option(
        "--time", metavar="HEADER", help="Header of the row's time: the latest rows are held out. Default: at random."
    ),
    click.option("--force", is_flag=True, help="Replace an existing config.yaml."),
)

SHOWN = 20  # headers in the message about a missing outcome


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the argument TABLE and the options that describe it."""
    for option in reversed(OPTIONS):
        command = option(command)
    return click.argument("tables", nargs=-1, metavar="[TABLE]...", type=click.Path(path_type=Path))(command)


def describe(
    tables: tuple[Path, ...], target: str, folder: Path, force: bool, **named: str | None
) -> "tuple[Discovery, Path]":
    """Make a project of the tables, and show the progress; `init_project` describes `named`."""
    from churnops.discovery.project import init_project
    from churnops.progress import rows_progress

    with rows_progress(tables[0].name) as (on_rows, _):
        return init_project(
            tables,
            target,
            folder=folder,
            force=force,
            progress=on_rows,
            **named,
        )


@main.command()
@table_options
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Project folder. Default: this folder.")
@json_option
def init(
    tables: tuple[Path, ...],
    target: str | None,
    positive: str | None,
    identifier: str | None,
    time: str | None,
    force: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Write a commented config.yaml for the customers in TABLE.

    TABLE is a CSV, Parquet or Excel file (.xlsx), a folder of them, or a query on PostgreSQL (.sql). Several tables
    must have the same columns. The command reads all rows, decides what each column is, and looks for columns that
    contain the outcome. It prints what it found, what it decided, and what you should check in config.yaml. No table
    is changed.

    \b
    Examples:
      churnops init customers.csv --target Churn
      churnops init exports/ --target status --positive closed --out my-churn
      churnops init months.csv --target left --id customer --time month
      churnops run                                    the next command, in the project's folder
    """  # noqa: D301
    from churnops.discovery.summary import summary

    if not tables or target is None:
        raise click.UsageError(f"give the table and its outcome: churnops init TABLE --target HEADER{_headers(tables)}")
    table, path = describe(tables, target, out or Path(), force, positive=positive, identifier=identifier, time=time)
    show_done(as_json, lambda: table.to_json() | {"config": str(path)}, lambda: click.echo(summary(table, path)))


def _headers(tables: tuple[Path, ...]) -> str:
    """Return the headers of the first table as text, for a message; empty without a table."""
    from churnops.data.batches import open_batches
    from churnops.data.read import table_paths

    if not tables:
        return ""
    path = table_paths(tables)[0]
    headers = next(open_batches(path, rows=1)).columns
    more = f" and {len(headers) - SHOWN} more" if len(headers) > SHOWN else ""
    return f"; the headers of {path.name}: {', '.join(headers[:SHOWN])}{more}"
