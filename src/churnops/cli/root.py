"""The command `churnops`, and shared parts of its commands."""

import json
import math
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from churnops import __version__
from churnops.console import OutputError, prepare_streams, quiet_libraries
from churnops.errors import ChurnopsError, reason_of

if TYPE_CHECKING:
    from churnops.settings import Settings


SCHEMA_VERSION = 1
"""Version of the JSON documents of `--json`: keys are added, never changed or removed."""


_SHOWN = "churnops.shown"

_SYNONYMS = {"train": "run", "fit": "run", "score": "predict", "deploy": "promote", "status": "doctor"}
"""Commands for the words of other tools."""


class _Commands(click.Group):
    """Prints a `ChurnopsError`, an `OSError` or a missing package on one line.

    Any other exception is a defect and keeps its traceback.

    With `--json` the error is a JSON document on standard output, and not on standard error.
    """

    _as_json = False

    def main(self, args: Sequence[str] | None = None, *more: Any, **options: Any) -> Any:
        prepare_streams()
        quiet_libraries()
        self._as_json = "--json" in (sys.argv[1:] if args is None else args)
        try:
            try:
                return super().main(args, *more, **options)
            finally:
                sys.stdout.flush()
        except OutputError as error:
            if error.reader_gone:  # as with `head`: end as other programs do
                sys.exit(128 + signal.SIGPIPE)
            show_error(error, str(error))
            sys.exit(ChurnopsError.exit_code)

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            if not self._as_json:
                raise  # click prints it
            report_error(error, as_json=True)
            sys.exit(error.exit_code)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] in _SYNONYMS:
            ctx.fail(f"No such command '{args[0]}'. Did you mean '{_SYNONYMS[args[0]]}'?")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            if not self._as_json:
                raise  # click prints it
            self._end(ctx, error, error.exit_code)
        except ChurnopsError as error:
            self._end(ctx, error, error.exit_code)
        except OSError as error:
            self._end(ctx, error, ChurnopsError.exit_code)
        except ModuleNotFoundError as error:
            package = (error.name or "churnops").split(".")[0]
            if package == "churnops":
                raise
            self._end(ctx, _missing(package), ChurnopsError.exit_code)
        except Exception as error:
            if "KeyboardInterrupt" not in str(error):
                raise
            raise click.Abort from error  # Ctrl-C while pydantic is imported, which wraps it in its own error

    def _end(self, ctx: click.Context, error: Exception, exit_code: int) -> NoReturn:
        if not (self._as_json and _SHOWN in ctx.meta):  # a refusal by the gate has shown its document already
            report_error(error, as_json=self._as_json)
        sys.exit(exit_code)


def _missing(package: str) -> ChurnopsError:
    return ChurnopsError(
        f"the package {package} is missing: `pip install churnops` adds it, and the image `full` has it"
    )


def show(as_json: bool, document: Callable[[], object], people: Callable[[], object]) -> None:
    """Print a command's result, as one JSON document or for people."""
    if as_json:
        show_json(document())
    else:
        people()


def show_json(document: object) -> None:
    """Print a JSON document: an object, or each object of a list, gets `schema_version`; times are ISO 8601."""
    if isinstance(document, Mapping):
        document = {"schema_version": SCHEMA_VERSION, **document}
    elif isinstance(document, list):
        document = [{"schema_version": SCHEMA_VERSION, **item} for item in document]
    if (ctx := click.get_current_context(silent=True)) is not None:
        ctx.meta[_SHOWN] = True
    click.echo(json.dumps(document, default=_plain))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def show_done(as_json: bool, document: Callable[[], object], people: Callable[[], object]) -> None:
    """Print the result of finished work; an error here is only a warning."""
    try:
        show(as_json, document, people)
        sys.stdout.flush()
    except OutputError as error:
        if not error.reader_gone:
            warn(f"the work is done, but its result cannot be shown: {error}")
    except Exception as error:
        warn(f"the work is done, but its result cannot be shown: {reason_of(error)}")


