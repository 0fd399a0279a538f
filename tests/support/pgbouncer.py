"""PgBouncer in transaction mode, in front of a private PostgreSQL server."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from tests.support.parts import find_part
from tests.support.processes import free_port, wait_for

POOL = 4  # sessions of the server for each database

CONFIG = """
[databases]
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {pool}
max_client_conn = 200
logfile = {folder}/log
"""


@contextmanager
def pooled(url: str) -> Iterator[str]:
    """Start PgBouncer; yield the URL by which it leads to the database of `url`."""
    program = find_part("pgbouncer")
    assert program is not None, "the test is marked needs('pgbouncer')"
    server, port = make_url(url), free_port()
    folder = Path(tempfile.mkdtemp(prefix="churnops-pgbouncer-"))
    (folder / "users").write_text('"churnops" ""\n')
    (folder / "ini").write_text(CONFIG.format(server=server.port, port=port, folder=folder, pool=POOL))
    as_user: list[str] = []
    if os.geteuid() == 0:  # PgBouncer refuses to run as root
        as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "postgres", "postgres")
    address = server.set(port=port)
    process = subprocess.Popen([*as_user, program, "-q", str(folder / "ini")], stderr=subprocess.DEVNULL)

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        try:
            psycopg.connect(address.set(drivername="postgresql").render_as_string(hide_password=False)).close()
        except psycopg.OperationalError:
            return False
        return True

    try:
        wait_for("PgBouncer answers", answers)
        yield address.render_as_string(hide_password=False)
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)
