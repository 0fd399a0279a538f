"""Commands in documents and schedules: whether they exist, with their options. Commands typed in a project."""

import re
import shlex
from collections.abc import Callable

import click
from click.testing import CliRunner, Result

from churnops.cli import main
from churnops.settings import Settings
from tests.support.projects import REPOSITORY

SCHEDULES = REPOSITORY / "deploy/schedules"
UNITS = REPOSITORY / "deploy/systemd"


def cron_lines() -> list[str]:
    """Return the jobs of the crontab."""
    return [
        line
        for line in (SCHEDULES / "crontab").read_text(encoding="utf-8").splitlines()
        if line[:1] not in ("", "#") and not re.match(r"\w+=", line)
    ]


def problem(line: str, *, complete: bool) -> str | None:
    """Return the problem of a command line, or None. Values are not checked; `complete` asks for every argument."""
    words = shlex.split(line, comments=True)[1:]
    words = words[: next((i for i, word in enumerate(words) if word in {">", "|", "&&", "&"}), len(words))]
    command: click.Command = main
    while True:
        parser = command.make_parser(click.Context(command, **main.context_settings))
        parser.allow_interspersed_args = not isinstance(command, click.Group)
        try:
            values, others, _ = parser.parse_args(words)
        except click.BadOptionUsage as error:
            return error.format_message() if complete else None
        except click.UsageError as error:
            return error.format_message()
        if not isinstance(command, click.Group) or not others:
            break
        if others[0] not in command.commands:
            return f"no command {others[0]!r}"
        command, words = command.commands[others[0]], others[1:]
    if others:
        return f"too much: {others}"
    for parameter in command.params if complete else ():
        if parameter.required and not isinstance(values.get(parameter.name or ""), str | tuple | list):
            return f"no {parameter.make_metavar(click.Context(command, **main.context_settings))}"
    return None


def typed_in(settings: Settings) -> Callable[..., Result]:
    """Return a function that types a command in a project, and checks its exit code."""

    def run(*command: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["--config", str(settings.path("config.yaml")), *command])
        assert result.exit_code == code, result.output
        return result

    return run
