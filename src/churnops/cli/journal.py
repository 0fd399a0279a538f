"""Commands on the journal: backup, restore, copy, prune, and forgetting a customer."""

from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from churnops.cli.durations import Duration
from churnops.cli.root import json_option, main, settings_of, show, show_done

if TYPE_CHECKING:
    from collections.abc import Iterator

    from churnops.journal.copy import CopiedTable
    from churnops.pipelines.forget import Receipt


@main.group()
def journal() -> None:
    """Back up, copy or prune the journal, or forget a customer.

    The journal contains deployments, predictions, labels and API keys.
    """


@journal.command("backup")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
@click.pass_context
def journal_backup(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Write a backup of a SQLite journal to FILE.

    The service may keep running. For a journal in PostgreSQL use pg_dump.

    \b
    Example:
      churnops journal backup /backups/journal-$(date +%F).db
    """  # noqa: D301
    from churnops.journal.backup import back_up

    settings = settings_of(ctx)
    rows = back_up(settings.database_url(settings.journal.url), file)
    document = {"backup": str(file), "predictions": rows}
    show(as_json, lambda: document, lambda: click.echo(f"Backed up {rows:,} predictions to {file}"))


RESTORED = (
    "The deployment log, decision policy, experiments, API keys and contacts are those of the backup too. Check them: "
    "churnops doctor, decision show, shadow report, split report, keys list"
)


@journal.command("restore")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@json_option
@click.pass_context
def journal_restore(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Replace the SQLite journal by the backup FILE. Stop the service and the dashboard first.

    The backup is checked first. The old journal is kept beside the new one.
    """
    from churnops.journal.backup import restore

    settings = settings_of(ctx)
    kept = restore(settings.database_url(settings.journal.url), file)
    document = {"restored": str(file), "replaced": str(kept) if kept else None}
    text = f"Restored the journal from {file}" + (f"; the old one is kept as {kept}" if kept else "")
    text += f".\n{RESTORED}"
    show(as_json, lambda: document, lambda: click.echo(text))


@journal.command("copy")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@json_option
@click.pass_context
def journal_copy(ctx: click.Context, source: str, target: str, as_json: bool) -> None:
    """Copy the journal SRC to the database DST.

    Any direction is possible, such as SQLite to PostgreSQL. SRC and DST are SQLite files or database URLs; passwords
    belong in PGPASSWORD or ~/.pgpass. DST must be empty, or an earlier copy. All values are compared at the end. An
    interrupted copy continues if you repeat the command. The service may keep running: stop it before the last
    repetition, which adds the rows that are new since the first.

    \b
    Example:
      churnops journal copy journal.db postgresql+psycopg://churnops@db/churn
    """  # noqa: D301
    from churnops.journal.copy import copy_journal
    from churnops.progress import rows_progress

    settings = settings_of(ctx)
    old, new = (settings.database_url(name if "://" in name else f"sqlite:///{name}") for name in (source, target))
    with rows_progress("journal", hidden=as_json) as (on_rows, _):
        tables = copy_journal(old, new, on_rows)
    show(
        as_json,
        lambda: {"tables": {name: asdict(table) for name, table in tables.items()}},
        lambda: click.echo("\n".join(_sentence(name, table) for name, table in tables.items())),
    )


@journal.command("prune")
@click.option(
    "--older-than", "age", type=Duration(), required=True, metavar="400d", help="Age of the predictions to remove."
)
@click.option("--yes", is_flag=True, help="Remove them. Without this option they are only counted.")
@json_option
@click.pass_context
def journal_prune(ctx: click.Context, age: timedelta, yes: bool, as_json: bool) -> None:
    """Count or remove old predictions, with the labels given for them.

    Predictions that monitoring and retraining read are never removed: an age that is too short is refused. The service
    may keep running; but only if no process has a SQLite journal open, its file becomes smaller.

    \b
    Examples:
      churnops journal prune --older-than 400d          count
      churnops journal prune --older-than 400d --yes    remove
    """  # noqa: D301
    from churnops.pipelines.prune import prune_journal

    pruned = prune_journal(settings_of(ctx), age, remove=yes)
    show_done(as_json, pruned.to_json, lambda: click.echo(pruned.sentences))


@journal.command("newest")
@click.option("--rebuild", is_flag=True, help="Read all predictions again, from the oldest.")
@json_option
@click.pass_context
def journal_newest(ctx: click.Context, rebuild: bool, as_json: bool) -> None:
    """Bring the table of each customer's newest score up to date.

    Call lists are made of this table. A running service keeps it at most 60 seconds behind the predictions. Rebuild it
    after predictions were written by hand, or if a machine's clock was wrong.
    """
    from churnops.decision.in_force import newest_policy
    from churnops.decision.newest import bring_up_to_date
    from churnops.project import Project

    with Project.open(settings_of(ctx)) as project:
        state = bring_up_to_date(project.engine, newest_policy(project.policies), rebuild=rebuild)
    until = "" if state.until is None else f", from predictions up to {state.until:%Y-%m-%d %H:%M:%S} UTC"
    show_done(as_json, state._asdict, lambda: click.echo(f"Newest scores of {state.customers:,} customers{until}"))


def _sentence(name: str, table: "CopiedTable") -> str:
    return f"{table.rows:,} rows of {name}, {table.written:,} of them new, SHA-256 {table.sha256[:12]}"


@journal.command("forget")
@click.argument("customer", metavar="CUSTOMER")
@click.option("--yes", is_flag=True, help="Remove the rows. Without it, they are only counted.")
@json_option
@click.pass_context
def journal_forget(ctx: click.Context, customer: str, yes: bool, as_json: bool) -> None:
    """Count or remove the rows of one customer.

    CUSTOMER is the id. The rows are in the journal (predictions, labels, hashes of ids), in the tables of data.raw,
    data.production and data.batches, and in every other CSV and Parquet file in the project's folder. The receipt
    forgotten_<time>.json has the number of rows in each, the files that you must change by hand, and the places that no
    command reaches, such as backups. It has the id only as a hash.

    A service may keep running. Unused parts of a SQLite journal are rewritten only while no process has it open.

    \b
    Examples:
      churnops journal forget C-1001          count the rows
      churnops journal forget C-1001 --yes    remove them
    """  # noqa: D301
    from churnops.pipelines.forget import forget

    receipt, path = forget(settings_of(ctx), customer, only_count=not yes)
    document = {**asdict(receipt), "receipt": str(path) if path else None}
    show_done(as_json, lambda: document, lambda: click.echo("\n".join(_lines(receipt, path))))


def _lines(receipt: "Receipt", path: Path | None) -> "Iterator[str]":
    verb = "Removed" if receipt.done else "Would remove"
    places = {**receipt.tables, **receipt.files}
    yield from (
        f"{verb} {count:,} {'row' if count == 1 else 'rows'} of {name}" for name, count in places.items() if count
    )
    if receipt.models:
        yield f"{verb} the hash of the id from the training customers of {receipt.models:,} models"
    if not any(places.values()) and not receipt.models:
        yield "No row of this customer"
    yield from (f"Change by hand: {name} ({reason})" for name, reason in receipt.by_hand.items())
    yield from (f"Not reached: {place}" for place in receipt.not_reached)
    yield f"Receipt: {path}" if path else "Nothing was changed: add --yes to remove the rows"
