"""The demonstration's figure and its sentences, on made-up data: deterministic, small, and true to what is given."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from churnops.demo.figure import timeline_svg
from churnops.demo.plan import DemoPlan
from churnops.demo.screen import conclusions
from churnops.demo.timeline import Answered, Event, Timeline, cut, measure_recovery
from churnops.errors import SettingsError
from churnops.settings import Settings

BEGAN = datetime(2026, 5, 1, 12, tzinfo=UTC)
CHANGED, SWAPPED = BEGAN + timedelta(seconds=40), BEGAN + timedelta(seconds=80)
TEXTS = (
    "ROC-AUC",
    "performance",
    "performance: over",
    "deploy",
    "random_forest-1",
    "xgboost-2",
    "the bill rule is reversed",
)


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def answered() -> Answered:
    """Ten customers a second for 120 s: a model that is good, then bad, then another; outcomes unknown at the end."""
    rng = np.random.default_rng(5)
    at = np.arange(1200) / 10
    churned = (rng.random(1200) < 0.2).astype(np.float64)
    skill = np.where((at >= 40) & (at < 80), 0.3, 2.5)
    score = 1 / (1 + np.exp(-(skill * (churned - 0.5) + rng.normal(size=1200))))
    churned[1100:] = np.nan
    model = ("random_forest-1",) * 800 + ("xgboost-2",) * 400
    return Answered(at + BEGAN.timestamp(), model, score, churned)


def timeline() -> Timeline:
    everyone = answered()
    events = (
        Event(after(-20), "deployment", "v1: nothing was in production", True, "v1"),
        *(Event(after(4 + 4 * i), "cycle", "nothing to do", True) for i in range(13)),
        Event(after(57), "cycle", "retraining recommended", False),
        Event(after(57.5), "alert", "[critical] churnops: worse", False, "performance"),
        Event(after(58), "retrain", "yes: performance", True, "yes"),
        Event(after(76), "gate", "deploy: better", True, "deploy"),
        Event(after(78), "deployment", "v2: better", True, "v2"),
        Event(after(95), "alert", "[recovered] churnops: performance", True, "performance"),
    )
    return Timeline(
        BEGAN,
        after(119.9),
        CHANGED,
        1.0,
        cut(everyone, CHANGED, 100),
        events,
        measure_recovery(everyone, CHANGED),
        1200,
    )


def test_the_figure_is_small_deterministic_and_has_text_as_text():
    drawn = timeline_svg(timeline())
    assert drawn == timeline_svg(timeline())
    assert len(drawn.encode()) < 150_000
    root = ET.fromstring(drawn)
    assert root.attrib["viewBox"] == "0 0 900 500"
    written = {"".join(element.itertext()).strip() for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {text for text in TEXTS if text not in written} == set()
    assert "http" not in drawn.replace("http://www.w3.org/", "")


def test_the_figure_without_a_change_is_marked():
    everyone = replace(answered(), model=("random_forest-1",) * 1200)
    quiet = replace(timeline(), drift=0.0, slices=cut(everyone, CHANGED, 100), events=(), recovery=None)
    drawn = timeline_svg(quiet)
    assert "the deployed model stays the same" in drawn
    assert "reversed" not in drawn
    assert conclusions(quiet) == ["1,200 customers were scored; no alarms fired, no new models were deployed"]


def test_recovery_counts_the_gap_and_measures_after_the_first_answer():
    found = measure_recovery(answered(), CHANGED)
    assert found is not None
    assert (found.model, found.at, found.customers) == ("xgboost-2", SWAPPED, 400)
    assert found.measured == 299  # of 400, outcomes of the newest 100 are not known, and the first could not know
    assert found.meanwhile.high < min(found.before.low, found.after.low)
    assert (
        f"{found.customers} customers arrived between the change and the new model (40 s)" in conclusions(timeline())[1]
    )


def test_a_model_from_before_the_change_is_no_recovery():
    same = replace(answered(), model=("random_forest-1",) * 1200)
    assert measure_recovery(same, CHANGED) is None


def test_slices_hold_one_model_and_world_and_only_known_outcomes():
    slices = cut(answered(), CHANGED, 150)
    assert sum(found.customers for found in slices) == 1100
    for found in slices:
        assert found.until < CHANGED or found.since >= CHANGED
        assert (found.model == "xgboost-2") == (found.since >= SWAPPED)


def test_the_plan_makes_settings_that_hold(tmp_path, settings: Settings):
    from churnops.settings import load_settings

    plan = DemoPlan.read(drift=0.25)
    assert plan.drift == 0.25
    (tmp_path / "config.yaml").write_text(plan.config(8123))
    made = load_settings(tmp_path / "config.yaml", environment={})
    assert made.journal.label_horizon * 86_400 == pytest.approx(plan.label_horizon_seconds)
    assert made.data.raw == ("data/raw/churn-80.csv",)
    assert made.table == settings.table
    assert made.retraining.check_url == "http://127.0.0.1:8123"


@pytest.mark.parametrize(("given", "said"), [({"drift": 2}, "'drift'"), ({"rat": 60}, "'rat'")])
def test_a_plan_that_is_none_is_refused_in_one_line(given: dict[str, float], said: str):
    with pytest.raises(SettingsError, match=said) as caught:
        DemoPlan.read(**given)
    assert "\n" not in str(caught.value)
