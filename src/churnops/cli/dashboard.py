"""Command of the dashboard: dashboard."""

import os
import sys
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import click

from churnops.cli.root import main, settings_of
from churnops.errors import ChurnopsError


@main.command()
@click.option("--host", help="Address to listen on. Default: dashboard.host of the settings, this machine only.")
@click.option("--port", type=click.IntRange(1, 65535), help="Default: dashboard.port of the settings, 8501.")
@click.pass_context
def dashboard(ctx: click.Context, host: str | None, port: int | None) -> None:
    """Show predictions, monitoring, analysis and models in the browser.

    Asks the API of dashboard.api_url for predictions, or else the deployed model itself. Works offline. Whoever can
    reach it can use it, unless dashboard.login is set: keep it on this machine, or behind a login.
    """
    from churnops.settings import ENV_CONFIG, find_config

    if find_spec("streamlit") is None:
        raise ChurnopsError("the dashboard needs Streamlit: install churnops with its extra, churnops[dashboard]")
    settings = settings_of(ctx)
    os.environ[ENV_CONFIG] = str((ctx.obj or find_config(Path.cwd())).resolve())
    entry = str(files("churnops.app").joinpath("streamlit_app.py"))  # its options are in .streamlit/ beside it
    where = ("--server.address", host or settings.dashboard.host, "--server.port", str(port or settings.dashboard.port))
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", entry, *where])  # noqa: S606
