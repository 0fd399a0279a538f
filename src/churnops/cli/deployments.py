"""Commands on the deployment: status."""

from datetime import UTC, datetime

import click

from churnops.cli.root import json_option, main, settings_of, show


@main.group()
def deployments() -> None:
    """Show which model each replica of the service uses."""


@deployments.command("status")
@json_option
@click.pass_context
def deployments_status(ctx: click.Context, as_json: bool) -> None:
    """List the replicas of the service and their models.

    A replica is one `churnops serve`, on this machine or another, that uses this journal. It is current, behind (it
    answers with another model), refusing (it cannot load the deployed model) or away (no report for 15 seconds). The
    exit code is 2 if a replica is behind or refusing 30 seconds after the deployment.
    """
    from churnops.errors import RegistryError
    from churnops.project import Project
    from churnops.registry.replicas import FOLLOW, late, replicas_of
    from churnops.screens import show_deployment

    with Project.open(settings_of(ctx)) as project:
        current, since = project.folder.current(), project.folder.since()
        replicas = replicas_of(project.replicas.read(), current)
    document = {
        "production": current,
        "since": since,
        "replicas": [replica.to_json() for replica in replicas],
    }
    show(as_json, lambda: document, lambda: show_deployment(current, since, replicas))
    if behind := late(replicas, since, datetime.now(UTC)):
        names = "; ".join(replica.description for replica in behind)
        raise RegistryError(f"not every replica has followed within {FOLLOW.seconds} seconds: {names}")
