"""Customers of a time window whose outcome is known, for choosing a policy; millions of them in little memory."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np

from churnops.decision.sample import Sample
from churnops.journal import Journal
from churnops.journal.decoding import PACKED, decode_inputs
from churnops.model import Bundle
from churnops.schema import is_blank

STEP, MAX_READ = 20_000, 2_000_000
"""Predictions read at a time, and at most in total, with and without an outcome."""


class Window(NamedTuple):
    """Predictions with `begin <= at < end`."""

    begin: datetime
    end: datetime


def read_window(
    journal: Journal, bundle: Bundle, window: Window, known_at: datetime, names: Collection[str]
) -> tuple[Sample, datetime]:
    """Read the customers with a prediction of this model and a known outcome; return them and the time read from.

    A customer is read once, with the newest prediction. Predictions are read from the end of the window, at most
    `MAX_READ`, so the time can be later than the window's begin.

    Parameters
    ----------
    names
        Inputs to read, besides score and outcome.

    Raises
    ------
    DataError
        If inputs in the journal do not fit the model's Schema.
    JournalError
        If the database does not answer.
    """
    parts, keys = [_empty(names)], [np.empty(0, dtype=np.int64)]
    end, number = window.end, 0
    read = ("customer_id", "churn_probability", *([PACKED] if names else ()))
    for _ in range(MAX_READ // STEP):
        if end <= window.begin:
            break
        begin = max(journal.newest_begin(STEP, end) or window.begin, window.begin)
        pages = journal.columns(begin, end, known_at, read=read, content_sha256=bundle.content_sha256, labelled=True)
        for outcomes, values in reversed(list(pages)):
            rows = (~np.isnan(outcomes.churned)).nonzero()[0][::-1]
            ids = [values["customer_id"][row] for row in rows]
            # A prediction without an id is a customer of its own.
            keys.append(np.array([_key(id_, number + i) for i, id_ in enumerate(ids)], dtype=np.int64))
            number += rows.size
            columns = decode_inputs(values[PACKED].take(rows.tolist()), bundle.schema, names) if names else {}
            score = np.array(values["churn_probability"], dtype=np.float64)[rows]
            parts.append(Sample(columns, outcomes.churned[rows], score))
        end = begin
    _, newest = np.unique(np.concatenate(keys), return_index=True)
    newest.sort()
    return (
        Sample(
            {name: np.concatenate([part.columns[name] for part in parts])[newest] for name in names},
            np.concatenate([part.outcome for part in parts])[newest],
            np.concatenate([part.score for part in parts])[newest],
        ),
        max(end, window.begin),
    )


def missing_outcomes(journal: Journal, window: Window, horizon: timedelta, now: datetime, needed: int) -> str:
    """Explain why a window has too few outcomes, and what to wait for or to do."""
    scored = journal.count(*window)
    last = journal.oldest_end(needed)
    if last is None:
        return f"The journal has fewer than {needed} predictions."
    if last + horizon > now:
        return (
            f"The outcomes of the first {needed} predictions are due on {last + horizon:%Y-%m-%d}, {horizon.days} days "
            "after the prediction."
        )
    return (
        f"{scored:,} predictions were made in this time. Send the outcomes with `POST /labels`, or choose another time."
    )


def _key(id_: str | None, number: int) -> int:
    return -number - 1 if id_ is None or is_blank(id_) else hash(id_)


def _empty(names: Collection[str]) -> Sample:
    return Sample({name: np.empty(0) for name in names}, np.empty(0), np.empty(0))
