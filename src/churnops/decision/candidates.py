"""Candidates for a call list, ranked by what is at risk, from the journal's newest scores."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from churnops.decision.reasons import raising
from churnops.errors import CallListError, ChurnopsError
from churnops.model import Bundle
from churnops.schema import Columns

if TYPE_CHECKING:
    from churnops.journal import Engine
    from churnops.journal.decoding import PackedInputs
    from churnops.journal.layouts import Layout
    from churnops.journal.ranked_scores import RecordedInputs
    from churnops.journal.segments import Where

NO_IDS = (
    "cannot list customers, because no prediction has a customer id: declare the column with the id in the schema "
    "(kind: id), train again, and send the id with each customer"
)
EMPTY = (
    "cannot list customers, because the journal has no scores yet: score customers with `churnops serve`, whose "
    "predictions count after 60 seconds at most, or make the list of a file: --from FILE"
)

READING = (
    "the newest scores are being read, as after an upgrade, many predictions at once, or a change of the value in the "
    "decision policy: try again in a minute, or type `churnops journal newest`"
)


class Candidate(NamedTuple):
    """A customer with a score. `key` is the id of the prediction, or the row of the file; `at` is in microseconds."""

    customer_id: str
    probability: float
    value: float | None
    key: str
    at: int


class Details(NamedTuple):
    """Features that raise a customer's risk, strongest first, and the values of features."""

    raising: list[str]
    values: Mapping[str, float]


NO_DETAILS = Details([], {})

TOP = 6
"""Number of contributions of which those that raise the risk become reasons, as in the API's answers."""


def explain(bundle: Bundle, columns: Columns) -> list[tuple[list[dict[str, object]], dict[str, float]]]:
    """Return the largest contributions to each score, as in the API's answers, and the values of the features."""
    names = bundle.selected
    positions, shares = bundle.explain(columns).top(names, TOP)
    rows = zip(positions.tolist(), shares.tolist(), bundle.feature_matrix(columns).tolist(), strict=True)
    return [
        (
            [{"feature": names[one], "shap_value": share} for one, share in zip(features, parts, strict=True)],
            dict(zip(names, values, strict=True)),
        )
        for features, parts, values in rows
    ]


def in_segment(columns: Columns, where: "Where") -> list[bool]:
    """Return for each customer whether the columns of a segment have the codes of its levels."""
    fits = [np.isin(columns[column.name], list(codes)) for column, codes in where]
    return np.logical_and.reduce(fits).tolist()  # type: ignore[no-any-return]


class Candidates(Protocol):
    """Customers in the order of what is at risk: success rate and cost decide who is worth a call, not the order."""

    @property
    def source(self) -> str:
        """The journal, or the name of a file."""

    @property
    def scored(self) -> int:
        """Number of customers with a score."""

    @property
    def without_value(self) -> int:
        """Number of customers whose value is not known."""

    @property
    def until(self) -> datetime | None:
        """Time of the newest scores; None for a file."""

    def pages(self, above: float, lowest: float, where: "Where" = ()) -> Iterator[list[Candidate]]:
        """Yield candidates with more at risk than `above` and at least the probability `lowest`, in pages.

        `where` has columns with the codes of levels: only customers with one of each are candidates.
        """

    def details(self, candidates: Sequence[Candidate]) -> list[Details]:
        """Return the reasons of candidates."""


class JournalCandidates:
    """The newest score of each customer in the journal.

    Parameters
    ----------
    value_column
        Column that the policy in force names.

    Raises
    ------
    CallListError
        If there is no customer to list, or the values of the column are not read yet.
    """

    source = "journal"

    def __init__(self, engine: "Engine", bundle: Bundle, value_column: str | None) -> None:
        from churnops.journal.newest_scores import newest_state

        self._engine = engine
        self._bundle = bundle
        state = newest_state(engine)
        self.scored = state.customers
        self.until = state.until
        if not state.customers and bundle.schema.identifier is None:
            raise CallListError(NO_IDS)
        if state.is_late or (state.customers and state.value_column != value_column):
            raise CallListError(READING)
        if not state.customers:
            raise CallListError(EMPTY)

    @cached_property
    def without_value(self) -> int:
        """Number of customers whose value is not known."""
        from churnops.journal.ranked_scores import count_without_value

        return count_without_value(self._engine)

    def pages(self, above: float, lowest: float, where: "Where" = ()) -> Iterator[list[Candidate]]:
        """Yield candidates, see `Candidates`."""
        from churnops.journal.ranked_scores import ranked_scores

        for page in ranked_scores(self._engine, above, lowest, where):
            listed = [Candidate(row.customer_id, row.probability, row.value, row.prediction, row.at) for row in page]
            unsure = [one for one, row in zip(listed, page, strict=True) if not row.in_segment]
            others = self._outside(unsure, where) if unsure else set()
            yield [one for one in listed if one.key not in others]

    def _outside(self, candidates: Sequence[Candidate], where: "Where") -> set[str]:
        """Return the keys of candidates who are not in a segment, by the inputs of their predictions."""
        from churnops.journal.decoding import decode_inputs

        recorded = self._recorded(candidates)
        columns = decode_inputs(recorded.inputs, self._bundle.schema, [column.name for column, _ in where])
        fits = in_segment(columns, where)
        return {one.key for one in candidates} - {id_ for id_, is_in in zip(recorded.ids, fits, strict=True) if is_in}

    def details(self, candidates: Sequence[Candidate]) -> list[Details]:
        """Return the reasons, see `Candidates`: as recorded, or else computed if the model is still deployed.

        Features have values only if the deployed model made the prediction.
        """
        recorded = self._recorded(candidates)
        packed = recorded.inputs
        own = [row for row, id_ in enumerate(packed.ids) if self._is_own(packed.layouts[id_])]
        values = self._values(packed, own)
        details = {}
        for row, id_ in enumerate(recorded.ids):
            layout = packed.layouts[packed.ids[row]]
            known, features = values.get(row, ([], {}))
            details[id_] = Details(raising(layout.reasons(recorded.reasons[row], packed.rests[row]) or known), features)
        return [details.get(candidate.key, NO_DETAILS) for candidate in candidates]

    def _is_own(self, layout: "Layout") -> bool:
        return layout.content_sha256 == self._bundle.content_sha256

    def _values(
        self, packed: "PackedInputs", rows: list[int]
    ) -> dict[int, tuple[list[dict[str, object]], dict[str, float]]]:
        """Return reasons and values of features, by row; of rows that the deployed model answered."""
        from churnops.journal.decoding import decode_inputs

        if not rows or any(column.personal for column in self._bundle.schema.model_inputs):  # the journal lacks them
            return {}
        try:
            explained = explain(self._bundle, decode_inputs(packed.take(rows), self._bundle.schema))
        except ChurnopsError:  # such as a score that is not finite
            return {}
        return dict(zip(rows, explained, strict=True))

    def _recorded(self, candidates: Sequence[Candidate]) -> "RecordedInputs":
        from churnops.journal.ranked_scores import recorded_inputs

        return recorded_inputs(self._engine, [(candidate.key, candidate.at) for candidate in candidates])
