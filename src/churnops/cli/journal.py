"""Commands on the journal: backup, restore and copy."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from churnops.cli.root import json_option, main, settings_of, show

if TYPE_CHECKING:
    from churnops.journal.copy import CopiedTable


@main.group()
def journal() -> None:
    """Back up, restore or copy the journal.

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
    show(as_json, lambda: document, lambda: click.echo(text))


@journal.command("copy")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@json_option
@click.pass_context
def journal_copy(ctx: click.Context, source: str, target: str, as_json: bool) -> None:
    """Copy the journal SRC to the database DST, such as SQLite to PostgreSQL.

    SRC and DST are SQLite files or database URLs; passwords belong in PGPASSWORD or ~/.pgpass. DST must be empty, or an
    earlier copy. All values are compared at the end. An interrupted copy continues if you repeat the command. The
    service may keep running: stop it before the last repetition, which adds the rows that are new since the first.

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


def _sentence(name: str, table: "CopiedTable") -> str:
    return f"{table.rows:,} rows of {name}, {table.written:,} of them new, SHA-256 {table.sha256[:12]}"
