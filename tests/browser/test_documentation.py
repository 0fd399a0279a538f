"""`/docs` in a real browser without a network: readable, under a policy that lets nothing run or load."""

import pytest
from playwright.sync_api import Browser

from churnops.settings import Settings
from tests.support.screen import ATTACK, SECONDS
from tests.support.serving import Server

pytestmark = pytest.mark.needs("chromium")


@pytest.mark.parametrize("color", ["light", "dark"])
def test_the_documentation_is_readable_offline(browser: Browser, deployed: Settings, color: str):
    with Server(deployed) as server:
        context = browser.new_context(color_scheme=color, viewport={"width": 390, "height": 844})  # type: ignore[arg-type]
        context.set_default_timeout(SECONDS)
        page = context.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
        address = f"http://127.0.0.1:{server.port}/docs"
        page.goto(address)
        assert [url for url in asked if not url.startswith("data:")] == [address]
        assert complaints == []
        text = page.inner_text("body")
        for words in ("POST /predict/batch", 'curl -s -X POST "$URL/predict"', '"customer_id": "C-1001"', "text/csv"):
            assert words in text
        assert ATTACK in text  # a choice of the Schema, as text
        assert page.evaluate("window.hacked") is None
        assert (
            page.evaluate("getComputedStyle(document.querySelector('pre')).overflowX") == "auto"
        )  # the style is in force
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.click("a[href='#Customer']")
        page.wait_for_url(f"{address}#Customer")
        context.close()
