"""Commands that watch a model: monitor, and simulate, which makes customers to try it on."""

import json
import re
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from churnops.cli.root import json_option, main, settings_of, show_error, showing
from churnops.errors import ChurnopsError

if TYPE_CHECKING:
    from churnops.pipelines.sources import BatchSource
    from churnops.settings import Settings


class _Duration(click.ParamType[timedelta]):
    """A whole number and a unit."""

    name = "duration"
    longest = timedelta(days=3650)
    units: ClassVar = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"([1-9]\d{0,5})([smhd])", value)
        if not found:
            self.fail(f"{value!r} is not a duration such as 30m, 12h or 7d", param, ctx)
        duration = timedelta(**{self.units[found[2]]: int(found[1])})
        if duration > self.longest:
            self.fail(f"{value!r} is longer than {self.longest.days} days", param, ctx)
        return duration


@dataclass(frozen=True)
class _Watched:
    """What a monitoring cycle looks at, by its options: the journal, a file or a simulation."""

    window: timedelta | None
    until: datetime | None
    batch: Path | None
    act: bool | None
    name: str | None
    simulate: bool
    seed: int | None

    @property
    def end(self) -> datetime | None:
        """End of a past window."""
        return self.until.replace(tzinfo=UTC) if self.until else None

    def check(self, *, repeated: bool) -> None:
        """Refuse options that contradict each other."""
        if (self.batch is not None) + self.simulate + (self.window is not None or self.until is not None) > 1:
            raise click.UsageError("--batch, --simulate and --window/--until exclude each other")
        if repeated and (self.batch or self.simulate or self.until):
            raise click.UsageError(
                "--every looks at the journal's newest predictions: no --batch, --simulate or --until"
            )
        if self.seed is not None and not self.simulate:
            raise click.UsageError("--seed belongs to --simulate")
        if self.batch is None and (self.act is not None or self.name is not None):
            raise click.UsageError("--act, --no-act and --source belong to --batch")
        if self.name is not None and not self.act:
            raise click.UsageError("--source names whose customers --act acts on: without --act a file is reported on")
        if self.end is not None and not datetime(2000, 1, 1, tzinfo=UTC) <= self.end <= datetime.now(UTC):
            raise click.UsageError("--until must lie between the year 2000 and now")

    def source(self, settings: "Settings") -> "BatchSource":
        """Return where the cycle's customers come from."""
        from churnops.pipelines import sources

        if self.batch is not None:
            return sources.file(self.batch, _acts_as(self.batch, settings, self.act, self.name))
        return sources.simulation(self.seed) if self.simulate else sources.window(self.window, self.end)


@main.command()
@click.option(
    "--window",
    type=_Duration(),
    metavar="7d",
    help="How much of the journal to look at. Default: monitoring.window_days.",
)
@click.option(
    "--until",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="End of a past window, UTC, judged with the labels that are known by now; it alerts nobody. Default: now.",
)
@click.option(
    "--batch",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Report on a CSV or Parquet file of customers instead, with or without outcomes. It alerts nobody, spends no "
    "error budget and retrains nothing, unless the file lies in data.batches or --act is given.",
)
@click.option(
    "--act/--no-act",
    default=None,
    help="Act on the file of --batch as customers of --source: alert, count a look, retrain. Default: if it lies in "
    "one of data.batches, whose name is the source then.",
)
@click.option("--source", "name", metavar="NAME", help="Source that the file is of: a-z, 0-9, _ and -. With --act.")
@click.option(
    "--simulate",
    is_flag=True,
    help="Look at made-up customers: noise and flipped labels. It alerts nobody and spends no error budget.",
)
@click.option("--seed", type=click.IntRange(0), help="Of --simulate. Default: random_state.")
@click.option(
    "--experiment",
    metavar="ID_OR_NAME",
    help="MLflow experiment to log to, which must exist. Default: ChurnPrediction-Monitoring.",
)
@click.option("--no-retrain", is_flag=True, help="Stop after the report, whatever it recommends.")
@click.option("--every", type=_Duration(), metavar="1h", help="Repeat until stopped: SIGTERM or Ctrl-C.")
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
    """Run one monitoring cycle: whether the model in production is still to be trusted.

    Looks at what the API was asked (the journal), at a file, or at a simulation; writes monitoring_report_<time>.json
    with a page beside it, logs to MLflow, and tells the alert channels. For cron and Kubernetes this one command is
    all that is needed: cycles may be repeated, overlap, or be killed.

    A file is reported on, and nothing follows. A team that scores by file declares its files in data.batches, or says
    --act --source NAME: alarms, looks and recoveries belong to that source, as those of the API belong to `live`. Files
    of `churnops simulate` never act, but for a project with `demonstration: true`.

    \b
    Examples:
      churnops monitor                          predictions of the last days, and labels that are due
      churnops monitor --batch customers.csv    report on a file, labelled or not
      churnops monitor --batch july.csv --act --source monthly
                                                the same, and alert and retrain as source `monthly`
      churnops monitor --every 1h --no-retrain  a watchman in the foreground

    Exit code: 0 if the cycle finished, whatever it found; 2 if it failed.
    """  # noqa: D301
    from churnops.cli.repeat import repeat
    from churnops.pipelines.run_monitoring import run_monitoring
    from churnops.screens import show_cycle

    watched = _Watched(**subject)
    watched.check(repeated=every is not None)
    settings = settings_of(ctx)
    source = watched.source(settings)

    def once() -> None:
        summary = run_monitoring(settings, source, experiment=experiment, permitted=not no_retrain)
        with showing():
            if as_json:
                click.echo(json.dumps(summary.to_json()))
            else:
                show_cycle(summary)

    def complain(error: Exception) -> None:
        if isinstance(error, ChurnopsError):
            show_error(error, str(error))
        else:
            traceback.print_exception(error)

    if every is None:
        once()
    else:
        repeat(every, once, settings.path(settings.monitoring.directory), complain)


