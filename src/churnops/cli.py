"""The command line. Commands import what they need when they run, so that `--help` is fast."""

import json
import re
import sys
import traceback
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import click

from churnops import __version__
from churnops.errors import ChurnopsError, redact

if TYPE_CHECKING:
    from churnops.journal.keys import KeyStore
    from churnops.settings import Settings


class _Commands(click.Group):
    """Prints our own errors, and what the operating system refuses, in a line each; anything else is a defect."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ChurnopsError as error:
            _show_error(error)
            sys.exit(error.exit_code)
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            click.secho(f"error: {what}{error.strerror or error}", fg="red", err=True)
            sys.exit(ChurnopsError.exit_code)


def _show_error(error: ChurnopsError) -> None:
    first, *others = str(error).splitlines()
    click.secho(f"error: {first}", fg="red", err=True)
    for line in (*others, *getattr(error, "__notes__", ())):
        click.secho(f"       {line}", fg="red", err=True)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config", type=click.Path(path_type=Path), metavar="FILE",
    help="Settings file. Default: $CHURNOPS_CONFIG, or config.yaml here or in a folder above.",
)  # fmt: skip
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Keep a trustworthy churn model in production.

    \b
    A first day with churnops:
      churnops config show > config.yaml   the commented settings; describe your table in it
      churnops run                         train, evaluate, track and deploy a model
      churnops models                      what is registered, and what answers
      churnops predict new.csv scored.csv  score customers with the deployed model
      churnops serve                       answer over HTTP, with reasons: POST /predict
      churnops monitor                     is the model still to be trusted? a report, and alerts
      mlflow ui                            every run, in the browser (from the project's folder)
    """  # noqa: D301  (click wants the control character, not a backslash)
    ctx.obj = config


def _settings(ctx: click.Context) -> "Settings":
    from churnops.settings import find_config, load_settings

    return load_settings(ctx.obj or find_config(Path.cwd()))


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document for machines.")


@main.command()
@click.option("--deploy", is_flag=True, help="Replace the model in production with the new winner.")
@json_option
@click.pass_context
def run(ctx: click.Context, deploy: bool, as_json: bool) -> None:
    """Run the seven steps: raw tables to a deployed model.

    The first winner is deployed. Later winners are registered as challenger, and production stays, unless --deploy
    is given. The same data and settings give the same model: then nothing moves.
    """
    from churnops.pipelines.run_all import STEPS, run_all
    from churnops.screens import show_run, steps_progress

    settings = _settings(ctx)
    with steps_progress(STEPS, len(settings.training.families), hidden=as_json) as (progress, on_family):
        summary = run_all(settings, deploy=deploy, progress=progress, on_family=on_family)
    if as_json:
        click.echo(json.dumps(summary.to_json()))
    else:
        show_run(summary, settings)


@main.command()
@json_option
@click.pass_context
def models(ctx: click.Context, as_json: bool) -> None:
    """List registered versions and which one answers."""
    from churnops.registry import Registry
    from churnops.screens import show_models
    from churnops.tracking import Tracker

    with closing(Registry(Tracker(_settings(ctx)))) as registry:
        versions, history = registry.versions(), registry.deployed.log.history()
        answers = registry.deployed.current()
    if as_json:
        document = {
            "production": answers,
            "versions": [vars(version) for version in versions],
            "deployments": [vars(deployment) for deployment in history],
        }
        click.echo(json.dumps(document, default=str))
    else:
        show_models(registry.name, versions, history, answers)


@main.group()
def config() -> None:
    """Show or check the settings."""


@config.command("show")
def config_show() -> None:
    """Print the commented default config.yaml."""
    from churnops.settings import default_config

    click.echo(default_config(), nl=False)


