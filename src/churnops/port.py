"""Ports of this machine: bound before a server starts, so that a port in use is one line."""

import errno
import socket

from churnops.errors import ChurnopsError


def bound_sockets(host: str, port: int) -> list[socket.socket]:
    """Return a socket for each address of a host, bound but not listening yet.

    Raises
    ------
    ChurnopsError
        If the port is in use at one of the addresses, or no address can be used.
    """
    sockets: list[socket.socket] = []
    reason = None
    try:
        for family, kind, protocol, _, target in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                sockets.append(_bound(family, kind, protocol, target))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    raise ChurnopsError(
                        f"port {port} of {host} is in use: stop the program that uses it, or choose another --port"
                    ) from None
                reason = error.strerror  # a name may have an address that this machine lacks, such as ::1
    except socket.gaierror as error:
        reason = error.strerror
    if not sockets:
        raise ChurnopsError(f"cannot listen on {host}, port {port}: {reason}")
    return sockets


def _bound(family: int, kind: int, protocol: int, target: tuple[object, ...]) -> socket.socket:
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(target)
    except OSError:
        bound.close()
        raise
    return bound


def check_port(host: str, port: int) -> None:
    """Refuse an address that cannot be used; see `bound_sockets`."""
    for bound in bound_sockets(host, port):
        bound.close()


def address(host: str, port: int) -> str:
    """Return the address of a server for a browser.

    >>> address("127.0.0.1", 8000), address("::1", 8000)
    ('http://127.0.0.1:8000', 'http://[::1]:8000')
    """
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
