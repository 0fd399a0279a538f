"""Commands on the journal: backup and restore."""

from pathlib import Path

import click

from churnops.cli.root import json_option, main, settings_of, show


@main.group()
def journal() -> None:
    """Back up or restore the journal.

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