@config.command("check")
@json_option
@click.pass_context
def config_check(ctx: click.Context, as_json: bool) -> None:
    """Check config.yaml and CHURNOPS_* variables, feature expressions included."""
    from churnops.features import all_features

    settings = _settings(ctx)
    features = all_features(settings.table, settings.features)
    if as_json:
        click.echo(redact(settings.model_dump_json(by_alias=True)))
    else:
        click.echo(
            f"valid: {len(settings.table.columns)} columns, {len(features)} features, paths from {settings.root}"
        )


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
    help="Look at a CSV or Parquet file of customers instead, with or without outcomes.",
)
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
    ctx: click.Context, window: timedelta | None, until: datetime | None, batch: Path | None, simulate: bool,
    seed: int | None, experiment: str | None, no_retrain: bool, every: timedelta | None, as_json: bool,
) -> None:  # fmt: skip
    """Run one monitoring cycle: whether the model in production is still to be trusted.

    Looks at what the API was asked (the journal), at a file, or at a simulation; writes monitoring_report_<time>.json
    with a page beside it, logs to MLflow, and tells the alert channels. For cron and Kubernetes this one command is
    all that is needed: cycles may be repeated, overlap, or be killed.

    \b
    Examples:
      churnops monitor                          predictions of the last days, and labels that are due
      churnops monitor --batch customers.csv    a file, labelled or not
      churnops monitor --every 1h --no-retrain  a watchman in the foreground

    Exit code: 0 if the cycle finished, whatever it found; 2 if it failed.
    """  # noqa: D301
    from churnops.pipelines import run_monitoring as cycle
    from churnops.pipelines.repeat import repeat
    from churnops.screens import show_cycle

    if (batch is not None) + simulate + (window is not None or until is not None) > 1:
        raise click.UsageError("--batch, --simulate and --window/--until exclude each other")
    if every and (batch or simulate or until):
        raise click.UsageError("--every looks at the journal's newest predictions: no --batch, --simulate or --until")
    if seed is not None and not simulate:
        raise click.UsageError("--seed belongs to --simulate")
    end = until.replace(tzinfo=UTC) if until else None
    if end is not None and not datetime(2000, 1, 1, tzinfo=UTC) <= end <= datetime.now(UTC):
        raise click.UsageError("--until must lie between the year 2000 and now")
    settings = _settings(ctx)
    if batch is not None:
        source = cycle.file(batch)
    else:
        source = cycle.simulation(seed) if simulate else cycle.window(window, end)

    def once() -> None:
        summary = cycle.run_monitoring(settings, source, experiment=experiment, permitted=not no_retrain)
        if as_json:
            click.echo(json.dumps(summary.to_json()))
        else:
            show_cycle(summary)

    def complain(error: Exception) -> None:
        if isinstance(error, ChurnopsError):
            _show_error(error)
        else:
            traceback.print_exception(error)

    if every is None:
        once()
    else:
        repeat(every, once, settings.path(settings.monitoring.directory), complain)


@main.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--explain", is_flag=True, help="Add what each score is made of.")
@click.option("--force", is_flag=True, help="Overwrite OUT if it exists.")
@json_option
@click.pass_context
def predict(ctx: click.Context, source: Path, target: Path, explain: bool, force: bool, as_json: bool) -> None:
    """Score a file of customers, of any size, with the deployed model.

    IN and OUT are .csv or .parquet, by their ending. OUT gets IN's columns plus churn_probability,
    churn_prediction and model_version; with --explain also base_value, explanation_scale and top_shap_features.
    It is written whole or not at all. A run that was stopped goes on when the same command is typed again.
    """
    from churnops.pipelines.predict import predict_file
    from churnops.screens import rows_progress

    settings = _settings(ctx)
    models = settings.path(settings.registry.directory)
    with rows_progress(source.name, hidden=as_json) as (on_rows, say):
        done = predict_file(source, target, models, explain=explain, overwrite=force, on_rows=on_rows, say=say)
    if as_json:
        document = {
            "rows": done.rows, "predicted_to_churn": done.churners, "model_version": done.model_version,
            "output": str(target), "explained": explain, "resumed_rows": done.resumed_rows,
        }  # fmt: skip
        click.echo(json.dumps(document))
    else:
        click.echo(
            f"{done.rows} customers scored by {done.model_version}, {done.churners} predicted to churn: {target}"
        )


@main.command()
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--rows", type=click.IntRange(1), default=500, show_default=True, help="Customers to draw.")
@click.option("--covariate", type=float, default=0.0, metavar="SD", help="Shift of columns, in standard deviations.")
@click.option(
    "--column", "columns", multiple=True, metavar="NAME",
    help="Which column to shift; give it again for more. Default: all numbers that no other column determines.",
)  # fmt: skip
@click.option("--prior", type=click.FloatRange(0, 1), metavar="RATE", help="Churn rate wanted.")
@click.option(
    "--concept", type=click.FloatRange(0, 1), default=0.0, metavar="SHARE",
    help="Share of customers whose outcome no longer follows from what they do; the churn rate stays.",
)  # fmt: skip
@click.option("--recipe", is_flag=True, help="A little noise on three columns, and 2 to 5 % of the outcomes flipped.")
@click.option("--seed", type=click.IntRange(0), help="The same seed gives the same file. Default: random_state.")
@click.option(
    "--source", "sources", multiple=True, type=click.Path(path_type=Path), metavar="FILE",
    help="Table or folder to draw from. Default: data.production of the settings, or else data.raw.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite OUT if it exists.")
