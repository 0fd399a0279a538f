"""Who may see the dashboard: a login if the settings ask for one, and only this machine's own names without it."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from churnops.address import is_loopback

LOGIN_MISSING = (
    "A login is asked for (dashboard.login), and Streamlit knows no provider: put an [auth] section into "
    ".streamlit/secrets.toml in the folder that the dashboard is started in, install streamlit[auth], and start it "
    "again."
)


def wrong_name(host: str | None, listens_on: str | None, allowed: Sequence[str], *, login: bool) -> str | None:
    """Say why a browser that calls the dashboard by this name is refused; None if it is not.

    A page elsewhere can be given this machine's address under a name of its own, and then ask the dashboard as if it
    were the dashboard's own page. The name in the request tells.

    Parameters
    ----------
    host
        The request's header `Host`; None outside a request.
    listens_on
        Address that the dashboard listens on.
    allowed
        Streamlit's `server.allowedHosts`: it checks them by itself.
    login
        Whether a login is asked for. It is kept for each name, so another name has none.

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
        "The dashboard listens on this machine only, and this page was opened under another name: open "
        "http://127.0.0.1 with its port. Behind a proxy, set STREAMLIT_SERVER_ALLOWED_HOSTS to the proxy's name."
    )


def login_state(user: Mapping[str, Any]) -> bool | None:
    """Whether somebody is logged in, by Streamlit's `st.user`; None if it knows no provider.

    >>> login_state({}), login_state({"is_logged_in": False}), login_state({"is_logged_in": True})
    (None, False, True)
    """
    state = user.get("is_logged_in")
    return None if state is None else state is True


def person(user: Mapping[str, Any]) -> str | None:
    """Return who is logged in, as the provider names them; None if nobody is."""
    if not login_state(user):
        return None
    return next((str(user[claim]) for claim in ("email", "name", "sub") if user.get(claim)), "a user without a name")
