"""Customers of the Analysis page, and results that are computed once for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from churnops.app.analysis.associations import Associations, associations, by_strength
from churnops.app.shared.sample import Drivers, Variable, drivers, variables
from churnops.app.shared.show import note
from churnops.app.shared.text import one_line
from churnops.decision.profit import Ranking, Resamples
from churnops.decision.sample import Sample, read_production, read_reference
from churnops.model import Bundle
from churnops.project import Project

REPLICATES = 400  # bootstrap samples for the profit
HEATMAP = 24  # number of columns besides the outcome; a figure of more is not readable


@dataclass(frozen=True)
class Source:
    """Customers shown on the page; `key` changes when they change.

    Attributes
    ----------
    inputs
        Columns and computed features, strongest association with the outcome first.
    """

    key: str
    bundle: Bundle
    sample: Sample
    inputs: tuple[Variable, ...]
    seed: int
    confidence: float

    @property
    def overall(self) -> float:
        """Share who left."""
        return self.sample.leavers / self.sample.rows

    @property
    def associations(self) -> Associations:
        """Associations of the outcome and the first `HEATMAP` columns of `inputs`."""
        return _associations(self.key, self)

    @property
    def drivers(self) -> Drivers:
        """Contributions to the scores, for a random part of the customers."""
        return _drivers(self.key, self)

    @property
    def ranked(self) -> tuple[Ranking, Resamples]:
        """The customers by score, and bootstrap samples of them."""
        return _ranked(self.key, self)


def reference_source(project: Project, bundle: Bundle, path: Path) -> Source:
    """Return the reference customers of a model; their file must exist.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    return source_of(project, bundle, *_reference(path, path.stat().st_mtime_ns, bundle))


def production_sample(project: Project, bundle: Bundle) -> tuple[str, Sample]:
    """Return a key and the production customers with known outcomes, read at most once a minute."""
    return _production(str(project.models), bundle.content_sha256, project, bundle)


def source_of(project: Project, bundle: Bundle, key: str, sample: Sample) -> Source:
    """Return a sample of customers as a source for the page."""
    settings = project.settings
    inputs = _inputs(key, bundle, sample)
    return Source(key, bundle, sample, inputs, settings.random_state, settings.evaluation.confidence)


def choose(label: str, inputs: Sequence[Variable], key: str, order: str) -> Variable:
    """Let the user choose a column. Names and descriptions come from outside and are shown as plain text."""
    by_name = {variable.name: variable for variable in inputs}
    chosen = by_name[
        st.selectbox(
            label,
            list(by_name),
            format_func=lambda name: one_line(by_name[name].title, 80),
            key=key,
            persist_state="session",
            help=order,
        )
    ]
    if chosen.description:
        note(chosen.description)
    return chosen


# Results are frozen and shared by all sessions, so they are cached without copies.
@st.cache_resource(show_spinner=False, max_entries=4)
def _reference(path: Path, changed: int, _bundle: Bundle) -> tuple[str, Sample]:
    return f"{path} {changed}", read_reference(path, _bundle.schema)


@st.cache_resource(show_spinner="Reading outcomes", max_entries=4, ttl=60)
def _production(models: str, content_sha256: str, _project: Project, _bundle: Bundle) -> tuple[str, Sample]:
    horizon = _project.label_horizon
    sample = read_production(_project.journal, _bundle, datetime.now(UTC), horizon)
    return f"{models} {content_sha256} {sample.sha256}", sample


@st.cache_resource(show_spinner=False, max_entries=4)
def _inputs(key: str, _bundle: Bundle, _sample: Sample) -> tuple[Variable, ...]:
    return by_strength(variables(_sample, _bundle), _outcome(_sample, _bundle))


@st.cache_resource(show_spinner=False, max_entries=4)
def _associations(key: str, _source: Source) -> Associations:
    return associations(_source.inputs[:HEATMAP], _outcome(_source.sample, _source.bundle))


@st.cache_resource(show_spinner="Explaining a sample of customers", max_entries=4)
def _drivers(key: str, _source: Source) -> Drivers:
    return drivers(_source.sample, _source.bundle, seed=_source.seed)


@st.cache_resource(show_spinner=False, max_entries=4)
def _ranked(key: str, _source: Source) -> tuple[Ranking, Resamples]:
    outcome, score = _source.sample.outcome, _source.sample.score
    resamples = Resamples.of(outcome, score, replicates=REPLICATES, seed=_source.seed)
    return Ranking.of(outcome, score), resamples


def _outcome(sample: Sample, bundle: Bundle) -> Variable:
    return Variable(bundle.schema.target.name, "Left", "", sample.outcome, ("No", "Yes"))
