"""Local requests: sent by a program on this machine to a loopback address, without a proxy."""

import os
import re
import socket
import stat
from functools import lru_cache
from pathlib import Path

from starlette.types import Scope

from churnops.address import is_loopback
from churnops.api.body import header

# Headers in which proxies, CDNs, gateways and load balancers name their client and its login. A program on this machine
# sends none of them.
_FORWARDED = re.compile(
    rb"via|(.*-)?(forward|forwarded|client-?ip|real-?ip|remote-?(ip|addr)|originating-ip|original-(for|host|url|uri))(-.*)?"
    rb"|(cf|cdn|x-arr|x-amz|x-amzn|x-appengine|x-appgw|x-azure|x-cloud|x-envoy|x-goog|x-ms|x-proxy|x-proxyuser|x-varnish"
    rb"|x-akamai|akamai|fastly|fly|x-vercel|x-nf|x-sucuri|ali|eagleeye|x-squid|x-haproxy|x-traefik|x-kong|x-consumer"
    rb"|x-istio|x-heroku|x-github-request|tailscale|ngrok|x-ssl|ssl|x-tls|x-client-cert|client-cert)(-.*)?"
    rb"|.*proxy.*|(x-)?(remote|auth|authenticated|auth-request|webauth|oidc|saml|jwt)-.*|x-(url-)?scheme|x-host"
    rb"|x-http-host-override|x-rewrite-url|x-(request|queue)-start|front-end-https|max-forwards"
)

_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([\w.-]+))(?::[0-9]{1,5})?")


def is_local(scope: Scope) -> bool:
    """Return whether a request comes from this machine without a proxy, and addresses loopback.

    A web page can reach loopback by a domain name of its own, or by a form that the browser posts; then the request's
    host or origin is not loopback. A proxy on this machine adds a header about its client, or uses HTTP/1.0 (nginx by
    default).
    """
    client, server, origin = scope.get("client"), scope.get("server"), header(scope, b"origin")
    return (
        client is not None
        and is_loopback(client[0])
        and (server is None or is_loopback(server[0]))
        and scope.get("http_version") != "1.0"
        and is_loopback(_host(header(scope, b"host")))
        and (not origin or is_loopback(_host(origin.partition("://")[2])))
        and not any(is_forwarding(name) for name in scope["state"]["headers"])
    )


@lru_cache(maxsize=1000)
def is_forwarding(name: bytes) -> bool:
    """Return whether a header, in lower case, shows that a request was forwarded.

    >>> [is_forwarding(name) for name in (b"via", b"x-forwarded-for", b"cf-ray", b"true-client-ip", b"user-agent")]
    [True, True, True, True, False]
    """
    return _FORWARDED.fullmatch(name.replace(b"_", b"-")) is not None


def _host(authority: str) -> str:
    """Return the host of an authority without the port; empty if it is invalid."""
    match = _AUTHORITY.fullmatch(authority)
    return (match[1] or match[2]).lower() if match else ""


def listens_elsewhere() -> bool:
    """Return whether this process listens at an address that other machines can reach; True if it is unknown.

    The server's address in a request does not show it: a local connection to 0.0.0.0 has the address 127.0.0.1.
    """
    addresses = listening()
    return addresses is None or any(not is_loopback(host) for host, _ in addresses)


def listening() -> list[tuple[str, int]] | None:
    """Return the addresses and ports at which this process listens; None if they are unknown."""
    try:
        descriptors = sorted(int(path.name) for path in Path("/dev/fd").iterdir())
    except OSError:
        return None
    return [address for descriptor in descriptors if (address := _listening(descriptor)) is not None]


def _listening(descriptor: int) -> tuple[str, int] | None:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return None
        copy = socket.socket(fileno=os.dup(descriptor))
    except OSError:  # the descriptor was closed meanwhile
        return None
    with copy:
        if copy.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        if not copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        host, port = copy.getsockname()[:2]
        return host, port
