"""Starting the service: uvicorn with the right flags, one or several workers."""

import logging
import os
import tempfile
from pathlib import Path

import uvicorn

from churnops.api.connection import Connection
from churnops.api.security import is_loopback
from churnops.errors import SettingsError
from churnops.journal.database import open_database
from churnops.journal.keys import KeyStore
from churnops.settings import ENV_CONFIG, Settings

APPLICATION = "churnops.api.main:app"
DRAIN_SECONDS = 30  # requests under way get so long once the service is told to stop
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS")


def serve(settings: Settings, config: Path, host: str, port: int, workers: int) -> None:
    """Serve until SIGTERM or Ctrl-C, then finish the requests under way.

    Raises
    ------
    SettingsError
        If the service would be reachable from elsewhere and there is no API key.
    """
    engine = open_database(settings.database_url(settings.journal.url), durability=settings.journal.durability)
    keys = KeyStore(engine).list()
    engine.dispose()
    if not keys and not is_loopback(host):
        raise SettingsError(
            f"there is no API key, and {host} is reachable from elsewhere: "
            "type `churnops keys add NAME --scope predict`, or serve on 127.0.0.1"
        )
    os.environ[ENV_CONFIG] = str(config)  # workers are processes of their own
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")
    with tempfile.TemporaryDirectory(prefix="churnops-metrics-") as folder:
        if workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read by the workers' metrics
        uvicorn.run(
            APPLICATION, host=host, port=port, workers=workers, loop="uvloop", http=Connection, lifespan="on",
            access_log=False, server_header=False, proxy_headers=False, log_level=logging.WARNING,
            timeout_keep_alive=30, timeout_graceful_shutdown=DRAIN_SECONDS,
        )  # fmt: skip