def warn(message: str) -> None:
    """Print a warning on standard error."""
    click.secho(f"warning: {message}", fg="yellow", err=True)


def report_error(error: Exception, *, as_json: bool) -> None:
    """Print a `ChurnopsError`, `OSError` or usage error once: as a JSON document, or on standard error."""
    document = error_document(error)
    if as_json:
        show_json(document)
    else:
        show_error(error, document["error"])


def error_document(error: Exception) -> dict[str, Any]:
    """Return an error as a JSON document."""
    message, exit_code = str(error), getattr(error, "exit_code", ChurnopsError.exit_code)
    if isinstance(error, click.ClickException):
        message = error.format_message()
    elif isinstance(error, OSError):
        message = f"{error.filename}: {error.strerror or error}" if error.filename else error.strerror or str(error)
    return {"error": message, "notes": list(getattr(error, "__notes__", ())), "exit_code": exit_code}


def show_error(error: Exception, message: str) -> None:
    """Print the lines of a message and the notes of its error."""
    first, *others = message.splitlines()
    click.secho(f"error: {first}", fg="red", err=True)
    for line in (*others, *getattr(error, "__notes__", ())):
        click.secho(f"       {line}", fg="red", err=True)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Settings file. Default: $CHURNOPS_CONFIG, else config.yaml in this folder or one above.",
)
@click.version_option(__version__, message="churnops %(version)s")
@click.pass_context
def main(ctx: click.Context, config: Path | None) -> None:
    """Keep a trustworthy churn model in production.

    \b
    A first day with churnops:
      churnops demo                        watch the whole loop in a new folder, for three minutes
      churnops init t.csv --target Churn   write config.yaml for your table t.csv
      churnops run                         train, evaluate, track and deploy a model
      churnops models                      list the registered models and the deployed one
      churnops predict new.csv scored.csv  score customers with the deployed model
      churnops serve                       serve predictions with reasons over HTTP
      churnops monitor                     check the deployed model: a report and alerts
      churnops retrain                     train again; deploy only a proven improvement
      churnops dashboard                   predictions, monitoring and models in the browser
      mlflow ui                            every run in the browser (from the project's folder)
    """  # noqa: D301  (click wants the control character, not a backslash)
    ctx.obj = config


def settings_of(ctx: click.Context) -> "Settings":
    """Load the settings, apply the setting `permissions`, warn of outdated setting names, and print the banner."""
    from churnops.settings import apply_permissions, project_settings

    settings = project_settings(ctx.obj)
    apply_permissions(settings)
    for line in settings.renamed:
        warn(line)
    if settings.banner:
        click.secho(settings.banner, fg="yellow", err=True)
    return settings


def need(extra: str, *modules: str) -> None:
    """Raise a `ChurnopsError` that names the installation of `extra` if one of its modules is not installed."""
    for module in modules:
        if find_spec(module) is None:
            raise ChurnopsError(f"{module} is not installed: pip install 'churnops[{extra}]'")


class NumberRange(click.FloatRange):
    """Range of finite numbers: click lets NaN into every range."""

    def convert(self, value: Any, parameter: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number of a text."""
        number = super().convert(value, parameter, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", parameter, ctx)
        return number


def local_table(settings: "Settings", given: str) -> Path:
    """Return the path of a table that a user named; if it is in an object store, copy it first."""
    from churnops.address import is_object_address

    if not is_object_address(given):
        return Path(given)
    from churnops.data.stored import fetch

    return fetch(settings, given)


missing_option = click.option(
    "--accept-missing",
    multiple=True,
    metavar="COLUMN",
    help="Accept a file without this column, or with many empty cells in it. May be repeated.",
)
accept_leak_option = click.option(
    "--accept-leak",
    multiple=True,
    metavar="COLUMN",
    help="Deploy although this column contains the outcome. May be repeated.",
)
MAX_NUMBER = 2**31 - 1
"""Largest number of an entry in the journal: a list, an experiment, or a policy."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON document.")
