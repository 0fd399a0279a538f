"""Values that a shell completes: versions, API keys, scopes, columns and sources of the project.

A shell asks at every press of the Tab key. So nothing here loads MLflow or a model, writes a file or prints a message.
If the project cannot be read, there are no values: the command itself names the reason.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from churnops.errors import ChurnopsError

if TYPE_CHECKING:
    from churnops.project import Project
    from churnops.settings import Settings

Values = Callable[["Settings"], Mapping[str, str]]
"""Returns the values of a project, each with its help text."""
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def completing(values: Values) -> Complete:
    """Return the function that click calls to complete a parameter with the project's values."""

    def complete(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from churnops.settings import find_config, load_settings

        config = ctx.find_root().params.get("config")
        try:
            offered = values(load_settings(config or find_config(Path.cwd())))
        except (ChurnopsError, OSError):
            return []
        return [CompletionItem(value, help=text) for value, text in offered.items() if value.startswith(incomplete)]

    return complete


def registered(settings: "Settings") -> Mapping[str, str]:
    """Return the registered versions; if MLflow's store is no local file, the versions that were deployed."""
    from churnops.registry.registered import registered_versions

    versions = registered_versions(settings)
    return {str(version): text for version, text in versions.items()} or deployed_before(settings)


def deployed_before(settings: "Settings") -> Mapping[str, str]:
    """Return the versions that were deployed before the one on this machine, newest first; no object store is asked."""
    from churnops.registry.folder import DeploymentFolder
    from churnops.registry.place import Place

    with _journal(settings) as project:
        if project is None:
            return {}
        folder = DeploymentFolder(Place(project.models), project.deployments)
        earlier = [period for period in reversed(folder.answered()) if period.folder != folder.current()]
    return {str(period.version): f"deployed {period.at:%Y-%m-%d %H:%M}: {period.reason}" for period in earlier}


def policies(settings: "Settings") -> Mapping[str, str]:
    """Return the versions of the decision policy, newest first."""
    with _journal(settings) as project:
        versions = project.policies.newest(100) if project else ()
        return {str(recorded.version): f"{recorded.at:%Y-%m-%d %H:%M}: {recorded.reason}" for recorded in versions}


def active_keys(settings: "Settings") -> Mapping[str, str]:
    """Return the names of the API keys that are not revoked."""
    with _journal(settings) as project:
        keys = project.keys.active().values() if project else ()
        return {key.name: ", ".join(sorted(key.scopes)) for key in keys}


def call_lists(settings: "Settings") -> Mapping[str, str]:
    """Return the numbers of the newest call lists."""
    with _journal(settings) as project:
        kept = project.call_lists.newest() if project else []
    return {str(one.id): one.name for one in kept}


def complete_scopes(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a scope of API keys."""
    from churnops.journal.keys import SCOPES

    return [CompletionItem(scope) for scope in SCOPES if scope.startswith(incomplete)]


def numeric_columns(settings: "Settings") -> Mapping[str, str]:
    """Return the numeric columns of the table."""
    return {column.name: column.description for column in settings.table.inputs if column.numeric}


def categories(settings: "Settings") -> Mapping[str, str]:
    """Return the categories and flags of the table."""
    return {column.name: column.description for column in settings.table.inputs if column.levels}


def batch_sources(settings: "Settings") -> Mapping[str, str]:
    """Return the sources of `data.batches`."""
    return dict(settings.data.batches)


@contextmanager
def _journal(settings: "Settings") -> Iterator["Project | None"]:
    """Yield the project; None if it has no journal yet, because opening the journal would make it."""
    from churnops.project import Project

    url = settings.database_url(settings.journal.url)
    if url.startswith("sqlite") and not Path(url.removeprefix("sqlite:///")).is_file():
        yield None
        return
    with Project.open(settings) as project:
        yield project
