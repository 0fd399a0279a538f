"""Commands of the HTTP service: serve, warm, and its API keys."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from churnops.cli.root import json_option, main, settings_of

if TYPE_CHECKING:
    from churnops.journal.keys import KeyStore


@main.command()
@click.option("--host", help="Address to listen on. Default: api.host of the settings. Not loopback: needs API keys.")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: api.port of the settings, 8000.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes that answer.")
@click.pass_context
def serve(ctx: click.Context, host: str | None, port: int | None, workers: int) -> None:
    """Answer over HTTP with the deployed model: predictions with reasons, labels, health, metrics.

    Follows deployments while it serves, and finishes the requests under way when it is told to stop (SIGTERM, Ctrl-C).
    A deployment that a killed process left unfinished is finished or undone beside it.
    Try it:

    \b
      curl -s localhost:8000/openapi.json | python -m json.tool     every path, with examples
      curl -s localhost:8000/health/ready                           whether it answers, and with which model
    """  # noqa: D301
    from churnops.api.server import serve as serve_api
    from churnops.pipelines.recovery import finishing_open_deployments
    from churnops.settings import find_config

    settings = settings_of(ctx)
    config = (ctx.obj or find_config(Path.cwd())).resolve()
    with finishing_open_deployments(settings, config):
        serve_api(settings, config, host or settings.api.host, port or settings.api.port, workers)


@main.command()
@click.pass_context
def warm(ctx: click.Context) -> None:
    """Compile what answers, once, and keep it on disk: for building images, so that `serve` starts quickly."""
    import time

    started = time.perf_counter()
    from churnops.api.main import app  # importing compiles, and keeps the machine code beside the source
    from churnops.project import Project

    bundle = Project(settings_of(ctx)).deployed()
    if bundle is not None:
        bundle.explain(bundle.probes)
        loaded = f"{bundle.version_name} loads"
    else:
        loaded = "no model is deployed yet"
    click.echo(f"{app.title} is compiled, {loaded}: {time.perf_counter() - started:.1f} s")


@main.group()
def keys() -> None:
    """Make, list and revoke the API keys of the HTTP service."""


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
    help="What the key may do: predict, label, metrics, or admin, which implies the others. Give it again for more.",
)
@json_option
@click.pass_context
def keys_add(ctx: click.Context, name: str, scopes: tuple[str, ...], as_json: bool) -> None:
    """Make an API key and print its token, once.

    NAME says whose key it is. The journal keeps only a hash of the token, so a lost one is revoked and replaced.
    Running servers know the key within seconds. Once a key was made, every request needs one: a file beside the models
    (models.keys, without secrets) keeps that fact, even if the journal is lost or all keys are revoked.

    \b
    Example:
      churnops keys add billing --scope predict --scope label
      churnops keys add prometheus --scope metrics
    """  # noqa: D301  (click wants the control character, not a backslash)
    token = _key_store(ctx).add(name, scopes)
    if as_json:
        click.echo(json.dumps({"name": name, "scopes": sorted(set(scopes)), "token": token}))
    else:
        click.echo(token)
        click.secho(
            "Keep it now: it will not be shown again. Send it as the header X-API-Key, or as a bearer token.",
            fg="yellow",
            err=True,
        )


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
    """Revoke an API key, by its name or id. Running servers refuse it within seconds.

    Requests go on needing a key after the last one is revoked.
    """
    revoked = _key_store(ctx).revoke(key)
    if as_json:
        click.echo(json.dumps({"id": revoked.id, "name": revoked.name, "revoked_at": str(revoked.revoked_at)}))
    else:
        click.echo(f"{revoked.name} ({revoked.id}) is revoked")