@json_option
@click.pass_context
def simulate(
    ctx: click.Context, target: Path, rows: int, covariate: float, columns: tuple[str, ...], prior: float | None,
    concept: float, recipe: bool, seed: int | None, sources: tuple[Path, ...], force: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write a table of simulated customers, changed by a known amount, to try monitoring on.

    OUT is .csv or .parquet, by its ending, with the source's headers and the outcome. Columns that another one
    determines, such as charges by minutes, follow it. Nothing else is changed but what is asked for; without any of
    the options it is a fair sample.

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

    settings = _settings(ctx)
    chosen = sources or [settings.path(path) for path in settings.data.production or settings.data.raw]
    drift = Drift(covariate, columns, prior, concept, recipe)
    seed = settings.random_state if seed is None else seed
    made = simulate_file(chosen, target, settings.table, drift, rows=rows, seed=seed, overwrite=force)
    if as_json:
        document = {"rows": rows, "output": str(target), "seed": seed, "description": made.description}
        click.echo(json.dumps(document))
    else:
        click.echo(f"{made.description}: {target}")


@main.command()
@click.option("--host", help="Address to listen on. Default: api.host of the settings. Not loopback: needs API keys.")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: api.port of the settings, 8000.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that answer.")
@click.pass_context
def serve(ctx: click.Context, host: str | None, port: int | None, workers: int) -> None:
    """Answer over HTTP with the deployed model: predictions with reasons, labels, health, metrics.

    Follows deployments while it serves, and finishes the requests under way when it is told to stop (SIGTERM, Ctrl-C).
    Try it:

    \b
      curl -s localhost:8000/openapi.json | python -m json.tool     every path, with examples
      curl -s localhost:8000/health/ready                           whether it answers, and with which model
    """  # noqa: D301
    from churnops.api.server import serve as serve_api
    from churnops.settings import find_config

    settings = _settings(ctx)
    config = (ctx.obj or find_config(Path.cwd())).resolve()
    serve_api(settings, config, host or settings.api.host, port or settings.api.port, workers)


@main.command()
@click.pass_context
def warm(ctx: click.Context) -> None:
    """Compile what answers, once, and keep it on disk: for building images, so that `serve` starts quickly."""
    import time

    started = time.perf_counter()
    from churnops.api.main import app  # importing compiles, and keeps the machine code beside the source
    from churnops.model import Bundle

    settings = _settings(ctx)
    deployed = settings.path(settings.registry.directory) / "production"
    if deployed.exists():
        bundle = Bundle.load(deployed)
        bundle.explain(bundle.probes)
        loaded = f"{bundle.version_name} loads"
    else:
        loaded = "no model is deployed yet"
    click.echo(f"{app.title} is compiled, {loaded}: {time.perf_counter() - started:.1f} s")


@main.group()
def keys() -> None:
    """Make, list and revoke the API keys of the HTTP service."""


def _key_store(ctx: click.Context) -> "KeyStore":
    from churnops.journal import open_database
    from churnops.journal.keys import KeyStore

    settings = _settings(ctx)
    return KeyStore(open_database(settings.database_url(settings.journal.url)))


@keys.command("add")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, required=True, metavar="SCOPE",
    help="What the key may do: predict, label, or admin, which implies both. Give it again for more.",
)  # fmt: skip
@json_option
@click.pass_context
def keys_add(ctx: click.Context, name: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Make an API key and print its token, once.

    NAME says whose key it is. The journal keeps only a hash of the token, so a lost one is revoked and replaced.
    Running servers know the key within seconds.

    \b
    Example:
      churnops keys add billing --scope predict --scope label
    """  # noqa: D301  (click wants the control character, not a backslash)
    token = _key_store(ctx).add(name, scopes)
    if as_json:
        click.echo(json.dumps({"name": name, "scopes": sorted(set(scopes)), "token": token}))
    else:
        click.echo(token)
        click.secho("Keep it now: it will not be shown again. Send it as the header X-API-Key.", fg="yellow", err=True)


@keys.command("list")
@json_option
@click.pass_context
def keys_list(ctx: click.Context, as_json: bool) -> None:
    """List API keys, revoked ones too."""
    from churnops.screens import show_keys

    found = _key_store(ctx).list()
    if as_json:
        shown = ("id", "name", "created_at", "revoked_at")
        documents = [{n: getattr(key, n) for n in shown} | {"scopes": sorted(key.scopes)} for key in found]
        click.echo(json.dumps({"keys": documents}, default=str))
    else:
        show_keys(found)


@keys.command("revoke")
@click.argument("key", metavar="NAME_OR_ID")
@json_option
@click.pass_context
def keys_revoke(ctx: click.Context, key: str, as_json: bool) -> None:
    """Revoke an API key, by its name or id. Running servers refuse it within seconds."""
    revoked = _key_store(ctx).revoke(key)
    if as_json:
        click.echo(json.dumps({"id": revoked.id, "name": revoked.name, "revoked_at": str(revoked.revoked_at)}))
    else:
        click.echo(f"{revoked.name} ({revoked.id}) is revoked")


@main.command()
@json_option
def version(as_json: bool) -> None:
    """Print the version, with --json the bundle protocol too."""
    if as_json:
        from churnops.model import PROTOCOL

        click.echo(json.dumps({"churnops": __version__, "bundle_protocol": PROTOCOL}))
    else:
        click.echo(f"churnops {__version__}")


if __name__ == "__main__":
    main()
