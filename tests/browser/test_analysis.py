"""The Analysis page: every section has a figure and a sentence; the offer's inputs change its advice."""

import re

import pytest

from tests.support.screen import ATTACK, Look

pytestmark = pytest.mark.needs("chromium")
SECTIONS = ("Segments", "Distributions", "Correlations", "Drivers", "Calibration", "Reach", "Offer")


def test_every_section_shows_a_figure_with_an_explanation(look: Look, lived_in: str):
    screen = look(lived_in).open("Analysis")
    for section in SECTIONS:
        screen.tab(section)
        charts = screen.page.get_by_test_id("stPlotlyChart").filter(visible=True)
        charts.first.locator(".main-svg").first.wait_for()
        screen.settled().check()
    assert "Traceback" not in screen.text()


def test_a_state_of_a_strange_name_is_a_label_like_any_other(look: Look, lived_in: str):
    screen = look(lived_in).open("Analysis")
    screen.choose("Compare customers by", "State")
    screen.says(re.escape(ATTACK[:20]))  # as much of it as an axis has room for


def test_an_offer_that_costs_more_than_it_brings_is_for_nobody(look: Look, lived_in: str):
    screen = look(lived_in).open("Analysis").tab("Offer")
    values = screen.page.get_by_test_id("stMetricValue").filter(visible=True)
    cheap = values.all_inner_texts()
    cost = screen.page.get_by_label("Cost of contacting a customer", exact=True)
    cost.fill("100")  # more than what an offer brings on average, also to those who leave
    cost.press("Enter")
    screen.settled()
    dear = values.all_inner_texts()
    assert len(cheap) == len(dear) == 4
    assert int(cheap[1].replace(",", "")) > int(dear[1].replace(",", "")) == 0
