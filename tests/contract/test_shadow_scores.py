"""Shadow scores with the outcomes of their customers, on every database."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import Engine

from churnops.journal import Journal, Label
from churnops.journal import shadow_scores as module
from churnops.journal.predictions import write_predictions
from churnops.journal.shadow_scores import ShadowScore, ShadowScores
from churnops.journal.tables import microseconds
from tests.support.journals import DAY, HORIZON, START, a_prediction


def record(engine: Engine, days: range, experiment: int = 1) -> list[str]:
    """Record a prediction each day, of the customers c0, c1, ..., with scores; return the ids."""
    rows = [a_prediction(START + day * DAY, f"c{day}") for day in days]
    write_predictions(engine, rows)
    scores = [ShadowScore(row.id, experiment, microseconds(row.at), row.customer_id, 0.25, 0.5) for row in rows]
    ShadowScores(engine).write(scores)
    ShadowScores(engine).write(scores[:1])  # as after a repeated write
    return [row.id for row in rows]


def test_due_scores_have_the_outcomes_of_their_predictions(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "PAGE", 2)
    module._page.cache_clear()
    ids = record(engine, range(6))
    record(engine, range(6, 8), experiment=2)
    journal = Journal(engine, label_horizon=HORIZON)
    labels = [Label(True, customer_id="c0", outcome_at=START + 3 * DAY), Label(False, prediction_id=ids[1])]
    journal.record_labels(labels)
    journal.record_labels([Label(True, customer_id="c3", outcome_at=START + 90 * DAY)])
    pages = list(ShadowScores(engine).due(1, HORIZON, START + HORIZON + timedelta(days=4, hours=1)))
    module._page.cache_clear()
    assert [len(page.ids) for page in pages] == [2, 2, 1]
    assert [id_ for page in pages for id_ in page.ids] == ids[:5]
    churned = np.concatenate([page.outcomes.churned for page in pages])
    assert np.isnan(churned).all()  # a label of today is not known at that time
    now = [page.outcomes.churned for page in ShadowScores(engine).due(1, HORIZON, START + 3650 * DAY)]
    np.testing.assert_array_equal(np.concatenate(now), [1.0, 0.0, np.nan, 0.0, np.nan, np.nan])
    assert {(p, q) for page in pages for p, q in zip(page.champion, page.challenger, strict=True)} == {(0.25, 0.5)}
    assert ShadowScores(engine).count(1) == 6
    assert list(ShadowScores(engine).due(3, HORIZON, START + 3650 * DAY)) == []
