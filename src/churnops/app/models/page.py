"""Models page: deployment history, the gate's decisions, retraining runs, and rollback."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import streamlit as st

from churnops.app.models import history, summaries
from churnops.app.models.challengers import about_links, show_comparisons, show_retrainings
from churnops.app.models.figures import timeline
from churnops.app.models.kept import Kept, kept_versions
from churnops.app.models.links import MlflowLinks
from churnops.app.models.rollback import Target, roll_back_to, targets
from churnops.app.shared.access import person
from churnops.app.shared.admin_key import MAX_KEY, MAX_REASON, has_admin_key
from churnops.app.shared.project import NO_MODEL, warn
from churnops.app.shared.text import one_line, plain
from churnops.app.shared.theme import CONFIG
from churnops.errors import ChurnopsError
from churnops.journal.deployment_log import KIND_LABELS, InProduction, in_production
from churnops.project import Project
from churnops.registry.replicas import Replica, replicas_of, summary_of
from churnops.retraining.document import SummaryDocument
from churnops.words import capital

MAX_SHOWN = 100  # rows of a table
MAX_DECISIONS = 20
MESSAGE = "models_message"
FORM, SEEN = "models_rollback", "models_answering"


@dataclass(frozen=True)
class _Read:
    """Data of one run of the page."""

    periods: Sequence[InProduction]
    current: str | None
    kept: Kept
    replicas: Sequence[Replica]
    unfinished: int
    retrainings: Sequence[SummaryDocument]
    damaged: Sequence[summaries.Damaged]
    comparisons: Sequence[history.Comparison]
    links: MlflowLinks
    now: datetime


def page(project: Project) -> None:
    """Show the page."""
    st.title("Models")
    read = _read(project)
    with st.container():  # always one element, so that the tabs below keep their place
        _show_message()
        if read.periods:
            _in_production(read)
        else:
            st.info(NO_MODEL)
        warn(project)
    tabs = st.tabs(["In production", "Champion and challenger", "Retraining runs", "Roll back"])
    with tabs[0]:
        _history(read)
    with tabs[1]:
        show_comparisons(read.comparisons)
    with tabs[2]:
        show_retrainings(read.retrainings, read.damaged, read.links)
    with tabs[3]:
        if not read.kept.complete:
            st.warning("The object store does not answer: only the versions in this machine's copy are listed.")
        _rollback(project, targets(read.periods, read.current, read.kept.names), read.current)


def _read(project: Project) -> _Read:
    deployed = project.folder
    answered = deployed.answered()
    periods = in_production(answered)
    files = summaries.newest_files(project.reports)
    retrainings, damaged = _summaries(project.reports, files)
    known = history.known_models(periods, retrainings)
    decisions = project.decisions.newest(MAX_DECISIONS, subject="deploy")
    current = deployed.current()
    return _Read(
        periods=periods,
        current=current,
        replicas=replicas_of(project.replicas.read(), current),
        kept=kept_versions(deployed, len(answered)),
        unfinished=sum(deployment.closed is None for deployment in answered),
        retrainings=retrainings,
        damaged=damaged,
        comparisons=[history.comparison(decision, known) for decision in decisions],
        links=MlflowLinks.of(project.settings),
        now=datetime.now(UTC),
    )


@st.cache_data(show_spinner=False, max_entries=4)
def _summaries(
    folder: Path, files: Sequence[tuple[str, int, int]]
) -> tuple[list[SummaryDocument], list[summaries.Damaged]]:
    return summaries.read_summaries(folder, [name for name, _, _ in files])


def _show_message() -> None:
    """Show the result of a rollback in the previous run of the page."""
    kind, message = st.session_state.pop(MESSAGE, ("", ""))
    if kind:
        (st.success if kind == "done" else st.error)(plain(message, 800))


def _in_production(read: _Read) -> None:
    latest = read.periods[-1].deployment
    name, since = history.model_name(latest), history.since_words(read.now - latest.at)
    who = plain(latest.by or "An unknown user", 80)
    did = "rolled back to it" if latest.kind == "rollback" else "deployed it"
    st.markdown(
        f"**Version {latest.version}** ({plain(name, 80)}) has been in production for {since}, since "
        f"{history.clock(latest.at)} UTC. {who} {did}: {plain(latest.reason, 400)}"
    )
    if read.replicas:
        text = plain(capital(summary_of(read.replicas)), 800)
        (st.caption if all(replica.state == "current" for replica in read.replicas) else st.warning)(text)
    if read.current != latest.folder:
        st.warning(
            "The link `models/production` and the deployment log name different models. "
            "Type `churnops models` in the project's folder to see both."
        )
    if read.unfinished:
        st.warning(
            "A deployment is not finished: it is still running, or MLflow did not answer. Predictions are not "
            "affected. `churnops serve` or the next deployment finishes it."
        )
    rollbacks = sum(period.deployment.kind == "rollback" for period in read.periods)
    columns = st.columns(3)
    columns[0].metric("Version in production", latest.version, border=True)
    columns[1].metric("Deployments", len(read.periods) - rollbacks, border=True)
    columns[2].metric("Rollbacks", rollbacks, border=True, help="Times that an older model was deployed again.")


def _history(read: _Read) -> None:
    if not read.periods:
        st.write("No deployment yet. This tab will list each one with its time, user and reason.")
        return
    alt = "Versions in production over time; the table below has the same dates"
    st.plotly_chart(timeline(read.periods, read.now), theme="streamlit", config=CONFIG, key="models_timeline", alt=alt)
    st.caption("Versions over time. Circle: deployment. Diamond: rollback. Blue bar: the model in production now.")
    st.header("Deployment history")
    shown = list(reversed(read.periods[-MAX_SHOWN:]))
    st.dataframe(
        {
            "From (UTC)": [history.clock(s.deployment.at) for s in shown],
            "Until (UTC)": [history.clock(s.until) if s.until else "now" for s in shown],
            "Version": [s.deployment.version for s in shown],
            "How": [KIND_LABELS.get(s.deployment.kind, "deployed") for s in shown],
            "By": [one_line(s.deployment.by or "unknown", 80) for s in shown],
            "Why": [one_line(s.deployment.reason, 2000) for s in shown],
            "Lasted": [history.since_words((s.until or read.now) - s.deployment.at) for s in shown],
            "Model": [one_line(history.model_name(s.deployment), 80) for s in shown],
        },
        hide_index=True,
        column_config={"Why": st.column_config.TextColumn(width="medium")},
    )
    if len(read.periods) > MAX_SHOWN:
        st.caption(f"The newest {MAX_SHOWN} of {len(read.periods):,}; `churnops models --json` has all of them.")
    st.header("Versions")
    versions = history.versions(read.periods, read.kept.names, read.retrainings, read.now)[:MAX_SHOWN]
    st.dataframe(
        {
            "Version": [v.version for v in versions],
            "Model": [one_line(v.model, 80) for v in versions],
            "State": [one_line(v.state, 80) for v in versions],
            "First in production (UTC)": [history.clock(v.first) if v.first else "never" for v in versions],
            "In production for": [history.since_words(v.total) if v.total is not None else "never" for v in versions],
            "Rollback possible": ["yes" if v.kept else "no" for v in versions],
            "MLflow": [read.links.version(v.version) or "" for v in versions],
        },
        hide_index=True,
        column_config={"MLflow": st.column_config.LinkColumn(display_text="open")},
    )
    about_links(read.links)


def _rollback(project: Project, offered: Sequence[Target], current: str | None) -> None:
    if not offered:
        st.write("No rollback is possible: no earlier version is kept.")
        return
    if not has_admin_key(project.keys):
        st.info(
            "A rollback needs an admin key, and there is none yet. Make one on the machine that runs churnops, and "
            "keep it where you keep passwords: `churnops keys add NAME --scope admin`"
        )
        return
    st.write(
        "A rollback puts an older model into production at once, in this dashboard and in every running service. It "
        "sends an alert. The newer versions are kept, so you can undo it in the same way."
    )
    _rollback_form(project, offered, current)


def _rollback_form(project: Project, offered: Sequence[Target], current: str | None) -> None:
    tries, done = st.session_state.setdefault(FORM, (0, 0))
    chosen_for, st.session_state[SEEN] = st.session_state.get(SEEN), current
    with st.form("models_rollback_form"):
        # A new widget key empties a field: the field of the admin key after each try, the others after a success.
        chosen = st.selectbox(
            "Roll back to", range(len(offered)), format_func=lambda i: offered[i].label, key=f"{FORM}_to_{done}"
        )
        reason = st.text_input(
            "Reason",
            max_chars=MAX_REASON,
            key=f"{FORM}_reason_{done}",
            help="Recorded in the history with the key's name.",
        )
        token = st.text_input(
            "Admin key", type="password", max_chars=MAX_KEY, autocomplete="off", key=f"{FORM}_key_{tries}"
        )
        sure = st.checkbox("I want this version in production from now on", key=f"{FORM}_sure_{done}")
        pressed = st.form_submit_button("Roll back to this version", type="primary")
    if not pressed:
        return
    st.session_state[FORM] = (tries + 1, done)
    if chosen_for != current:
        _show_anew(
            "refused", "Nothing has changed: another model was deployed after you opened this form. Choose again."
        )
    if not sure:
        _show_anew("refused", "Nothing has changed: tick the box above the button to confirm.")
    to, who = offered[chosen or 0].version, person(st.user)
    try:
        with st.spinner("Rolling back"):
            message = roll_back_to(project.settings, project.keys, to=to, reason=reason, token=token, person=who)
    except ChurnopsError as error:
        _show_anew("refused", f"Not rolled back: {error}")
    st.session_state[FORM] = (tries + 1, done + 1)
    _show_anew("done", message)


def _show_anew(kind: str, message: str) -> NoReturn:
    """Run the page again with a message at its top."""
    st.session_state[MESSAGE] = (kind, message)
    st.rerun()
