"""Figures of the Models page show their data, and read no text as markup."""

from dataclasses import replace
from datetime import timedelta

import pytest

from churnops.app.models.figures import comparable, gains, timeline
from churnops.journal.deployment_log import in_production
from tests.support.app_models import NOW, deployment, shown, spells

EVIL = "<img src=x onerror=alert(1)>"


def test_the_timeline_has_a_bar_and_a_mark_for_each_deployment():
    figure = timeline(spells(), NOW)
    bars = {trace.name: trace for trace in figure.data if trace.type == "bar"}
    day = 86400 * 1000
    assert list(bars["in production now"].x) == [3 * day]
    assert list(bars["earlier"].x) == [4 * day, 3 * day]
    assert list(bars["earlier"].y) == ["Version 1", "Version 2"]
    marks = {trace.name: len(trace.x) for trace in figure.data if trace.type == "scatter"}
    assert marks == {"deployed": 2, "restored": 1}
    assert list(figure.layout.yaxis.categoryarray) == ["Version 1", "Version 2"]


def test_only_the_newest_times_in_production_are_drawn():
    many = in_production([deployment(i, i, i) for i in range(1, 100)])
    figure = timeline(many, NOW + timedelta(days=100))
    assert sum(len(trace.x) for trace in figure.data if trace.type == "bar") == 30
    assert figure.data[0].y == ("Version 99",)
    assert timeline([], NOW).data == ()


def test_gains_are_drawn_with_bounds_and_required_gain():
    figure = gains([shown(), shown(verdict="deploy", gain=0.05, low=0.02, high=0.08)])
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces["deploy"].x) == [0.05]
    assert list(traces["deploy"].error_x.array) == pytest.approx([0.03])
    assert list(traces["deploy"].error_x.arrayminus) == pytest.approx([0.03])
    assert list(traces["required gain"].x) == [0.01, 0.01]
    assert len(set(traces["required gain"].y)) == 2  # two decisions in one minute are two rows
    assert figure.layout.xaxis.title.text == "Gain in ROC-AUC"
    assert gains([]).data == ()


def test_gains_of_other_metrics_or_without_a_number_are_left_out():
    kept = comparable([shown(gain=None), shown(), shown(metric="log_loss"), shown(verdict="perhaps")])
    assert [c.metric for c in kept] == ["ROC-AUC"]
    assert len(comparable([shown()] * 50)) == 12


def test_a_gain_without_bounds_has_a_point_and_no_line():
    (point, required) = gains([shown(low=None, high=None)]).data
    assert list(point.error_x.array) == [0.0]
    assert "at least" not in point.text[0]
    assert required.name == "required gain"


def test_nothing_in_the_data_is_markup():
    evil = in_production([deployment(1, 1, 0, by=EVIL, folder=f"x-{EVIL}-v1", kind=EVIL, reason=EVIL)])
    comparisons = [replace(shown(), challenger=EVIL, champion=EVIL, reason=EVIL)]
    for figure in (timeline(evil, NOW), gains(comparisons)):
        assert "<img" not in figure.to_json().replace("\\u003c", "<")
