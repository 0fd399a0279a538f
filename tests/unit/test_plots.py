"""The figures and pages: same bytes for the same data, small, self-contained, safe to open."""

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray

from churnops.evaluation import METRIC_LABELS, METRICS, Evaluation, Interval, evaluate, plots
from churnops.evaluation import page as pages
from churnops.evaluation.wilson import wilson
from churnops.schema import Column
from churnops.words import capital

Rows = tuple[NDArray[np.int64], NDArray[np.float64]]
ATTACK = "<img src=x onerror=alert(1)>\"'&"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def rows() -> Rows:
    """As many customers as the test table has, no two with the same score, the worst case for size."""
    generator = np.random.default_rng(1)
    outcome = (generator.random(1667) < 0.14).astype(np.int64)
    return outcome, 1 / (1 + np.exp(2 - 2 * outcome - 1.5 * generator.normal(size=1667)))


@pytest.fixture(scope="module")
def evaluation(rows: Rows) -> Evaluation:
    return evaluate(*rows, replicates=50, seed=42)


@pytest.fixture(scope="module")
def document(evaluation: Evaluation, rows: Rows) -> str:
    return page(evaluation, rows, title="Evaluation of xgboost")


def page(evaluation: Evaluation, rows: Rows, **texts: Any) -> str:
    return pages.evaluation_page(evaluation, pages.draw_figures(evaluation, *rows), **texts)


def confusion_page(evaluation: Evaluation, **texts: str) -> str:
    return pages.confusion_matrix_page(evaluation, plots.confusion_matrix_svg(evaluation.confusion), **texts)


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def words(svg: str) -> str:
    return " ".join(element.text or "" for element in ElementTree.fromstring(svg).iter(f"{SVG}text"))


def figures(rows: Rows) -> list[str]:
    interval = Interval(0.812, 0.79, 0.83)
    return [
        plots.confusion_matrix_svg({"tn": 1400, "fp": 30, "fn": 40, "tp": 197}),
        plots.roc_svg(*rows, interval),
        plots.precision_recall_svg(*rows, interval),
        plots.calibration_svg(*rows, interval),
    ]


def test_the_same_data_gives_the_same_bytes_under_any_matplotlibrc(rows: Rows) -> None:
    first = figures(rows)
    with matplotlib.rc_context({"font.size": 30, "xtick.labelsize": 30, "svg.hashsalt": "other"}):
        assert figures(rows) == first
        assert matplotlib.rcParams["font.size"] == 30  # and it leaves theirs alone


def test_a_figure_is_well_formed_named_and_without_metadata(rows: Rows) -> None:
    for svg in figures(rows):
        root = ElementTree.fromstring(svg)
        assert root.tag == f"{SVG}svg"
        assert root.get("role") == "img"
        assert root.get("aria-label") == root.findtext(f"{SVG}title")
        assert root.find(f".//{SVG}metadata") is None
        assert "<?xml" not in svg
        assert "<!DOCTYPE" not in svg


def test_figures_name_their_value_and_interval(rows: Rows) -> None:
    for svg, name in zip(figures(rows)[1:], ("ROC-AUC", "PR-AUC", "Calibration error"), strict=True):
        assert f"{name} 0.812" in words(svg)
        assert "interval 0.790 to 0.830" in words(svg)


def test_the_confusion_matrix_has_every_count_and_its_share() -> None:
    text = words(plots.confusion_matrix_svg({"tn": 1400, "fp": 100, "fn": 40, "tp": 160}))
    for expected in ("1,400", "93.3% of those who stayed", "100", "160", "20.0% of those who churned"):
        assert expected in text


@pytest.mark.parametrize("only", [0, 1])
def test_one_outcome_draws_no_curve_and_a_note(only: int) -> None:
    outcome, probability = [only] * 3, [0.2, 0.4, 0.9]
    found = evaluate(outcome, probability, replicates=10, seed=1)
    for draw, name in ((plots.roc_svg, "roc_auc"), (plots.precision_recall_svg, "average_precision")):
        assert "cannot tell: all outcomes are the same" in words(draw(outcome, probability, found.metrics[name]))
    document = page(found, (np.array(outcome), np.array(probability)), title="One class")
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", document, flags=re.DOTALL)
    assert ("nobody churned" if only == 0 else "nobody stayed") in document


def test_the_page_is_small_and_has_every_metric_and_figure(document: str, evaluation: Evaluation) -> None:
    assert len(document.encode()) < 200_000
    assert document.count("<figure>") == document.count("<figcaption>") == document.count("<svg ") == 4
    for name in METRICS:
        interval, label = evaluation.metrics[name], capital(METRIC_LABELS[name])
        assert f'<th scope="row">{label}</th><td>{interval.value:.3f}</td>' in document
        assert f'<th scope="row">{label}</th><td>{interval.low:.3f} to {interval.high:.3f}</td>' in document
    assert "1,667, not used in training" in document
    assert '<html lang="en">' in document


def test_the_page_loads_nothing_and_runs_nothing(document: str) -> None:
    assert not re.search(r"https?://", re.sub(r'xmlns(:\w+)?="[^"]*"', "", document))
    assert not re.search(r"@import|url\((?!#)", document)
    seen = Elements(document).seen
    assert {tag for tag, _ in seen}.isdisjoint(("script", "img", "link", "iframe", "object", "form", "image"))
    for _, attributes in seen:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset")]
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")


