"""Customers of a segment, found within the index: the same ones as by the inputs of each customer's prediction."""

from collections.abc import Mapping
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from churnops.decision.candidates import JournalCandidates
from churnops.decision.list_request import ListRequest
from churnops.journal import ranked_scores as module
from churnops.journal import segments
from churnops.journal.layouts import Layout
from churnops.journal.newest_scores import follow_predictions
from churnops.journal.predictions import PredictionRow, new_prediction_id, write_predictions
from churnops.schema import Column, Schema
from tests.support.journals import START

SCHEMA = Schema(
    columns=(
        Column(name="bill", kind="number", nullable=True),
        Column(name="plan", kind="category", choices=("basic", "gold", "platin"), nullable=True),
        Column(name="tower", kind="category", choices=("1", "2"), open=False, nullable=True),
        Column(name="voice", kind="flag", choices=("no", "yes"), nullable=True),
        Column(name="region", kind="category", choices=("north", "south"), nullable=True),
        Column(name="churn", kind="target", choices=("No", "Yes")),
    )
)
OLDER = Schema(
    columns=(
        Column(name="plan", kind="category", choices=("basic", "gold", "former"), nullable=True),
        Column(name="tower", kind="integer", nullable=True),
        Column(name="voice", kind="flag", choices=("no", "yes"), nullable=True),
        Column(name="bill", kind="number", nullable=True),
        Column(name="churn", kind="target", choices=("No", "Yes")),
    )
)
VALUES: Mapping[str, tuple[Any, ...]] = {
    "plan": ("basic", "gold", "platin", " Gold", "former", "new", None, 5),
    "voice": ("no", "yes", None),
    "region": ("north", "south", "west", None),
}
TOWERS = {True: ("1", "2", None), False: (1, 2, None)}  # texts now, numbers earlier
SEGMENTS: tuple[dict[str, tuple[str, ...]], ...] = (
    {},
    {"plan": ("platin",)},
    {"plan": ("gold", "(other)")},
    {"plan": ("basic", "gold", "platin")},
    {"tower": ("2",)},
    {"region": ("north",)},
    {"region": ("(other)",), "voice": ("yes",)},
    {"plan": ("(other)",), "voice": ("no", "yes"), "region": ("south", "(other)")},
)
Newest = dict[str, tuple[float, float, dict[str, Any]]]


@pytest.fixture
def newest(engine: Engine) -> Newest:
    """Score, value and record of each customer's newest prediction, by two models with different columns."""
    shared = {"content_sha256": "f" * 64, "base_value": None, "explanation_scale": None}
    now, earlier = (Layout.of_schema(one, (), model_version=str(one is SCHEMA), **shared) for one in (SCHEMA, OLDER))
    random, rows, kept = Random(7), [], {}
    for number in range(400):
        layout = random.choice([now, earlier])
        choices = {**VALUES, "tower": TOWERS[layout is now]}
        record = {name: random.choice(given) for name, given in choices.items() if random.random() < 0.9}
        customer, score, bill = f"c{number % 300}", random.random(), float(random.randrange(5))
        packed = layout.pack(record | {"bill": bill})
        rows.append(PredictionRow(new_prediction_id(), START, customer, layout, score, False, *packed, "api"))
        kept[customer] = (score, bill, record)
    write_predictions(engine, rows)
    while follow_predictions(engine, "bill"):
        pass
    return kept


def encoded(column: Column, value: Any) -> float | None:
    text = None if value is None else str(value)
    return None if text is None else column.codes.get(column.level(text), column.other if column.is_open else None)


def naively(newest: Newest, where: dict[str, tuple[str, ...]], above: float, lowest: float) -> list[str]:
    ranking = []
    for customer, (score, value, record) in newest.items():
        codes = {name: encoded(SCHEMA.by_name[name], record.get(name)) for name in where}
        fits = all(codes[name] in map(SCHEMA.by_name[name].levels.index, levels) for name, levels in where.items())
        if fits and score * value > above and score >= lowest:
            ranking.append((score * value, value, customer))
    return [customer for _, _, customer in sorted(ranking, reverse=True)]


@pytest.mark.parametrize("where", SEGMENTS, ids=str)
@pytest.mark.parametrize(("above", "lowest"), [(-1.0, 0.0), (1.5, 0.0), (-1.0, 0.6)])
def test_segments_are_those_of_a_naive_search(
    engine: Engine,
    newest: Newest,
    where: dict[str, tuple[str, ...]],
    above: float,
    lowest: float,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(module, "PAGE", 7)
    candidates = JournalCandidates(engine, SimpleNamespace(schema=SCHEMA), "bill")  # type: ignore[arg-type]
    asked = ListRequest(where=where).segment(SCHEMA)
    listed = [one.customer_id for page in candidates.pages(above, lowest, asked) for one in page]
    assert listed == naively(newest, where, above, lowest)
    assert listed or where


def test_levels_after_too_many_columns_are_read_from_the_predictions(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    monkeypatch.setattr(segments, "MAX_COLUMNS", 1)
    newest = request.getfixturevalue("newest")
    candidates = JournalCandidates(engine, SimpleNamespace(schema=SCHEMA), "bill")  # type: ignore[arg-type]
    for where in SEGMENTS:
        asked = ListRequest(where=where).segment(SCHEMA)
        listed = [one.customer_id for page in candidates.pages(-1.0, 0.0, asked) for one in page]
        assert listed == naively(newest, where, -1.0, 0.0)
