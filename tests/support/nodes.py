"""Machines of a small network, as network namespaces of Linux: a centre, and nodes that cables connect to it.

The addresses exist only inside these namespaces, so nothing leaves the machine.
"""

import ctypes
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from churnops.settings import Settings
from tests.support.parts import find_part
from tests.support.serving import SERVE

PORT = 8000
CENTRE = "10.213.0.1"
"""Address of the namespace in the centre."""
CLONE_NEWNET = 0x40000000


@dataclass
class Node:
    """A machine that runs `churnops serve`.

    Attributes
    ----------
    name
        Name of its namespace.
    number
        Last part of its address.
    """

    name: str
    number: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def host(self) -> str:
        return f"10.213.0.{self.number}"

    @property
    def cable(self) -> str:
        """Name of the cable's end in the centre."""
        return f"node-{self.number}"

    def start(self, settings: Settings) -> None:
        """Start the service; the proxy notices when it is ready."""
        command = (_program(), "netns", "exec", self.name, *SERVE, "--host", self.host, "--port", str(PORT))
        with settings.path("server.log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=settings.root, stdout=log, stderr=log)

    def stop(self) -> int:
        """Send SIGTERM, wait for the end, and return the exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait()

    def lose(self) -> None:
        """Cut the cable, so that nothing reaches the node and no answer leaves it, and kill its process."""
        ip("link", "set", self.cable, "down")
        self.kill()

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@contextmanager
def network(count: int) -> Iterator[Sequence[Node]]:
    """Make nodes, and move this thread into the centre of their network, with processes and threads that it starts."""
    prefix = f"churnops-{os.getpid()}"
    centre = f"{prefix}-centre"
    nodes = [Node(f"{prefix}-{number}", number) for number in range(11, 11 + count)]
    try:
        ip("netns", "add", centre)
        with _moved(centre):
            ip("link", "set", "lo", "up")
            ip("link", "add", "switch", "type", "bridge")
            ip("address", "add", f"{CENTRE}/24", "dev", "switch")
            ip("link", "set", "switch", "up")
            for node in nodes:
                _connect(node)
            yield nodes
    finally:
        for node in nodes:
            node.kill()
        for name in (centre, *(node.name for node in nodes)):
            subprocess.run([_program(), "netns", "delete", name], capture_output=True)


def _connect(node: Node) -> None:
    ip("netns", "add", node.name)
    ip("link", "add", node.cable, "type", "veth", "peer", "name", "cable", "netns", node.name)
    ip("link", "set", node.cable, "master", "switch", "up")
    ip("-n", node.name, "link", "set", "lo", "up")
    ip("-n", node.name, "address", "add", f"{node.host}/24", "dev", "cable")
    ip("-n", node.name, "link", "set", "cable", "up")


@contextmanager
def _moved(namespace: str) -> Iterator[None]:
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    inside = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        _enter(inside)
        yield
    finally:
        _enter(before)
        os.close(inside)
        os.close(before)


def _enter(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def ip(*arguments: str) -> None:
    done = subprocess.run([_program(), *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _program() -> str:
    program = find_part("iproute2")
    assert program is not None, "the test is marked needs('iproute2')"
    return program
