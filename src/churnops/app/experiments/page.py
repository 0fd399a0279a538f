"""Experiments page: challengers on live customers over time, and the actions of an administrator."""

from collections.abc import Sequence

import streamlit as st

from churnops.app.experiments import actions
from churnops.app.experiments.entries import Entry, entry_of
from churnops.app.shared.access import person
from churnops.app.shared.admin_key import MAX_KEY, MAX_REASON, approved, has_admin_key
from churnops.app.shared.text import one_line, plain
from churnops.errors import ChurnopsError
from churnops.experiments.experiment import CONTACTS
from churnops.experiments.split import SplitReport, report_of
from churnops.journal.experiments import Experiment
from churnops.project import Project
from churnops.registry.registered import registered_versions
from churnops.settings import Settings

MAX_SHOWN = 50
REPORT_SECONDS = 60  # a split's report is made again after this time
MESSAGE, FORM = "experiments_message", "experiments"
EMPTY = (
    "No experiment yet. A **shadow** lets a registered version score live customers beside the deployed model, without "
    "answering them. A **split** lets it answer a share of them. Both need a deployed model and another version of it: "
    "`churnops run` and `churnops retrain` make them."
)


def page(project: Project) -> None:
    """Show the page."""
    st.title("Experiments")
    experiments = project.experiments.newest(MAX_SHOWN)
    with st.container():  # always one element, so that the parts below keep their place
        kind, message = st.session_state.pop(MESSAGE, ("", ""))
        if kind:
            (st.success if kind == "done" else st.error)(plain(message, 800))
    running = next((experiment for experiment in experiments if experiment.state == "running"), None)
    if experiments:
        present = {running.id: _report(project, running)} if running and running.kind == "split" else {}
        entries = [entry_of(experiment, present.get(experiment.id)) for experiment in experiments]
        _overview(entries)
        _chosen(project, entries)
    else:
        st.write(EMPTY)
    st.header("Start, stop, promote")
    _act(project, experiments, running)


def _report(project: Project, experiment: Experiment) -> SplitReport:
    return _cached_report(project, experiment.id, experiment.state)


@st.cache_data(show_spinner=False, ttl=REPORT_SECONDS, max_entries=8)
def _cached_report(_project: Project, number: int, _state: str) -> SplitReport:
    experiment = _project.experiments.get(number)
    assert experiment is not None
    return report_of(_project, experiment)


def _overview(entries: Sequence[Entry]) -> None:
    shown = [(entry, entry.experiment) for entry in entries]
    st.dataframe(
        {
            "Experiment": [f"{e.kind} {e.id}" for _, e in shown],
            "State": [e.state for _, e in shown],
            "Started (UTC)": [f"{e.started_at:%Y-%m-%d %H:%M}" for _, e in shown],
            "Ended (UTC)": [f"{e.ended_at:%Y-%m-%d %H:%M}" if e.ended_at else "" for _, e in shown],
            "Question": [one_line(entry.question, 300) for entry, _ in shown],
            "Assignment": [one_line(entry.assignment, 300) for entry, _ in shown],
            "Answer so far": [one_line(entry.answer, 600) for entry, _ in shown],
            "Still needed": [one_line(entry.needed, 300) for entry, _ in shown],
            "By": [one_line(e.by, 80) for _, e in shown],
            "Why": [one_line(e.why, 600) for _, e in shown],
        },
        hide_index=True,
        column_config={name: st.column_config.TextColumn(width="medium") for name in ("Question", "Answer so far")},
    )


def _chosen(project: Project, entries: Sequence[Entry]) -> None:
    labels = [one_line(entry.label, 120) for entry in entries]
    place = st.selectbox("Experiment", range(len(labels)), format_func=lambda i: labels[i], key="experiments_chosen")
    entry = entries[place or 0]
    e = entry.experiment
    report = _report(project, e) if e.kind == "split" else None
    entry = entry_of(e, report)
    st.markdown(f"**{plain(entry.question, 300)}**")
    st.markdown(plain(entry.answer, 600))
    if entry.needed:
        st.markdown(plain(entry.needed, 300))
    if e.ended_why:
        st.markdown(f"Ended by {plain(e.ended_by, 100)}: {plain(e.ended_why, 600)}")
    if report is None:
        st.caption(CONTACTS)
        return
    arms = (report.champion, report.challenger)
    st.dataframe(
        {
            "Arm": ["champion", "challenger"],
            "Model": [one_line(arm.model_version, 80) for arm in arms],
            "Customers": [arm.customers for arm in arms],
            "Due": [arm.due for arm in arms],
            "Outcome known": [arm.known for arm in arms],
            "Churned": [arm.churned for arm in arms],
            "Churn rate": [arm.rate for arm in arms],
            "At least": [arm.low if arm.known else None for arm in arms],
            "At most": [arm.high if arm.known else None for arm in arms],
        },
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.4f") for name in ("Churn rate", "At least", "At most")
        },
    )
    for sentence in report.cautions:
        st.caption(plain(sentence, 600))


def _act(project: Project, experiments: Sequence[Experiment], running: Experiment | None) -> None:
    if not has_admin_key(project.keys):
        st.info(
            "These actions need an admin key, and there is none yet. Make one on the machine that runs churnops: "
            "`churnops keys add NAME --scope admin`"
        )
        return
    versions = [*registered_versions(project.settings)]
    offered = ["Stop the running experiment"] if running else ["Start a shadow", "Start a split"]
    offered.append("Promote a version")
    tries = st.session_state.setdefault(FORM, 0)
    action = st.radio("Action", offered, horizontal=True, key="experiments_action")
    with st.form("experiments_form"):
        version, share = None, 1.0
        if action != offered[0] or running is None:
            newest = experiments[0].version if experiments else None
            place = versions.index(newest) if action.startswith("Promote") and newest in versions else 0
            first = place if versions else None
            version = st.selectbox("Version", versions, index=first, key=f"{FORM}_version_{action}")
        if action == "Start a split":
            share = st.number_input("Share of the customers", 0.01, 0.99, 0.2, step=0.05, key=f"{FORM}_share")
        reason = st.text_input(
            "Reason", max_chars=MAX_REASON, key=f"{FORM}_reason_{tries}", help="Kept in the history."
        )
        token = st.text_input(
            "Admin key", type="password", max_chars=MAX_KEY, autocomplete="off", key=f"{FORM}_key_{tries}"
        )
        pressed = st.form_submit_button(action, type="primary")
    if not pressed:
        return
    st.session_state[FORM] = tries + 1  # a new widget key empties the fields
    try:
        with st.spinner("Working"):
            reason, owner = approved(project.keys, reason, token, person(st.user))
            why = f"{reason} (in the dashboard: {owner})"
            message = _carry_out(actions.with_approval(project, token), action, running, version, share, why)
    except ChurnopsError as error:
        st.session_state[MESSAGE] = "refused", f"Not done: {error}"
    else:
        _cached_report.clear()
        st.session_state[MESSAGE] = "done", message
    st.rerun()


def _carry_out(
    settings: Settings, action: str, running: Experiment | None, version: int | None, share: float, why: str
) -> str:
    if action.startswith("Stop") and running is not None:
        return actions.stop(settings, running.kind, why)
    if version is None:
        raise ChurnopsError("no version is registered: `churnops run` registers one")
    if action.startswith("Promote"):
        return actions.promote(settings, version, why)
    return actions.start(settings, "split" if action.endswith("split") else "shadow", version, share, why)
