"""HAProxy in front of several servers, with the configuration in `deploy/haproxy.cfg`."""

import csv
import re
import socket
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.parts import find_part
from tests.support.processes import free_port, wait_for

EXAMPLE = Path(__file__).parents[2] / "deploy/haproxy.cfg"


@dataclass(frozen=True)
class Proxy:
    """A running HAProxy: its port on loopback, and the socket that takes commands."""

    port: int
    admin: Path

    def command(self, line: str) -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.admin))
            connection.sendall(line.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def statistics(self) -> dict[str, dict[str, str]]:
        """Return the statistics of each server."""
        lines = self.command("show stat churnops 4 -1").removeprefix("# ").splitlines()
        return {row["svname"]: row for row in csv.DictReader(lines)}

    def move(self, name: str, port: int) -> None:
        """Let a server have another port."""
        self.command(f"set server churnops/{name} addr 127.0.0.1 port {port}")

    def wait(self, name: str, status: str = "UP") -> None:
        wait_for(f"{name} is {status}", lambda: self.statistics()[name]["status"].startswith(status))


def _takes_commands(proxy: Proxy, process: "subprocess.Popen[bytes]") -> bool:
    assert process.poll() is None, "HAProxy has ended"
    try:
        return bool(proxy.statistics())
    except OSError:  # it does not listen yet
        return False


@contextmanager
def proxied(servers: Mapping[str, str], ready: Collection[str] = (), *, connections: bool = False) -> Iterator[Proxy]:
    """Start HAProxy in front of servers, by name and address, and wait until those in `ready` (default: all) are.

    With `connections` it spreads connections and not requests, as a Service of Kubernetes does.
    """
    program = find_part("haproxy")
    assert program is not None, "the test is marked needs('haproxy')"
    with tempfile.TemporaryDirectory(prefix="churnops-haproxy-") as folder:
        proxy = Proxy(free_port(), Path(folder) / "admin.sock")
        text = EXAMPLE.read_text()
        lines = "".join(rf"\n    server {name} {address}\2" for name, address in servers.items())
        text = re.sub(r"(\n +server \S+ \S+(.*))+", lines, text)
        text = text.replace("/run/haproxy/admin.sock", str(proxy.admin)).replace(
            "127.0.0.1:8080", f"127.0.0.1:{proxy.port}"
        )
        if connections:
            text = re.sub(r"\n +(option httplog|option forwardfor|timeout http-|retry-on).*", "", text)
            text = text.replace("mode http\n", "mode tcp\n")
        path = Path(folder) / "haproxy.cfg"
        path.write_text(text)
        process = subprocess.Popen([program, "-db", "-q", "-f", str(path)], stdout=subprocess.DEVNULL)
        try:
            wait_for("HAProxy takes commands", lambda: _takes_commands(proxy, process))
            for name in ready or servers:
                proxy.wait(name)
            yield proxy
        finally:
            process.terminate()
            process.wait()
