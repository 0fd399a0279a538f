"""The Predict page: the form shows and explains the API's answer, sliders score again, files are scored."""

import json
import re
from pathlib import Path
from socket import socket
from typing import Any

import numpy as np
import polars as pl
import pytest
from playwright.sync_api import expect

from churnops.data.read import encode
from churnops.data.validate import check_customers
from churnops.model import Bundle
from churnops.settings import Settings
from churnops.words import number, percent, words
from tests.support.projects import copied
from tests.support.screen import ATTACK, ATTACKS, Look, Screen, dashboard
from tests.support.serving import Server, sqlite_rows

pytestmark = pytest.mark.needs("chromium")
DOWN = "does not answer|cannot be reached|Connection refused"
SCORED = "churn_probability"


def recorded(settings: Settings, prediction_id: str) -> dict[str, Any]:
    row = next(row for row in sqlite_rows(settings) if row[0] == prediction_id)
    return {"probability": row[2], "inputs": row[-1], "reasons": row[-2]}


def test_the_form_shows_the_apis_answer_and_reports_when_it_is_down(look: Look, deployed: Settings, tmp_path: Path):
    settings = copied(deployed, tmp_path / "project")
    with Server(settings) as server:
        url = f"http://127.0.0.1:{server.port}"
        with dashboard(settings.root, CHURNOPS_DASHBOARD__API_URL=url) as address:
            screen = look(address)
            screen.says_after(screen.open, rf"Predictions by the API at {re.escape(url)}.*recorded")
            screen.press("High risk")
            screen.page.get_by_label("Total day calls", exact=True).fill("97")
            shown = screen.says_after(lambda: screen.press("Predict"), r"Recorded as ([0-9a-f-]{36})")
            kept = recorded(settings, shown[1])
            assert kept["inputs"]["total_day_calls"] == 97
            again = server.ask("POST", "/predict", json.dumps(kept["inputs"]).encode()).json()
            assert again[SCORED] == kept["probability"]
            screen.says(f"^{re.escape(percent(again[SCORED]))}$")
            screen.says(r"threshold of 50 %")
            drawn = screen.page.get_by_test_id("stPlotlyChart").inner_text().replace("\n", " ")
            for reason in again["top_shap_features"]:
                assert words(reason["feature"]) in drawn
            assert kept["reasons"] == again["top_shap_features"]

            server.terminate()
            server.exit_code()
            screen.press("Predict")
            screen.says(DOWN)
            screen.says_after(screen.open, DOWN)  # what the API last said of its model is forgotten
            assert "Traceback" not in screen.text()


def test_without_an_api_one_line_gives_the_remedy(look: Look, lived: Settings):
    with socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with dashboard(lived.root, CHURNOPS_DASHBOARD__API_URL=url) as address:
            screen = look(address).open()
            screen.says(rf"{re.escape(url)}.*`?churnops serve`?")
            screen.go("Models").says("has been in production")  # the rest of the dashboard needs no API


def test_a_slider_scores_anew_and_leaves_the_rest_of_the_page_alone(look: Look, lived_in: str):
    screen = look(lived_in).open()
    screen.press("High risk")
    screen.press("Predict")
    before = screen.page.get_by_test_id("stMetricValue").all_inner_texts()
    assert before[0] == before[1]
    figure = screen.page.get_by_test_id("stPlotlyChart").first
    figure.evaluate("element => element.seen = true")
    slider = screen.page.get_by_role("slider", name="Total day minutes")
    slider.focus()
    for _ in range(20):
        slider.press("ArrowLeft")
    moved = number(float(slider.input_value()))
    screen.says(rf"Total day minutes .* → {re.escape(moved)}(?!\d)")  # the last of several answers
    screen.settled()
    assert figure.evaluate("element => element.seen")
    assert screen.page.get_by_test_id("stMetricValue").first.inner_text() == before[0]
    screen.press("Back to the customer")
    expect(screen.page.get_by_test_id("stMetricValue").nth(1)).to_have_text(before[0])


def test_a_file_is_scored_in_place_with_the_models_answers(look: Look, lived: Settings, lived_in: str):
    bundle = Bundle.load(lived.path("models") / "production")
    table = pl.read_csv(next(lived.root.glob("data/production/*.csv"))).drop("Churn")
    assert ATTACK in table["State"]
    table = table.with_columns(pl.Series("customer_id", [f"{ATTACK} {row}" for row in range(table.height)]))
    screen = look(lived_in).open()
    upload(screen, "customers.csv", table.write_csv().encode())
    screen.says(rf"of {table.height:,} customers .* are predicted to leave")
    with screen.page.expect_download() as saved:
        screen.page.get_by_role("button", name="Download the scored file").click()
    scored = pl.read_csv(saved.value.path())
    expected = bundle.predict(encode(check_customers(table, bundle.schema, "a file"), bundle.schema)).probability
    np.testing.assert_array_equal(scored[SCORED], expected)
    assert scored["customer_id"].to_list() == table["customer_id"].to_list()
    with screen.page.expect_download() as listed:
        screen.page.get_by_role("button", name="Download this list").click()
    risks = pl.read_csv(listed.value.path())
    assert risks["Probability"].to_list() == sorted(expected, reverse=True)[: risks.height]
    assert risks["Row"][0] == int(np.argmax(expected)) + 1
    screen.page.get_by_test_id("stDataFrame").first.hover()
    tools = screen.page.get_by_test_id("stElementToolbarButton").locator("button")
    expect(tools.filter(visible=True).first).to_be_visible()
    assert not [tool for tool in tools.all() if tool.is_visible() and "CSV" in (tool.get_attribute("aria-label") or "")]


def test_an_invalid_file_is_refused_with_every_rule_as_plain_text(look: Look, lived: Settings, lived_in: str):
    table = pl.read_csv(next(lived.root.glob("data/production/*.csv"))).head(3)
    wrong = table.with_columns(
        pl.Series("International plan", [*ATTACKS[1:3], "Yes"]), pl.lit("abc").alias("Total day calls")
    )
    screen = look(lived_in).open()
    upload(screen, "<img src=x onerror=alert(1)>.csv", wrong.write_csv().encode())
    screen.says("Nothing was scored: 2 rules of the customer table are broken")
    screen.has_cell(ATTACKS[1])
    upload(screen, "customers.parquet", b"PAR1 and nothing more")
    screen.says(r"not a readable Parquet table")


def upload(screen: Screen, name: str, content: bytes) -> None:
    screen.tab("A file of customers")
    kind = "text/csv" if name.endswith("csv") else "application/octet-stream"
    screen.page.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": content})
    # The button of the file before is there until the page knows of this one.
    expect(screen.page.get_by_role("button", name=f"Remove {name}", exact=True)).to_be_visible()
    screen.settled()
    screen.press("Score the file")