def _acts_as(batch: Path, settings: "Settings", act: bool | None, name: str | None) -> str | None:
    """Return the source that a file acts for; None to report on it only."""
    from pydantic import TypeAdapter, ValidationError

    from churnops.pipelines.sources import source_of
    from churnops.settings import SourceName

    declared = source_of(batch, settings)
    if act is False:
        return None
    if name is None:
        if act and declared is None:
            raise click.UsageError("--act needs --source NAME: the file lies in none of data.batches")
        return declared
    try:
        TypeAdapter(SourceName).validate_python(name)
    except ValidationError as error:
        raise click.UsageError(f"--source {name!r}: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None
    if declared not in (None, name):
        raise click.UsageError(f"{batch} is of source {declared!r} in data.batches, not of {name!r}")
    return name


@main.command()
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(1), default=500, show_default=True, help="Customers to draw.")
@click.option("--covariate", type=float, default=0.0, metavar="SD", help="Shift of columns, in standard deviations.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME",
    help="Which column to shift; give it again for more. Default: all numbers that no other column determines.",
)
@click.option("--prior", type=click.FloatRange(0, 1), metavar="RATE", help="Churn rate wanted.")
@click.option(
    "--concept",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="SHARE",
    help="Share of customers whose outcome no longer follows from what they do; the churn rate stays.",
)
@click.option("--recipe", is_flag=True, help="Noise on monitoring.recipe_columns, 2 to 5 % of the outcomes flipped.")
@click.option("--seed", type=click.IntRange(0), help="The same seed gives the same file. Default: random_state.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Table or folder to draw from. Default: data.production of the settings, or else data.raw.",
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
    """Write a table of simulated customers, changed by a known amount, to try monitoring on.

    OUT is .csv or .parquet, by its ending, with the source's headers and the outcome. Simulated customers are possible
    ones: to shift a column, customers take its value, and those of all columns that are connected with it, from another
    customer of the same outcome. Charges follow minutes, and nobody without a plan sends messages. A shift goes as
    far as there are such customers, and what is printed says how far. Nothing else is changed; without any of the
    options it is a fair sample.

    The column churnops_simulated, and the file's hash in the journal, keep the customers from being taken for real
    ones: `monitor --batch` reports on them, and nothing trains on them, but in a project with `demonstration: true`.

    \b
    Examples:
      churnops simulate same.csv                                     nothing has changed
      churnops simulate shifted.csv --covariate 0.3 --column total_day_minutes
      churnops simulate season.csv --prior 0.25                      more of them leave
      churnops simulate rival.csv --concept 0.5 --rows 2000          half of them leave for other reasons
      churnops simulate report.csv --recipe --seed 7                 a little of everything
    """  # noqa: D301
    from churnops.data.simulate import Drift
    from churnops.pipelines.simulate import simulate_file

    settings = settings_of(ctx)
    chosen = sources or [settings.path(path) for path in settings.data.production or settings.data.raw]
    drift = Drift(**changes, noisy=settings.monitoring.recipe_columns)
    seed = settings.random_state if seed is None else seed
    made = simulate_file(chosen, target, settings, drift, rows=rows, seed=seed, overwrite=force)
    with showing():
        if as_json:
            document = {"rows": rows, "output": str(target), "seed": seed, "description": made.description}
            click.echo(json.dumps(document))
        else:
            click.echo(f"{made.description}: {target}")
