"""The page of a report: all of it is there, nothing in it runs, and it stays small."""

import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from churnops.data.profile import ColumnProfile, Profile, fit_profile
from churnops.monitoring.figures import Bins, bars_svg, histogram_svg, median
from churnops.monitoring.image import report_image
from churnops.monitoring.page import LIMIT, MOST_FIGURES, report_page
from churnops.schema import Column, Schema
from churnops.words import words

EVIL = "<img src=x onerror=alert(1)>"
SVG = "{http://www.w3.org/2000/svg}"


def drift(**changes: Any) -> dict[str, Any]:
    told = {"test": "ks", "statistic": 0.1, "p_value": 0.01, "effect": 0.1, "drifted": False, "reason": "as before"}
    return told | changes


def column(name: str, **changes: Any) -> dict[str, Any]:
    extra = {"name": name, "kind": "number", "adjusted_p_value": 0.04, "linked_to": None, "findings": []}
    return drift() | extra | changes


def trigger(name: str, fired: bool | None, reason: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "big": fired, "fired": fired, "p_value": None, "level": None, "reason": reason} | changes


UNTOLD = drift(statistic=None, p_value=None, effect=None, drifted=None, reason="too few rows")


def report(columns: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    labels = {"due": 20, "labelled": 0, "oldest": None, "newest": None, "median_age_days": None}
    performance = {
        "verdict": "cannot tell",
        "reason": "0 outcomes are known",
        "line": 0.8,
        "threshold": 0.75,
        "promised": None,
        "p_value": None,
        "labels": labels,
        "metrics": None,
        "delong": None,
        "confusion": None,
        "rows": None,
        "positives": None,
        "history": [],
    }
    triggers = [trigger("performance", None, "0 outcomes are known"), trigger("feature_drift", False, "as before")]
    return {
        "report_version": 2,
        "timestamp": "2026-11-24T10:00:00+00:00",
        "model_version": "v1",
        "source": "journal",
        "simulated": False,
        "rows": 500,
        "window": None,
        "look": None,
        "performance": performance,
        "feature_drift": {
            "drift_rate": None,
            "units": 0,
            "drifted": [],
            "p_value": None,
            "reason": "",
            "columns": columns,
        },
        "prediction_drift": UNTOLD,
        "target_drift": UNTOLD,
        "recommend_retraining": {"value": False, "reasons": [], "triggers": triggers, "look": None, "budget": 0.05},
    } | changes


def schema(*columns: Column) -> Schema:
    target = Column(name="churn", kind="target", choices=("no", "yes"))
    return Schema(columns=(*columns, target))


class Reader(HTMLParser):
    """Refuses tags that do not nest; keeps their names, attributes and the text."""

    VOID = ("meta", "circle", "line", "path", "rect")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "


def read(page: str) -> Reader:
    for svg in re.findall(r"<svg.*?</svg>", page, re.S):
        drawn = ElementTree.fromstring(svg)
        assert drawn.find(f"{SVG}title") is not None
        assert drawn.find(f"{SVG}desc") is not None
    reader = Reader(page)
    assert not re.search(r"\b(nan|none|null|inf)\b", reader.text, re.I)
    return reader


def test_columns_sort_by_drift_then_effect_with_untested_ones_last():
    effects = {"small": 0.01, "negative": -0.4, "large": 0.9, "middle": 0.2}
    columns = [column("untold", **UNTOLD), *(column(name, effect=effect) for name, effect in effects.items())]
    columns += [column("certain", effect=0.1, drifted=True), column("more", effect=0.15, drifted=True)]
    page = report_page(report(columns), {}, {}, schema(Column(name="x", kind="number")))
    read(page)
    shown = re.findall(r"<h3>(.*?)</h3>", page)
    assert shown == [
        "Churn probability",
        *("Churn", "More", "Certain", "Large", "Negative", "Middle", "Small", "Untold"),
    ]


def test_the_page_shows_columns_triggers_and_their_reasons():
    columns = [
        column("minutes", drifted=True, p_value=1e-30, reason="D = 0.4 between 2,666 and 500 rows"),
        column("charge", linked_to="minutes"),
    ]
    triggers = [
        trigger("feature_drift", True, "2 of 2 drifted", p_value=1e-9, level=0.00625),
        trigger("target_drift", False, "as it was", p_value=0.3, level=0.00625),
    ]
    recommended = {"value": True, "reasons": ["features drifted"], "triggers": triggers, "look": 3, "budget": 0.05}
    text = read(
        report_page(
            report(columns, recommend_retraining=recommended, simulated=True),
            {},
            {},
            schema(Column(name="minutes", kind="number")),
        )
    ).text
    for expected in (
        "Retraining is recommended",
        "Customers changed: 2 of 2 drifted.",
        "Check whether the customers changed",
        "500, simulated",
        "2026-11-24 10:00 UTC",
        "number 3",
        "D = 0.4 between 2,666 and 500 rows",
        "Determined by Minutes",
        "&lt; 0.0001",
        "not fired",
        "2 of 2 drifted",
    ):
        assert expected.replace("&lt;", "<") in text


def test_performance_is_shown_against_its_promise():
    document = report([])
    metrics = {"roc_auc": {"value": 0.861, "low": 0.82, "high": 0.9}, "f1": {"value": 0.7, "low": None, "high": None}}
    window = {"since": "2026-11-01T00:00:00+00:00", "until": "2026-11-08T00:00:00+00:00"}
    document["performance"] |= {
        "metrics": metrics,
        "promised": {"roc_auc": 0.916},
        "delong": {"standard_error": 0.02} | metrics["roc_auc"],
        "history": [
            {"window": window, "labels": document["performance"]["labels"], "value": None, "low": None, "high": None}
        ],
    }
    text = read(report_page(document, {}, {}, schema(Column(name="x", kind="number")))).text
    assert "ROC-AUC 0.861 0.820 to 0.900 0.916 0.800 0.750" in text
    assert "expected 0.916" in text
    assert "Retraining is not recommended" in text
    assert "No trigger fired; 1 of 2 is unknown." in text
    assert "2026-11-01 00:00 UTC to 2026-11-08 00:00 UTC 0 of 20 – –" in text


def shown(**changes: Any) -> str:
    return read(report_page(report([]) | changes, {}, {}, schema(Column(name="x", kind="number")))).text


def test_known_outcomes_and_customers_are_counted_separately():
    window = {"since": "2026-11-01T00:00:00+00:00", "until": "2026-11-08T00:00:00+00:00"}
    journal, table = shown(window=window), shown()
    assert "Outcomes known 0 of 20 that are due" in journal
    assert "Performance uses only predictions older than the label horizon." in journal
    assert "Outcomes known 0 of 20 customers" in table
    assert "label horizon" not in table


def recommended(*triggers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    found = {"value": False, "reasons": [], "triggers": list(triggers), "look": 2, "budget": 0.05}
    return {"recommend_retraining": found | changes}


def test_without_an_error_budget_the_page_shows_none():
    told = trigger("feature_drift", False, "as before")
    assert "number 2 Chance of a false recommendation, over all looks 0.05" in shown(**recommended(told))
    assert "Chance of a false" not in shown(**recommended(told, budget=None))


def test_if_no_trigger_can_tell_the_verdict_is_cannot_tell():
    text = shown(**recommended(trigger("performance", None, "no outcomes"), trigger("target_drift", None, "no rows")))
    assert "Cannot tell whether to retrain No outcomes. No rows." in " ".join(text.split())
    assert "Retraining is" not in text


def test_a_big_change_that_is_not_certain_is_marked():
    waits = trigger("feature_drift", False, "p = 0.03", big=True)
    text = shown(**recommended(waits, trigger("performance", None, "no outcomes"), trigger("target_drift", False, "")))
    assert "Feature drift not certain yet" in text
    assert "Performance cannot tell" in text
    assert "Target drift not fired" in text
    assert "No trigger fired; for 1 of 3, the difference is big but not certain yet; 1 of 3 is unknown." in text
    del waits["big"]  # as in older reports
    assert "Feature drift not fired" in shown(**recommended(waits))


def test_a_column_has_its_label_and_unit():
    named = Column(name="minutes", kind="number", label="Talk <by> day", unit="min")
    reference = fit_profile({"minutes": np.arange(100.0)})
    schema = Schema(columns=(named, Column(name="churn", kind="target", choices=("no", "yes"))))
    document = report([column("minutes"), column("calls", linked_to="minutes")])
    html = report_page(document, reference, {}, schema)
    assert "<h3>Talk &lt;by&gt; day (min)</h3>" in html
    assert "Determined by Talk &lt;by&gt; day (min). If p is corrected" in html
    assert "<h3>Calls</h3>" in html


def test_text_from_data_is_never_executed():
    evil = Column(name="plan", kind="category", choices=(EVIL, "b\x07"))
    reference = fit_profile({"plan": np.repeat([0.0, 1.0], 50)})
    columns = [column("plan", reason=EVIL, test=EVIL, linked_to=EVIL), column(EVIL)]
    triggers = [trigger(EVIL, True, EVIL)]
    recommended = {"value": True, "reasons": [EVIL], "triggers": triggers, "look": 1, "budget": 0.05}
    document = report(columns, model_version=EVIL, source=EVIL, timestamp=EVIL, recommend_retraining=recommended)
    page = report_page(document, reference, reference, schema(evil))
    reader = read(page)
    assert not reader.tags & {"img", "script", "iframe", "link", "object"}
    assert not {name for name in reader.attributes if name.startswith("on")} | {"src", "href"} & reader.attributes
    assert "default-src 'none'" in page


@pytest.mark.parametrize(("count", "left"), [(61, 0), (1000, 0), (5000, 3200)])
def test_a_wide_report_stays_small_and_counts_omitted_columns(count: int, left: int):
    rng = np.random.default_rng(0)
    names = [f"a_column_with_a_long_name_{i:04d}" for i in range(count)]
    then = ColumnProfile.fit(rng.normal(size=5000))
    now = then.count(rng.normal(0.5, size=2000))
    columns = [column(name, reason="KS distance D = 0.123 between 5,000 and 2,000 rows; " * 3) for name in names]
    columns[-1] |= {"drifted": True, "effect": 0.01}
    columns[0] |= UNTOLD
    inputs = schema(*(Column(name=name, kind="number") for name in names))
    page = report_page(report(columns), dict.fromkeys(names, then), dict.fromkeys(names, now), inputs)
    read(page)
    assert len(page.encode()) < LIMIT
    drawn = re.findall(r"<h3>(A .*?)</h3>", page)
    rows = re.findall(r'<th scope="row">(A .*?)</th>', page)
    assert page.count("<svg") == len(drawn) == MOST_FIGURES
    assert drawn[0] == words(names[-1])
    assert len({*drawn, *rows}) == len(drawn) + len(rows)
    if left:
        assert count - len(drawn) - len(rows) < left
        left_out = count - len(drawn) - len(rows)
        assert f"{left_out:,} columns are left out to keep this page small. The JSON report contains them." in page
    else:
        assert {*drawn, *rows} == {words(name) for name in names}
        assert "cannot tell: too few rows" in page
        assert "The JSON report" not in page


def test_many_choices_and_long_texts_stay_small_too():
    codes = np.repeat(np.arange(60.0), 10)
    names = [f"column_{i}_{'x' * 50}" for i in range(300)]
    profiles = fit_profile(dict.fromkeys(names, codes))
    columns = [column(name, test="chi_square", reason="é" * 900) for name in names]
    choices = tuple(f"&&&&&&&&&&&&&&{i}" for i in range(60))
    inputs = schema(*(Column(name=name, kind="category", choices=choices) for name in names))
    page = report_page(report(columns), profiles, profiles, inputs)
    read(page)
    assert len(page.encode()) < LIMIT
    assert page.count('<svg role="img"') > 20
    assert all(words(name) in page for name in names)


def test_many_choices_become_others_and_unseen_ones_new():
    reference = ColumnProfile.fit(np.repeat(np.arange(50.0), np.arange(50, 0, -1)))
    svg = bars_svg("state", reference, reference.count(np.array([0.0, 49.0, 49.0, 77.0])), [f"S{i}" for i in range(50)])
    texts = [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]
    assert len(texts) == 2 * 14
    assert texts[texts.index("S49") + 1] == "50 %"
    assert texts[-4:] == ["38 others", "0 %", "unseen before", "25 %"]


VALUES = st.lists(st.one_of(st.floats(allow_nan=True), st.integers(-9, 9).map(float)), max_size=40)


@given(VALUES.map(np.array), VALUES.map(np.array))
@example(np.array([np.finfo(np.float64).max]), np.array([1.0]))
def test_any_column_can_be_drawn_and_every_row_is_in_one_bin(before: np.ndarray, now: np.ndarray):
    reference = ColumnProfile.fit(before.astype(np.float64))
    batch = reference.count(now.astype(np.float64))
    bins = Bins.of(reference, batch)
    svg = histogram_svg("x", reference, batch)
    if bins is None:
        assert svg == ""
        assert not np.isfinite(before).any()
        return
    ElementTree.fromstring(svg)
    assert "nan" not in svg
    assert bins.before.sum() == pytest.approx(1.0)
    assert bins.now.sum() == pytest.approx(min(batch.rows, 1))


@given(st.lists(st.integers(-50, 200), min_size=1, max_size=60).map(lambda v: np.array(v, dtype=np.float64)))
def test_bins_count_values_as_numpy_does(values: np.ndarray):
    profile = ColumnProfile.fit(values)
    bins = Bins.of(profile, profile)
    assert bins is not None
    counts = [(values < bins.edges[0]).sum(), *np.histogram(values, bins.edges)[0], (values > bins.edges[-1]).sum()]
    assert np.allclose(bins.before * values.size, counts)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=41).filter(lambda v: len(v) % 2 == 1))
