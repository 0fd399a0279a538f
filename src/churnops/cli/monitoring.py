"""Commands that monitor the deployed model, or simulate customers to try monitoring: monitor, simulate."""

import traceback
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from churnops.cli.completion import batch_sources, completing, numeric_columns
from churnops.cli.durations import Duration
from churnops.cli.root import (
    NumberRange,
    json_option,
    local_table,
    main,
    missing_option,
    report_error,
    settings_of,
    show_done,
    warn,
)
from churnops.errors import ChurnopsError

if TYPE_CHECKING:
    from churnops.pipelines.sources import BatchSource
    from churnops.settings import Settings


@dataclass(frozen=True)
class _Subject:
    """Options that choose the customers of a cycle: from the journal, a file or a simulation."""

    window: timedelta | None
    until: datetime | None
    batch: str | None
    act: bool | None
    name: str | None
    simulate: bool
    seed: int | None
    accept_missing: tuple[str, ...]

    @property
    def end(self) -> datetime | None:
        """End of a past window."""
        return self.until.replace(tzinfo=UTC) if self.until else None

    def check(self, *, repeated: bool) -> None:
        """Refuse options that contradict each other."""
        if (self.batch is not None) + self.simulate + (self.window is not None or self.until is not None) > 1:
            raise click.UsageError("--batch, --simulate and --window/--until exclude each other: give one of them")
        if repeated and (self.batch or self.simulate or self.until):
            raise click.UsageError(
                "--every monitors the journal's newest predictions: leave out --batch, --simulate and --until"
            )
        if self.seed is not None and not self.simulate:
            raise click.UsageError("--seed needs --simulate")
        if self.batch is None and (self.act is not None or self.name is not None):
            raise click.UsageError("--act, --no-act and --source need --batch")
        if self.accept_missing and self.batch is None:
            raise click.UsageError("--accept-missing needs --batch")
        if self.name is not None and not self.act:
            raise click.UsageError("--source needs --act: without it the command only reports on the file")
        if self.end is not None and not datetime(2000, 1, 1, tzinfo=UTC) <= self.end <= datetime.now(UTC):
            raise click.UsageError("--until must lie between the year 2000 and now")

    def source(self, settings: "Settings") -> "BatchSource":
        """Return the source of the cycle's customers."""
        from churnops.pipelines import sources

        batch = local_table(settings, self.batch) if self.batch is not None else None
        if batch is not None and batch.is_dir():
            if self.act:
                raise click.UsageError("--act needs a file: a cycle on a folder only reports")
            return sources.folder(batch, self.accept_missing)
        if batch is not None:
            return sources.file(batch, _acts_as(batch, settings, self.act, self.name), self.accept_missing)
        return sources.simulation(self.seed) if self.simulate else sources.window(self.window, self.end)


@main.command()
@click.option(
    "--window",
    type=Duration(),
    metavar="7d",
    help="Length of the window of predictions. Default: monitoring.window_days.",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    metavar="TIME",
    help="End of a past window, UTC: 2026-01-31 or 2026-01-31T12:00:00. With this option the cycle only reports. "
    "Default: now.",
)
@click.option(
    "--batch",
    type=click.Path(path_type=str),
    metavar="FILE",
    help="Check a CSV, Parquet or Excel file, or a folder of CSV or Parquet files, not the journal. The cycle only "
    "reports, unless --act applies.",
)
@click.option(
    "--act/--no-act",
    default=None,
    help="With --batch: send alerts, spend error budget and retrain. Default: act if a folder of data.batches "
    "contains the file; the folder's name there is the source.",
)
@click.option(
    "--source",
    "name",
    metavar="NAME",
    shell_complete=completing(batch_sources),
    help="Name of the file's source, of a-z, 0-9, _ and -. Needs --act.",
)
@missing_option
@click.option(
    "--simulate",
    is_flag=True,
    help="Check simulated customers, with noise and flipped labels. The cycle only reports.",
)
@click.option("--seed", type=click.IntRange(0), help="Seed of --simulate. Default: random_state.")
@click.option(
    "--experiment",
    metavar="ID_OR_NAME",
    help="MLflow experiment to log to, which must exist. Default: ChurnPrediction-Monitoring.",
)
@click.option("--no-retrain", is_flag=True, help="Stop after the report, even if it recommends retraining.")
@click.option("--every", type=Duration(), metavar="1h", help="Run a cycle at this interval, until SIGTERM or Ctrl-C.")
@json_option
@click.pass_context
def monitor(
    ctx: click.Context,
    /,
    experiment: str | None,
    no_retrain: bool,
    every: timedelta | None,
    as_json: bool,
    **subject: Any,
) -> None:
    """Check the deployed model: run one monitoring cycle.

    A cycle checks the customers of the journal, of a file, or simulated ones. It writes
    monitoring_report_<time>.json and a page beside it, logs to MLflow and sends alerts. A scheduler such as cron needs
    only this command: cycles may be repeated, overlap, or be killed.

    A cycle on a file acts (alerts, error budget, retraining) if data.batches declares the file's folder, or with --act
    --source NAME. Otherwise, or with --no-act, it only reports, as a cycle on a folder always does. Each source has its
    own alerts and error budget; the source of the API's predictions is `live`. A file of `churnops simulate` causes
    actions only with `demonstration: true`.

    \b
    Examples:
      churnops monitor                          predictions of the last days, and labels that are due
      churnops monitor --batch customers.csv    report on a file, with or without outcomes
      churnops monitor --batch july.csv --act --source monthly
                                                the same, and alert and retrain as source `monthly`
      churnops monitor --every 1h --no-retrain  one cycle an hour, in the foreground

    Exit code: 0 if the cycle finished, with any verdict; 2 if it failed.
    """  # noqa: D301
    from churnops.cli.repeat import repeat
    from churnops.pipelines.run_monitoring import run_monitoring
    from churnops.screens import show_cycle

    options = _Subject(**subject)
    options.check(repeated=every is not None)
    settings = settings_of(ctx)
    source = options.source(settings)

    def once() -> None:
        summary = run_monitoring(settings, source, experiment=experiment, permitted=not no_retrain)
        show_done(as_json, summary.to_json, lambda: show_cycle(summary, settings.table))

    def on_error(error: Exception) -> None:
        if isinstance(error, ChurnopsError | OSError):
            report_error(error, as_json=as_json)
        else:
            traceback.print_exception(error)

    if every is None:
        once()
    else:
        repeat(every, once, settings.path(settings.monitoring.directory), on_error)