def test_the_page_forbids_everything_but_inline_style(document: str) -> None:
    policies = [a["content"] for tag, a in Elements(document).seen if tag == "meta" and "http-equiv" in a]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]


def test_ids_that_figures_refer_to_are_their_own(document: str) -> None:
    ids = re.findall(r'\sid="([^"]*)"', document)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:url\(|href=\")#([\w-]+)", document)) <= set(ids)


def test_whatever_comes_from_data_is_escaped(evaluation: Evaluation, rows: Rows) -> None:
    target = Column(name="churn", kind="target", label=ATTACK, choices=("no", ATTACK))
    attacked = page(evaluation, rows, title=ATTACK, target=target, banner=ATTACK)
    harmless = page(evaluation, rows, title="t")
    assert {tag for tag, _ in Elements(attacked).seen} == {tag for tag, _ in Elements(harmless).seen}
    assert attacked.count("&lt;img src=x onerror=alert(1)&gt;") == 5
    for document in (attacked, confusion_page(evaluation, title="{style}" + ATTACK, banner=ATTACK)):
        assert "<img" not in document
        assert "&lt;img src=x onerror=alert(1)&gt;" in document


def test_the_confusion_page_has_its_one_figure(evaluation: Evaluation) -> None:
    document = confusion_page(evaluation, title="Confusion matrix of {xgboost}")
    assert document.count("<figure>") == 1
    assert "<table>" not in document
    assert "<h1>Confusion matrix of {xgboost}</h1>" in document
    assert len(document) < 15_000


def test_long_curves_are_thinned_without_a_visible_change() -> None:
    x = np.linspace(0, 1, 20_000)
    wave = 0.9 + 0.1 * np.sin(40 * x) * (1 - x)
    for y in (x**0.2, (x > 0.7).astype(np.float64), wave):
        kept_x, kept_y = plots._thin(x, y)
        assert kept_x.size <= 400
        assert (kept_x[0], kept_x[-1], kept_y[0], kept_y[-1]) == (0, 1, y[0], y[-1])
        # Less area between the two than a line of two points is wide.
        assert np.trapezoid(np.abs(np.interp(x, kept_x, kept_y) - y), x) < 0.005
    few = np.array([0.0, 0.5, 1.0])
    assert plots._thin(few, few)[0] is few


def test_bars_of_the_calibration_figure_are_wilsons() -> None:
    # 1 in 10 and 0 in 10, from scipy.stats.binomtest(...).proportion_ci(method="wilson").
    _, low, high = wilson(np.array([1, 0]), np.array([10, 10]))
    np.testing.assert_allclose((low, high), ([0.0179, 0.0], [0.4042, 0.2775]), atol=1e-4)


def test_numbers_alone_do_not_load_matplotlib() -> None:
    code = "import sys, churnops.evaluation; sys.exit(not {'matplotlib', 'sklearn'}.isdisjoint(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("draw", [plots.roc_svg, plots.precision_recall_svg, plots.calibration_svg])
def test_invalid_inputs_are_not_drawn(draw: Callable[..., str]) -> None:
    with pytest.raises(ValueError, match=r"probability holds 1\.5"):
        draw([0, 1], [0.5, 1.5], Interval(0.5, 0.4, 0.6))


@pytest.mark.parametrize(
    ("confusion", "sentence"),
    [
        ((900, 7, 15, 93), "93 of 100 flagged customers churned; 86 of 100 customers who churned were flagged."),
        ((90, 2, 1, 8), "8 of 10 flagged customers churned; 8 of 9 customers who churned were flagged."),
        ((90, 0, 10, 0), "No customer was flagged, and 10 churned."),
        ((98, 2, 0, 0), "None of these 100 customers churned, and 2 were flagged."),
    ],
)
def test_the_first_sentence_summarizes_the_models_quality(
    evaluation: Evaluation, confusion: tuple[int, ...], sentence: str
) -> None:
    counts = dict(zip(("tn", "fp", "fn", "tp"), confusion, strict=True))
    shown = replace(evaluation, rows=sum(confusion), positives=confusion[2] + confusion[3], confusion=counts)
    assert f'<p class="lead">{sentence}</p>' in confusion_page(shown, title="t")


def test_headings_are_in_order_and_statistics_come_last(document: str) -> None:
    assert re.findall(r"<(h\d)>(.*?)</h\d>", document) == [
        ("h1", "Evaluation of xgboost"),
        ("h2", "Numbers"),
        ("h2", "Figures"),
        ("h2", "Statistics"),
    ]
    assert document.count("<main>") == 1
    assert document.index("bootstrap") > document.index("Statistics")


def test_a_ranking_like_chance_is_named_with_the_next_step(evaluation: Evaluation, rows: Rows) -> None:
    chance = replace(evaluation, metrics=evaluation.metrics | {"roc_auc": Interval(0.52, 0.48, 0.56)})
    assert "The ranking is not proven better than chance." in page(chance, rows, title="t")
    assert "churnops dashboard" in page(evaluation, rows, title="t")