def test_the_median_is_numpys(values: list[float]):
    assert median(ColumnProfile.fit(np.array(values))) == np.median(values)


def test_a_column_without_values_now_is_drawn_as_it_was():
    reference: Profile = fit_profile({"x": np.arange(50.0)})
    page = report_page(report([column("x", **UNTOLD)]), reference, {}, schema(Column(name="x", kind="number")))
    read(page)
    assert page.count('class="then"') == 1
    assert 'path class="now"' not in page


def test_the_image_has_a_named_figure_of_each_profile_and_no_overlap():
    names = [f"c{i}" for i in range(7)]
    given = schema(*(Column(name=name, kind="number", label=EVIL + name) for name in names))
    values = {name: np.arange(100.0) for name in names[:5]} | {"churn": np.repeat([0.0, 1.0], 50)}
    profiles = fit_profile(values, 100)
    document = report([column(name, effect=0.1 * place) for place, name in enumerate(names)])
    root = ElementTree.fromstring(report_image(document, profiles, profiles, given))
    head, *shown = [text.text for text in root.findall(f"{SVG}text")]
    assert "reference (blue) and batch (orange)" in str(head)
    assert shown == ["Churn", *(EVIL + name for name in ("c4", "c3", "c2", "c1", "c0"))]
    boxes = [[float(figure.get(key)) for key in ("x", "y", "width", "height")] for figure in root.findall(f"{SVG}svg")]
    assert len(boxes) == len(shown)
    for i, (x, y, width, height) in enumerate(boxes):
        assert x + width <= float(root.get("width"))
        assert y + height <= float(root.get("height"))
        assert not any(x < x2 + w and x2 < x + width and y < y2 + h and y2 < y + height for x2, y2, w, h in boxes[:i])


def test_the_image_of_a_report_without_profiles_is_its_title():
    root = ElementTree.fromstring(report_image(report([]), {}, {}, schema(Column(name="x", kind="number"))))
    assert len(root.findall(f"{SVG}text")) == 1
