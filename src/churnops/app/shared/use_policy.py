"""The form "Use this": it makes a proposal the decision policy."""

import logging
from collections.abc import Mapping
from typing import Any

import streamlit as st

from churnops.app.shared.access import person
from churnops.app.shared.admin_key import MAX_KEY, MAX_REASON, approved, has_admin_key
from churnops.app.shared.text import plain
from churnops.errors import ChurnopsError
from churnops.project import Project

log = logging.getLogger("churnops.app")

MESSAGE, FORM = "use_policy_message", "use_policy"


def use_this(project: Project, changes: Mapping[str, Any], proposal: str) -> None:
    """Show the form, and the result of the last use.

    Parameters
    ----------
    changes
        Fields of the policy, see `change_policy`.
    proposal
        The changes in words.
    """
    kind, message = st.session_state.pop(MESSAGE, ("", ""))
    if kind:
        (st.success if kind == "done" else st.error)(plain(message, 800))
    if not has_admin_key(project.keys):
        st.info(
            "Changing the decision policy here needs an admin key, and there is none yet: `churnops keys add NAME "
            f"--scope admin`. Or type in the project's folder: `{_command(changes)}`"
        )
        return
    tries = st.session_state.setdefault(FORM, 0)
    with st.form("use_policy_form"):
        st.markdown(plain(f"Use {proposal}, at once: in every service, file and page. The model stays as it is.", 600))
        reason = st.text_input("Reason", max_chars=MAX_REASON, key=f"{FORM}_reason", help="Kept in the history.")
        token = st.text_input(
            "Admin key", type="password", max_chars=MAX_KEY, autocomplete="off", key=f"{FORM}_key_{tries}"
        )
        pressed = st.form_submit_button("Use this", type="primary")
    if not pressed:
        return
    st.session_state[FORM] = tries + 1  # a new widget key empties the field of the admin key
    try:
        st.session_state[MESSAGE] = "done", set_by_key(project, changes, reason, token, person(st.user))
    except ChurnopsError as error:
        st.session_state[MESSAGE] = "refused", f"Nothing has changed: {error}"
    st.rerun()


def _command(changes: Mapping[str, Any]) -> str:
    """Return the command that makes the same changes; a currency may contain markup, so only a word is shown."""
    options = []
    for name, value in changes.items():
        if isinstance(value, float):
            options.append(f"--{name.replace('_', '-')} {value:.15g}")
        elif isinstance(value, str) and value.replace("_", "").isalnum():
            options.append(f"--{name} {value}")
    no_limit = ["--no-limit"] if "contacts" in changes else []
    return " ".join(["churnops decision set", *options, *no_limit, "--why TEXT"])


def set_by_key(project: Project, changes: Mapping[str, Any], reason: str, token: str, person: str | None) -> str:
    """Change the decision policy; return the result as a sentence.

    Parameters
    ----------
    token
        Token of an admin key.
    person
        User who is logged in, for the history.

    Raises
    ------
    RefusedError
        If there is no reason, or the key is refused.
    PolicyError
        If the policy is not valid, or is in force already.
    """
    from churnops.pipelines.decide import change_policy

    reason, owner = approved(project.keys, reason, token, person)
    policy = change_policy(project, changes, reason, owner)
    log.warning("decision policy %d was set in the dashboard, %s", policy.version, owner)
    return f"Decision policy {policy.version} is in force. `churnops decision revert` goes back."