def _acts_as(batch: Path, settings: "Settings", act: bool | None, name: str | None) -> str | None:
    """Return the source for which a cycle on a file acts; None if it only reports."""
    from pydantic import TypeAdapter, ValidationError

    from churnops.pipelines.sources import source_of
    from churnops.settings import SourceName

    declared = source_of(batch, settings)
    if act is False:
        return None
    if name is None:
        if act and declared is None:
            raise click.UsageError("--act needs --source NAME: the file is not in a folder of data.batches")
        return declared
    try:
        TypeAdapter(SourceName).validate_python(name)
    except ValidationError as error:
        raise click.UsageError(f"--source {name!r}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    if declared not in (None, name):
        raise click.UsageError(f"{batch} belongs to source {declared!r} in data.batches, not to {name!r}")
    return name


@main.command()
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(1), default=500, show_default=True, help="Number of customers.")
@click.option("--covariate", type=float, default=0.0, metavar="SD", help="Shift in standard deviations of the column.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME",
    shell_complete=completing(numeric_columns),
    help="Column to shift; repeat the option for several. Default: numeric columns that no other column determines.",
)
@click.option("--prior", type=NumberRange(0, 1), metavar="RATE", help="Churn rate of OUT.")
@click.option(
    "--concept",
    type=NumberRange(0, 1),
    default=0.0,
    metavar="SHARE",
    help="Share of customers whose outcome no longer depends on the columns; the churn rate stays.",
)
@click.option("--recipe", is_flag=True, help="Add noise to monitoring.recipe_columns and flip 2 to 5 % of outcomes.")
@click.option("--seed", type=click.IntRange(0), help="The same seed gives the same file. Default: random_state.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Table or folder to draw from. Default: data.production, or data.raw if there is none.",
)
@click.option("--force", is_flag=True, help="Overwrite OUT if it exists.")
@json_option
@click.pass_context
def simulate(
    ctx: click.Context,
    /,
    target: Path,
    rows: int,
    seed: int | None,
    sources: tuple[Path, ...],
    force: bool,
    as_json: bool,
    **changes: Any,
) -> None:
    """Write a table of simulated customers with known drift.

    Use it to try monitoring. OUT is a .csv or .parquet file with the source's headers and the outcome. To shift a
    column, a customer takes the values of this column and of all connected columns from another customer with the same
    outcome. So all customers stay plausible: charges follow minutes, and a customer without a plan sends no messages.
    If the table has too few suitable customers for the whole shift, the shift is smaller, and the output shows its
    size. Without a drift option OUT is a random sample.

    Simulated customers never count as real ones: OUT has a column churnops_simulated, and the journal keeps the hash
    of OUT. `churnops monitor --batch` reports on it. No model is trained on it, except in a project with
    `demonstration: true`.

    \b
    Examples:
      churnops simulate same.csv                                     no drift
      churnops simulate shifted.csv --covariate 0.3 --column total_day_minutes
      churnops simulate season.csv --prior 0.25                      more customers churn
      churnops simulate rival.csv --concept 0.5 --rows 2000          half of the outcomes are random
      churnops simulate report.csv --recipe --seed 7                 noise and flipped outcomes
    """  # noqa: D301
    from churnops.data.simulate import Drift
    from churnops.data.skipped import Skipped, skipped_files
    from churnops.pipelines.simulate import simulate_file, source_tables

    settings = settings_of(ctx)
    chosen = sources or source_tables(settings)
    drift = Drift(**changes, noisy=settings.monitoring.recipe_columns)
    seed = settings.random_state if seed is None else seed
    made = simulate_file(chosen, target, settings, drift, rows=rows, seed=seed, overwrite=force)
    skipped = Skipped(skipped_files(chosen))
    for sentence in () if as_json else skipped.sentences():
        warn(sentence)
    document = {"rows": rows, "output": str(target), "seed": seed, "description": made.description}
    document |= {"skipped_files": skipped.files}
    show_done(as_json, lambda: document, lambda: click.echo(f"Wrote {target}: {made.description}"))
