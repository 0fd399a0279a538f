"""Access to the dashboard: a login, if the settings require one, and protection against DNS rebinding."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from churnops.address import is_loopback
from churnops.words import one_line

LOGIN_MISSING = (
    "The settings require a login (dashboard.login), but Streamlit has no login provider. Add an [auth] section to "
    ".streamlit/secrets.toml in the folder where you start the dashboard, install streamlit[auth], and start the "
    "dashboard again."
)


def wrong_name(host: str | None, listens_on: str | None, allowed: Sequence[str], *, login: bool) -> str | None:
    """Return the reason to refuse a request to this host name; None if it is admitted.

    DNS rebinding: a foreign web page can point its domain name at this machine, and then act as a page of the
    dashboard. The header `Host` of its requests contains the foreign name, so a dashboard that listens on this machine
    only, without a login, admits only this machine's own host names.

    Parameters
    ----------
    host
        The request's header `Host`; None outside a request.
    listens_on
        Address that the dashboard listens on.
    allowed
        Streamlit's `server.allowedHosts`, which Streamlit checks itself.
    login
        Whether a login is required. A login is valid for one host name only, so a page of a foreign name has none.

    Examples
    --------
    >>> wrong_name("localhost:8501", "127.0.0.1", [], login=False) is None
    True
    >>> wrong_name("[::1]:8501", "::1", [], login=False) is None
    True
    >>> wrong_name("evil.example:8501", "127.0.0.1", [], login=False)[:40]
    'The dashboard listens on this machine on'
    """
    if host is None or login or allowed or not is_loopback(listens_on or ""):
        return None
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    if is_loopback(name):
        return None
    return (
        "The dashboard listens on this machine only, but this page was opened under another host name. Open "
        "http://127.0.0.1 with its port. Behind a proxy, set STREAMLIT_SERVER_ALLOWED_HOSTS to the proxy's name."
    )


def login_state(user: Mapping[str, Any]) -> bool | None:
    """Return whether a user is logged in, from Streamlit's `st.user`; None if there is no login provider.

    >>> login_state({}), login_state({"is_logged_in": False}), login_state({"is_logged_in": True})
    (None, False, True)
    """
    state = user.get("is_logged_in")
    return None if state is None else state is True


def person(user: Mapping[str, Any]) -> str | None:
    """Return the email, name or id of the user who is logged in, from the login provider; None if nobody is."""
    if not login_state(user):
        return None
    name = next((user[claim] for claim in ("email", "name", "sub") if user.get(claim)), "")
    return one_line(name, 200) or "a user without a name"
