"""The dashboard's pages without a browser."""

from streamlit.testing.v1 import AppTest

SECONDS = 180  # time limit of a page; the first page of a test process imports its libraries
PAGE = """
from churnops.app.{name}.page import page
from churnops.app.shared.project import guarded
guarded(page)()
"""
SAID = {"still": "Move a slider", "moved": "From "}


def said(page: AppTest) -> str:
    """Return all text of a page in reading order."""
    boxes = [*page.text, *page.markdown, *page.caption, *page.info, *page.success, *page.warning, *page.error]
    return " ".join(str(box.value) for box in boxes).replace("\\", "").replace("\u2060", "")


def press(page: AppTest, label: str) -> AppTest:
    return next(button for button in page.button if button.label == label).click().run()


def ask(page: AppTest, preset: str) -> AppTest:
    """Fill the form with a customer and predict."""
    page = press(press(page, preset), "Predict")
    assert not page.exception
    assert not page.error
    return page
