"""Addresses of web services, hosts and object stores."""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit


def split_address(url: str) -> SplitResult:
    """Return the parts of a web address: `http` or `https`, a host, and perhaps a port and a path.

    Raises
    ------
    ValueError
        If it is not an address or has further parts. The message does not repeat it, because it may contain a password.

    Examples
    --------
    >>> split_address("https://churn.example.org/api").hostname
    'churn.example.org'
    """
    allowed = "must be an address such as http://127.0.0.1:8000, without user, password, ? and #"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        known = parts.scheme in ("http", "https") and port != 0 and bool(host and host.encode("idna"))
    except ValueError:  # the port is not a number, or the host is not valid
        raise ValueError(allowed) from None
    if not known or not url.isascii() or not url.isprintable() or set(url) & set("@?# \\"):
        raise ValueError(allowed)
    return parts


@lru_cache(maxsize=1000)
def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own.

    >>> [is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "example.com")]
    [True, True, True, False, False]
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_object_address(text: str) -> bool:
    """Whether a text is the address of objects in S3, Azure Blob Storage or Google Cloud Storage.

    >>> texts = ("s3://bucket/churn/models", "az://container", "gs://bucket/x", "s3://b", "s3://bucket/../x", "models")
    >>> [is_object_address(text) for text in texts]
    [True, True, True, False, False, False]
    """
    name, part = r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]", r"[A-Za-z0-9_=+,. -]*[A-Za-z0-9_=+,-]"
    return re.fullmatch(rf"(s3|az|gs)://{name}(/{part})*/?", text) is not None
