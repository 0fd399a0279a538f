"""Commands of the HTTP service: serve, warm, keys."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from churnops.cli.completion import active_keys, complete_scopes, completing
from churnops.cli.root import json_option, main, need, settings_of, show, show_json
from churnops.console import quiet_processes

if TYPE_CHECKING:
    from churnops.journal.keys import KeyStore


@main.command()
@click.option(
    "--host", help="Address to listen on. Default: api.host. An address other than loopback needs an API key."
)
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. Default: api.port, 8000.")
@click.option("--root-path", help="Path of the service behind a proxy, such as /churn. Default: api.root_path, none.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Number of processes.")
@click.pass_context
def serve(ctx: click.Context, host: str | None, port: int | None, root_path: str | None, workers: int) -> None:
    """Serve the deployed model over HTTP.

    The API returns predictions with reasons, accepts labels, and reports health and metrics. It loads a new deployment
    within a second. At the start it finishes or undoes a deployment that a killed process left open. On SIGTERM or
    Ctrl-C it answers the requests in progress, then stops.
    Try it:

    \b
      curl -s localhost:8000/openapi.json | python -m json.tool     every path, with examples
      curl -s localhost:8000/health/ready                           readiness, and the deployed model
    """  # noqa: D301
    need("serve", "uvicorn")
    from churnops.api.server import serve as serve_api
    from churnops.pipelines.recovery import finishing_open_deployments
    from churnops.settings import find_config

    if root_path is not None:
        os.environ["CHURNOPS_API__ROOT_PATH"] = root_path  # also for the workers
    settings = settings_of(ctx)
    config = (ctx.obj or find_config(Path.cwd())).resolve()
    quiet_processes()
    with finishing_open_deployments(settings, config):
        serve_api(settings, config, host or settings.api.host, port or settings.api.port, workers)


@main.command()
@click.pass_context
def warm(ctx: click.Context) -> None:
    """Compile the prediction code, so that `serve` starts quickly.

    The machine code is stored on disk. Without a project, as while a container image is built, no model is loaded.
    """
    import time

    need("serve", "uvicorn")
    started = time.perf_counter()
    import churnops.data.cells
    import churnops.monitoring.drift.ks  # noqa: F401  (importing compiles, and keeps the machine code)
    from churnops.api.main import app
    from churnops.errors import NoProjectError
    from churnops.project import Project

    loaded = "no model is deployed yet"
    try:
        bundle = Project(settings_of(ctx)).deployed()
    except NoProjectError:
        bundle, loaded = None, "no project is here"
    if bundle is not None:
        bundle.explain(bundle.probes)
        loaded = f"{bundle.version_name} loads"
    click.echo(f"Compiled {app.title} in {time.perf_counter() - started:.1f} s; {loaded}")


@main.group()
def keys() -> None:
    """Create, list and revoke API keys of the HTTP service."""


def _key_store(ctx: click.Context) -> "KeyStore":
    from churnops.project import Project

    store = Project(settings_of(ctx)).keys
    store.record()
    return store


@keys.command("add")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    metavar="SCOPE",
    shell_complete=complete_scopes,
    help="Permission: predict, label, features, metrics, or admin, which implies the others. Repeat it for several.",
)
@json_option
@click.pass_context
def keys_add(ctx: click.Context, name: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Create an API key and print its token, once.

    NAME is the owner's name. The journal keeps only a hash of the token: revoke a key whose token is lost, and create
    another. Running servers accept the key within seconds. Once a key was made, every request needs a key, even if the
    journal is lost or all keys are revoked. The file models.keys records this; it contains no secret.

    \b
    Examples:
      churnops keys add billing --scope predict --scope label
      churnops keys add prometheus --scope metrics
    """  # noqa: D301  (click wants the control character, not a backslash)
    token = _key_store(ctx).add(name, scopes)
    if as_json:
        show_json({"name": name, "scopes": sorted(set(scopes)), "token": token})
    else:
        click.echo(token)
        click.secho(
            "Copy the token now: it is not shown again. Send it in the header X-API-Key, or as a bearer token.",
            fg="yellow",
            err=True,
        )


@keys.command("list")
@json_option
@click.pass_context
def keys_list(ctx: click.Context, as_json: bool) -> None:
    """List API keys, including revoked ones."""
    from churnops.screens import show_keys

    api_keys = _key_store(ctx).list()
    names = ("id", "name", "created_at", "revoked_at")
    documents = [{n: getattr(key, n) for n in names} | {"scopes": sorted(key.scopes)} for key in api_keys]
    show(as_json, lambda: {"keys": documents}, lambda: show_keys(api_keys))


@keys.command("revoke")
@click.argument("key", metavar="NAME_OR_ID", shell_complete=completing(active_keys))
@json_option
@click.pass_context
def keys_revoke(ctx: click.Context, key: str, as_json: bool) -> None:
    """Revoke an API key by its name or id. Running servers refuse it within seconds.

    Requests still need a key after the last one is revoked.
    """
    revoked = _key_store(ctx).revoke(key)
    document = {"id": revoked.id, "name": revoked.name, "revoked_at": revoked.revoked_at}
    show(as_json, lambda: document, lambda: click.echo(f"Revoked {revoked.name} ({revoked.id})"))
