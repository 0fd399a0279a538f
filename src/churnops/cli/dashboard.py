"""Command that starts the dashboard: dashboard."""

import os
import sys
from importlib.resources import files
from pathlib import Path

import click

from churnops.cli.root import main, need, settings_of
from churnops.console import quiet_processes
from churnops.port import check_port


@main.command()
@click.option("--host", help="Address to listen on. Default: dashboard.host, this machine only.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on. Default: dashboard.port, 8501.")
@click.pass_context
def dashboard(ctx: click.Context, host: str | None, port: int | None) -> None:
    """Show predictions, monitoring and models in the browser.

    Predictions come from the API at dashboard.api_url. If this setting is empty, the dashboard uses the deployed model
    directly. No internet is needed. Without dashboard.login everyone who can reach the address can use the dashboard:
    keep it on this machine, or set a login.
    """
    from churnops.settings import ENV_CONFIG, find_config

    need("dashboard", "streamlit")
    settings = settings_of(ctx)
    address, port = host or settings.dashboard.host, port or settings.dashboard.port
    check_port(address, port)
    quiet_processes()
    os.environ[ENV_CONFIG] = str((ctx.obj or find_config(Path.cwd())).resolve())
    entry = str(files("churnops.app").joinpath("streamlit_app.py"))  # its options are in .streamlit/ beside it
    options = ("--server.address", address, "--server.port", str(port))
    os.execv(sys.executable, [sys.executable, "-m", "streamlit", "run", entry, *options])  # noqa: S606
