"""Every page is readable: contrast, headings, landmarks, the product's name, and the order on a phone."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from churnops.model import Bundle
from churnops.settings import Settings
from tests.support.screen import PAGES, Look, Screen

pytestmark = pytest.mark.needs("chromium")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
CONTRAST = 4.5  # WCAG 2.2, level AA, of text

# The contrast of each visible text with the colours below it, as the browser computes them: [contrast, place, text].
TEXTS = """
() => {
    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
        return [red, green, blue, alpha / 255];
    };
    const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3]));
    const above = (element) => element ? [element, ...above(element.parentElement)] : [];
    const ground = (element) => above(element).reverse()
        .reduce((below, one) => over(rgba(getComputedStyle(one).backgroundColor), below), [255, 255, 255]);
    const light = (colour) => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
        const part = colour[i] / 255;
        return sum + weight * (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    }, 0);
    const texts = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const text = walk.currentNode.data.trim(), element = walk.currentNode.parentElement;
        const box = element.getBoundingClientRect();
        const drawn = text && element.checkVisibility({visibilityProperty: true}) && box.width > 1 && box.height > 1;
        if (!drawn || element.closest('canvas, style, script, [data-testid=stSlider]')) continue;  // beside its ground
        const style = getComputedStyle(element), colour = rgba(element.closest('svg') ? style.fill : style.color);
        colour[3] *= above(element).reduce((all, one) => all * getComputedStyle(one).opacity, 1);
        const below = ground(element), pair = [light(over(colour, below)), light(below)];
        const contrast = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
        const place = element.closest('svg') ? 'figure' : element.closest('[data-testid]').dataset.testid;
        texts.push([contrast, place, text]);
    }
    return texts;
}
"""
HEADINGS = """
() => [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].filter((one) => one.checkVisibility())
    .map((one) => Number(one.tagName[1]))
"""


def tabs(screen: Screen) -> Iterator[Screen]:
    """Open each tab of a page after the other."""
    for name in screen.page.get_by_role("tab").all_inner_texts():
        yield screen.tab(name)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast_and_headings_descend(look: Look, lived_in: str, scheme: str):
    screen = look(lived_in, color_scheme=scheme, viewport=WIDE).open()
    screen.press("Predict")
    places: set[str] = set()
    for name in PAGES:
        screen.go(name)
        for shown in tabs(screen):
            shown.page.mouse.move(700, 500)
            shown.page.mouse.wheel(0, 20_000)  # what is drawn only when it is seen
            texts = shown.settled(name).page.evaluate(TEXTS)
            places |= {place for _, place, _ in texts}
            assert [text for text in texts if text[0] < CONTRAST] == []
            check_structure(shown)
    assert places >= {"stCaptionContainer", "stMarkdownContainer", "figure"}


def check_structure(screen: Screen) -> None:
    """Check that a page has one main area, and one h1 with h2 below it."""
    levels = screen.page.evaluate(HEADINGS)
    assert levels[0] == 1
    assert set(levels[1:]) <= {2}
    assert screen.page.locator("main, [role=main]").count() == 1
    assert screen.page.locator("main h1").count() == 1


def test_the_sidebar_has_name_icon_and_deployed_model(look: Look, lived: Settings, lived_in: str):
    version = Bundle.load(lived.path("models/production")).version_name
    screen = look(lived_in).open()
    for name in PAGES:
        screen.go(name)
        sidebar = screen.page.get_by_test_id("stSidebar")
        assert f"Deployed model\n{version}" in sidebar.inner_text()
        assert "churnops" in sidebar.inner_text()
        logo = sidebar.get_by_test_id("stSidebarHeader").locator("img")
        expect(logo).to_have_js_property("complete", True)
        assert logo.evaluate("image => image.naturalWidth") > 100
        assert logo.bounding_box()["y"] < sidebar.get_by_test_id("stSidebarNav").bounding_box()["y"]  # type: ignore[index]
        icon = screen.page.locator("link[rel~=icon]").get_attribute("href")
        assert icon is not None
        assert icon.startswith("data:image/svg+xml")
        assert screen.page.title() == f"{name} · churnops"


def test_on_a_phone_the_result_is_above_the_form(look: Look, lived_in: str):
    def top(screen: Screen, place: Any) -> float:
        return float(screen.page.get_by_test_id(place).first.bounding_box()["y"])  # type: ignore[index]

    for viewport in (WIDE, PHONE):
        screen = look(lived_in, viewport=viewport).open()
        screen.press("Predict")
        is_phone = viewport is PHONE
        assert (top(screen, "stPlotlyChart") < top(screen, "stForm")) is is_phone
        assert screen.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
        left = [one.bounding_box()["x"] for one in (screen.page.get_by_test_id(n) for n in ("stForm", "stPlotlyChart"))]  # type: ignore[index]
        assert (left[0] == pytest.approx(left[1], abs=20)) is is_phone
