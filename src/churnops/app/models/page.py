"""Models: what was in production when and why, what the gate decided, what retraining came to, and the way back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import streamlit as st

from churnops.app.models import history, summaries
from churnops.app.models.challengers import about_links, show_comparisons, show_retrainings
from churnops.app.models.figures import timeline
from churnops.app.models.links import MlflowLinks
from churnops.app.models.rollback import MAX_KEY, MAX_REASON, Target, go_back, has_admin_key, targets
from churnops.app.shared.access import person
from churnops.app.shared.project import warn
from churnops.app.shared.text import one_line, plain
from churnops.app.shared.theme import CONFIG
from churnops.errors import ChurnopsError
from churnops.journal.deployment_log import KIND_LABELS, InProduction, in_production
from churnops.project import Project
from churnops.retraining.document import SummaryDocument

MOST_SHOWN = 100  # rows of a table
MOST_DECISIONS = 20
EMPTY = (
    "No model was deployed yet. Type `churnops run` in the project's folder: it trains models on the tables of "
    "`data.raw`, and deploys the best one."
)
SAID = "models_said"
FORM, SEEN = "models_rollback", "models_answering"


@dataclass(frozen=True)
class _Read:
    """What the page shows, read once for a run of the page."""

    spells: Sequence[InProduction]
    current: str | None
    kept: frozenset[str]
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
    with st.container():  # one place, whatever is in it, so that the tabs below stay where they are
        _say()
        if read.spells:
            _in_production(read)
        else:
            st.info(EMPTY)
        warn(project)
    tabs = st.tabs(["In production", "Champion and challenger", "Retrainings", "Go back"])
    with tabs[0]:
        _history(read)
    with tabs[1]:
        show_comparisons(read.comparisons)
    with tabs[2]:
        show_retrainings(read.retrainings, read.damaged, read.links)
    with tabs[3]:
        _way_back(project, targets(read.spells, read.current, read.kept), read.current)


def _read(project: Project) -> _Read:
    deployed = project.folder
    answered = deployed.answered()
    spells = in_production(answered)
    names = {spell.deployment.folder for spell in spells}
    files = summaries.newest_files(project.reports)
    found, damaged = _summaries(project.reports, files)
    known = history.known_models(spells, found)
    decisions = project.decisions.newest(MOST_DECISIONS, subject="deploy")
    return _Read(
        spells=spells,
        current=deployed.current(),
        kept=frozenset(name for name in names if (deployed.versions / name / "bundle.json").is_file()),
        unfinished=sum(deployment.closed is None for deployment in answered),
        retrainings=found,
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


def _say() -> None:
    """Tell what became of a rollback in the run before this one."""
    kind, said = st.session_state.pop(SAID, ("", ""))
    if kind:
        (st.success if kind == "done" else st.error)(plain(said, 800))


def _in_production(read: _Read) -> None:
    latest = read.spells[-1].deployment
    name, since = history.model_name(latest), history.since_words(read.now - latest.at)
    who = plain(latest.by or "Somebody whose name was not kept", 80)
    did = "went back to it" if latest.kind == "rollback" else "deployed it"
    st.markdown(
        f"**Version {latest.version}** ({plain(name, 80)}) answers since {history.clock(latest.at)} UTC, for {since}. "
        f"{who} {did}: {plain(latest.reason, 400)}"
    )
    if read.current != latest.folder:
        st.warning(
            "The link `models/production` does not lead to the model that the deployment log names last. "
            "Type `churnops models` in the project's folder to see both."
        )
    if read.unfinished:
        st.warning(
            "A deployment is not finished: it is under way, or MLflow could not be told. The model answers all the "
            "same. `churnops serve`, or the next deployment, finishes it."
        )
    rollbacks = sum(spell.deployment.kind == "rollback" for spell in read.spells)
    columns = st.columns(3)
    columns[0].metric("Version in production", latest.version, border=True)
    columns[1].metric("Deployments so far", len(read.spells) - rollbacks, border=True)
    columns[2].metric(
        "Times gone back", rollbacks, border=True, help="How often an older model was made to answer again."
    )


def _history(read: _Read) -> None:
    if not read.spells:
        st.write("Here will be what was in production from when to when, by whom and why.")
        return
    told = "Which version answered from when to when: the table below has the same as text"
    st.plotly_chart(timeline(read.spells, read.now), theme="streamlit", config=CONFIG, key="models_timeline", alt=told)
    st.caption(
        "Which version answered when. A circle is a deployment, a diamond a return to an older version; the blue bar "
        "is the model that answers now."
    )
    st.subheader("What was in production when")
    shown = list(reversed(read.spells[-MOST_SHOWN:]))
    st.dataframe(
        {
            "From (UTC)": [history.clock(s.deployment.at) for s in shown],
            "Until (UTC)": [history.clock(s.until) if s.until else "now" for s in shown],
            "Version": [s.deployment.version for s in shown],
            "How": [KIND_LABELS.get(s.deployment.kind, "deployed") for s in shown],
            "By": [one_line(s.deployment.by or "not kept", 80) for s in shown],
            "Why": [one_line(s.deployment.reason, 2000) for s in shown],
            "Lasted": [history.since_words((s.until or read.now) - s.deployment.at) for s in shown],
            "Model": [one_line(history.model_name(s.deployment), 80) for s in shown],
        },
        hide_index=True,
        column_config={"Why": st.column_config.TextColumn(width="medium")},
    )
    if len(read.spells) > MOST_SHOWN:
        st.caption(f"The newest {MOST_SHOWN} of {len(read.spells):,}; `churnops models --json` has all of them.")
    st.subheader("Versions")
    versions = history.versions(read.spells, read.kept, read.retrainings, read.now)[:MOST_SHOWN]
    st.dataframe(
        {
            "Version": [v.version for v in versions],
            "Model": [one_line(v.model, 80) for v in versions],
            "State": [one_line(v.state, 80) for v in versions],
            "First in production (UTC)": [history.clock(v.first) if v.first else "never" for v in versions],
            "In production for": [history.since_words(v.total) if v.total is not None else "never" for v in versions],
            "Can be gone back to": ["yes" if v.kept else "no" for v in versions],
            "MLflow": [read.links.version(v.version) or "" for v in versions],
        },
        hide_index=True,
        column_config={"MLflow": st.column_config.LinkColumn(display_text="open")},
    )
    about_links(read.links)


def _way_back(project: Project, found: Sequence[Target], current: str | None) -> None:
    if not found:
        st.write("There is nothing to go back to: no other version that was in production is kept.")
        return
    if not has_admin_key(project.keys):
        st.info(
            "Going back needs an admin key, and there is none. Make one on the machine that churnops runs on, and keep "
            "it where you keep passwords: `churnops keys add NAME --scope admin`"
        )
        return
    st.write(
        "The older model answers at once, for everybody, in this dashboard and in every running service. The alert "
        "channels are told. What was deployed in between stays, so this can be undone the same way."
    )
    tries, done = st.session_state.setdefault(FORM, (0, 0))
    chosen_for, st.session_state[SEEN] = st.session_state.get(SEEN), current
    with st.form("models_rollback_form"):
        # Fields get another name when they are to be empty again: the key's after each try, the others after a success.
        chosen = st.selectbox(
            "Version to go back to", range(len(found)), format_func=lambda i: found[i].label, key=f"{FORM}_to_{done}"
        )
        reason = st.text_input(
            "Reason",
            max_chars=MAX_REASON,
            key=f"{FORM}_reason_{done}",
            help="Kept in the history, with the name of the key.",
        )
        token = st.text_input(
            "Admin key", type="password", max_chars=MAX_KEY, autocomplete="off", key=f"{FORM}_key_{tries}"
        )
        sure = st.checkbox("I want this version to answer from now on", key=f"{FORM}_sure_{done}")
        pressed = st.form_submit_button("Go back to this version", type="primary")
    if not pressed:
        return
    st.session_state[FORM] = (tries + 1, done)
    if chosen_for != current:
        _tell("refused", "Nothing has changed: another model answers since this form was filled in. Choose again.")
    if not sure:
        _tell("refused", "Nothing has changed: tick the box that says that you want it.")
    to, who = found[chosen or 0].version, person(st.user)
    try:
        with st.spinner("Going back"):
            said = go_back(project.settings, project.keys, to=to, reason=reason, token=token, person=who)
    except ChurnopsError as error:
        _tell("refused", f"Not gone back: {error}")
    st.session_state[FORM] = (tries + 1, done + 1)
    _tell("done", said)


def _tell(kind: str, said: str) -> NoReturn:
    """Show the page anew, as it is now, with what happened at its top."""
    st.session_state[SAID] = (kind, said)
    st.rerun()
