"""Pictures of the dashboard's pages, a part of `make pictures`; tests use it too."""

import io
from pathlib import Path

from benchmarks.dashboard import shown
from PIL import Image
from playwright.sync_api import Browser, Page

WIDTH, TALLEST = 1280, 1800
MAX_BYTES = 300_000
LIMIT = 180_000  # milliseconds for a click, or for the first page of a dashboard
SHOWN = {
    "Call list": "/",
    "Policy": "/policy",
    "Predict": "/predict",
    "Monitoring": "/monitoring",
    "Analysis": "/analysis?section=Offer",
    "Models": "/models",
}


def photograph_pages(browser: Browser, dashboard: str, images: Path) -> None:
    """Take a picture of each page of the dashboard at an address."""
    for name, address in SHOWN.items():
        tab = browser.new_page(viewport={"width": WIDTH, "height": 900}, color_scheme="light")
        tab.set_default_timeout(LIMIT)
        tab.goto(f"{dashboard}{address}")
        shown(tab, name)
        if name == "Predict":
            for button in ("High risk", "Predict"):
                tab.get_by_role("button", name=button, exact=True).click()
                shown(tab, name)
            tab.mouse.move(0, 0)  # off the button
        _save(_photograph(tab, name), images / f"dashboard-{name.lower().replace(' ', '-')}.png")
        tab.close()


def _photograph(tab: Page, name: str) -> bytes:
    """Return a picture of a page from its top, at most `TALLEST` high."""
    height = int(tab.get_by_test_id("stMain").evaluate("element => element.scrollHeight"))
    tab.set_viewport_size({"width": WIDTH, "height": min(height, TALLEST)})
    tab.get_by_test_id("stMain").evaluate("element => element.scrollTo(0, 0)")
    shown(tab, name)
    return tab.screenshot()


def _save(picture: bytes, target: Path) -> None:
    """Write a picture with a palette, a third of the size; refuse one that is too large for a page."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(picture)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(buffer, "PNG", optimize=True)
    if buffer.tell() > MAX_BYTES:
        raise SystemExit(f"{target.name} has {buffer.tell()} bytes, at most {MAX_BYTES} are allowed")
    target.write_bytes(buffer.getvalue())
    print(f"docs/images/{target.name}: {buffer.tell():,} bytes")
