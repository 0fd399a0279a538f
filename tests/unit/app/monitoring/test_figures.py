"""Figures of the Monitoring page: positions and names, and no text from outside as markup."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from churnops.app.monitoring.figures import MAX_CHOICES, column_figure, interval_figure, over_time
from churnops.app.monitoring.series import Point
from churnops.data.profile import ColumnProfile
from churnops.schema import Column

NOW = datetime(2026, 5, 10, tzinfo=UTC)
EVIL = "<img src=x onerror=alert(1)>"


def point(day: int, value: float, **changes: Any) -> Point:
    given = {"low": None, "high": None, "marked": False, "report_only": False, "model": "a"} | changes
    return Point(NOW + timedelta(days=day), value, **given)


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data if trace.name}


def test_reports_marked_and_report_only_differ_in_form_and_name():
    figure = over_time(
        [point(0, 0.9), point(1, 0.7, marked=True), point(2, 0.8, report_only=True), point(3, 0.6, marked=None)],
        y="ROC-AUC",
        marked="Below the limit",
    )
    found = traces(figure)
    assert list(found) == ["Reports", "Below the limit", "Report only"]
    assert len({trace.marker.symbol for trace in found.values()}) == 3
    assert [list(trace.y) for trace in found.values()] == [[0.9, 0.6], [0.7], [0.8]]
    assert list(figure.data[0].y) == [0.9, 0.7, 0.6], "a report-only point is not on the line"


def test_intervals_reach_from_their_lower_to_their_upper_end():
    figure = over_time([point(0, 0.9, low=0.8, high=0.95), point(1, 0.7)], y="y", marked="m")
    bars = traces(figure)["Reports"].error_y
    assert list(bars.array) == pytest.approx([0.05, 0.0])
    assert list(bars.arrayminus) == pytest.approx([0.1, 0.0])


def test_the_line_breaks_where_another_model_began_to_answer():
    figure = over_time([point(0, 0.9), point(1, 0.8, model="b"), point(2, 0.7, model="b")], y="y", marked="m")
    assert list(figure.data[0].y) == [0.9, None, 0.8, 0.7]
    assert [shape.x0 for shape in figure.layout.shapes] == [NOW + timedelta(days=1)]


def test_levels_are_drawn_across_the_time_that_is_chosen():
    span = (NOW - timedelta(days=5), NOW + timedelta(days=5))
    figure = over_time([point(0, 0.9)], y="y", marked="m", lines=[("line", 0.8), ("promised", 0.95)], span=span)
    for name, level in (("line", 0.8), ("promised", 0.95)):
        assert (list(traces(figure)[name].x), list(traces(figure)[name].y)) == (list(span), [level, level])
    assert figure.layout.xaxis.range[0] == span[0]
    assert figure.layout.xaxis.range[1] > span[1], "the newest point is drawn whole"


def test_no_points_is_an_empty_figure_and_not_an_error():
    figure = over_time([], y="y", marked="m", lines=[("line", 0.8)])
    assert traces(figure) == {}


def test_the_interval_figure_shows_value_interval_and_levels():
    figure = interval_figure(0.85, 0.8, 0.9, [("line", 0.75), (EVIL, 0.92)])
    drawn = [(list(trace.x), list(trace.y)) for trace in figure.data]
    assert drawn[1:] == [([0.8, 0.9], [0, 0]), ([0.85], [0])]
    assert [shape.x0 for shape in figure.layout.shapes] == [0.75, 0.92]
    assert "<img" not in figure.to_json()
    low = interval_figure(0.4, 0.3, 0.5, [])
    assert low.layout.xaxis.range[0] < 0.3


def profiles(before: list[float], now: list[float]) -> tuple[ColumnProfile, ColumnProfile]:
    reference = ColumnProfile.fit(np.array(before))
    return reference, reference.count(np.array(now))


def test_a_numbers_drawn_shares_add_up_with_those_beyond_the_axis():
    reference, batch = profiles(list(np.linspace(0, 1, 200)), [*np.linspace(0.2, 0.8, 90), *([5.0] * 10)])
    figure = column_figure(Column(name="minutes", kind="number"), reference, batch)
    then, now = figure.data
    assert sum(then.y[:-1]) == pytest.approx(1.0)
    assert sum(now.y[:-1]) == pytest.approx(1.0)
    assert now.y[-2] == pytest.approx(0.1)
    assert now.hovertext[-1].startswith("Now: 10.0%, above")
    assert list(then.x) == list(now.x)


def test_without_values_now_only_the_reference_is_drawn():
    reference, batch = profiles([1.0, 2.0, 3.0], [])
    assert [trace.name for trace in column_figure(None, reference, batch).data] == ["Reference"]
    nothing, none = profiles([np.nan], [np.nan])
    assert column_figure(None, nothing, none).data == ()


def test_frequent_choices_the_rest_and_unseen_ones_are_drawn():
    choices = tuple(f"choice {i}" for i in range(20))
    column = Column(name="state", kind="category", choices=choices)
    before = [float(i) for i in range(18) for _ in range(20 - i)]
    reference, batch = profiles(before, [0.0, 0.0, 17.0, 19.0])
    then, now = column_figure(column, reference, batch).data
    assert len(then.y) == MAX_CHOICES + 2
    assert sum(then.y) == pytest.approx(1.0)
    assert sum(now.y) == pytest.approx(1.0)
    assert (then.y[-1], now.y[-1]) == (0.0, 0.25)


def test_choices_from_outside_are_shown_letter_by_letter():
    column = Column(name="plan", kind="category", choices=(EVIL, "<b>"))
    reference, batch = profiles([0.0, 1.0], [0.0, 1.0, 1.0])
    figure = column_figure(column, reference, batch)
    text = [*figure.layout.xaxis.ticktext, *figure.data[0].hovertext, *figure.data[1].hovertext]
    assert all("<" not in part for part in text)


def test_a_model_name_from_outside_is_shown_letter_by_letter():
    figure = over_time([point(0, 0.9, model=EVIL)], y="y", marked="m")
    assert "<img" not in figure.data[1].hovertext[0]
