"""The Predict page with the deployed model, rendered without a browser."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from churnops.app.predict.answers import BundleAnswers, Card
from churnops.app.predict.form import HIGH, LOW, TYPICAL, encoded, presets
from churnops.app.predict.risk import level
from churnops.journal import open_database
from churnops.journal.cycles import CycleLog
from churnops.model import Bundle
from churnops.schema import Schema
from churnops.words import percent
from tests.support.app_pages import SAID, ask, press, said
from tests.support.projects import LATER

Show = Callable[[str], AppTest]


def recorded(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "journal.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM predictions").fetchone()[0])


def upload(page: AppTest, content: bytes, name: str = "later.csv") -> AppTest:
    return press(page.file_uploader[0].set_value((name, content, "text/csv")).run(), "Score the file")


@pytest.fixture
def bundle(in_project: Path) -> Bundle:
    return Bundle.load((in_project / "models/production").resolve())


@pytest.fixture(scope="module")
def later() -> bytes:
    return "\n".join(LATER.read_text().splitlines()[:31]).encode()


def test_without_a_model_the_page_names_the_command(in_empty_project: Path, show: Show):
    page = show("predict")
    assert not page.exception
    assert "`churnops run`" in page.info[0].value
    assert not page.button


def test_a_damaged_model_is_one_sentence(in_project: Path, show: Show):
    document = (in_project / "models/production").resolve() / "bundle.json"
    document.write_text(document.read_text().replace("0.", "1.", 1))
    page = show("predict")
    assert not page.exception
    assert len(page.error) == 1
    assert not page.button


def test_the_form_begins_with_a_typical_customer_buttons_fill_others(in_project: Path, show: Show, bundle: Bundle):
    starts, page = presets(bundle, in_project / "models"), show("predict")
    assert not page.exception
    assert "Predictions by the deployed model on this machine" in said(page)
    assert bundle.version_name in said(page)
    assert "Nothing is recorded." in said(page)
    assert not page.metric
    for name in (TYPICAL, HIGH, LOW, HIGH):
        if name != TYPICAL:
            press(page, name)
        boxes = [*page.number_input, *page.selectbox]
        shown = {str(box.key).split(":")[1]: box.value for box in boxes}
        assert shown == {column: starts[name].get(column) for column in shown}
        assert {column.name for column in bundle.schema.model_inputs} <= set(shown)


@pytest.mark.parametrize("name", [HIGH, TYPICAL, LOW])
def test_the_probability_its_level_and_six_reasons_are_the_model_s(
    in_project: Path, show: Show, bundle: Bundle, name: str
):
    given = presets(bundle, in_project / "models")[name]
    expected = bundle.predict(encoded(given, bundle.schema)).probability[0]
    page = ask(show("predict"), name)
    assert page.metric[0].value == percent(expected)
    assert level(expected, bundle.threshold).sentence in said(page)
    assert level(expected, bundle.threshold).word in said(page)
    reasons = page.dataframe[0].value
    answer = BundleAnswers(bundle).one(given)
    assert list(reasons[f"On the {bundle.explanation_scale} scale"]) == [
        round(share, 4) for _, share in answer.contributions
    ]
    assert list(reasons["Effect"]) == [
        "raises the risk" if share > 0 else "lowers the risk" for _, share in answer.contributions
    ]
    assert all(reasons["Value"])
    figure = page.get("plotly_chart")[0].proto
    assert figure.alt.startswith("From the average customer")
    assert recorded(in_project) == 0


def test_a_number_typed_in_changes_the_answer_as_the_model_does(in_project: Path, show: Show, bundle: Bundle):
    given = dict(presets(bundle, in_project / "models")[LOW])
    page = press(show("predict"), LOW)
    next(box for box in page.number_input if str(box.key).startswith("predict:total_day_minutes:")).set_value(320.0)
    next(box for box in page.selectbox if str(box.key).startswith("predict:international_plan:")).set_value("Yes")
    press(page, "Predict")
    given |= {"total_day_minutes": 320.0, "international_plan": "Yes"}
    expected = bundle.predict(encoded(given, bundle.schema)).probability[0]
    assert page.metric[0].value == percent(expected)


def test_what_if_scores_again_without_changing_answer_or_journal(in_project: Path, show: Show, bundle: Bundle):
    page = ask(show("predict"), HIGH)
    answered = page.metric[0].value
    assert page.metric[1].label == "Probability with these values"
    assert page.metric[1].value == answered
    assert not page.metric[1].delta
    assert SAID["still"] in said(page)
    given = presets(bundle, in_project / "models")[HIGH]
    inputs = {name: float(values[0]) for name, values in encoded(given, bundle.schema).items()}
    slider = page.slider[0]
    name = str(slider.key).rpartition(":")[2]
    to = slider.min if slider.value != slider.min else slider.max
    slider.set_value(to).run()
    assert not page.exception
    after = bundle.predict({**encoded(given, bundle.schema), name: encoded({**given, name: to}, bundle.schema)[name]})
    assert inputs[name] != to
    assert page.metric[0].value == answered
    assert page.metric[1].value == percent(after.probability[0])
    assert page.metric[1].delta.endswith(" points")
    assert recorded(in_project) == 0
    press(page, "Back to the customer")
    assert page.metric[1].value == answered
    assert SAID["still"] in said(page)


def test_a_replaced_models_answer_is_not_explained_by_the_new_one(
    in_project: Path, show: Show, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
):
    page = ask(show("predict"), HIGH)
    # Another one answers by now, whose Schema needs what the customer that was asked about has not.
    columns = tuple(
        column.model_copy(update={"name": "another"}) if column.name == "total_day_calls" else column
        for column in bundle.schema.columns
    )
    schema = Schema(columns=columns)
    other = replace(Card.of(bundle), version="decision_tree-0", schema=schema)
    monkeypatch.setattr(BundleAnswers, "card", lambda _: other)
    page.run()
    assert not page.exception
    assert not page.error
    assert f"{other.version} is deployed now. Predict again." in said(page)
    assert page.get("plotly_chart")
    assert "There are no sliders: the model of this prediction" in said(page)


def test_an_unreliable_model_is_named_above_the_scores(in_project: Path, show: Show, bundle: Bundle):
    assert "Do not rely on these scores" not in str([box.value for box in show("predict").warning])
    log = CycleLog(open_database(f"sqlite:///{in_project}/journal.db"))
    newest = log.newest()[0]
    triggers = newest.summary["recommend_retraining"]["triggers"] | {"performance": True}
    fired = newest.summary | {"recommend_retraining": {"value": True, "triggers": triggers}}
    log.record(replace(newest, at=newest.at + timedelta(milliseconds=1), summary=fired))
    (warning,) = [box.value for box in show("predict").warning if "Do not rely" in box.value]
    assert "Predictions are worse than expected" in warning


def test_a_file_is_scored_and_comes_back_with_a_ranked_list(in_project: Path, show: Show, bundle: Bundle, later: bytes):
    page = show("predict")
    assert "at most 50 MiB and 100,000 customers" in said(page)
    upload(page, later)
    assert not page.exception
    assert not page.error
    assert "of 30 customers" in said(page)
    assert f"Scored by {bundle.version_name}." in said(page)
    risks = page.dataframe[-1].value
    assert list(risks["Rank"]) == list(range(1, 31))
    assert list(risks["Probability"]) == sorted(risks["Probability"], reverse=True)
    assert all(risks["First reason"])
    assert [button.proto.label for button in page.get("download_button")] == [
        "Download the scored file",
        "Download this list",
    ]
    assert recorded(in_project) == 0


def test_unexpected_cells_of_a_scored_file_are_named(in_project: Path, show: Show, later: bytes):
    header, first, second, *others = later.decode().splitlines()
    changed = [second.replace(second.partition(",")[0], "Atlantis"), first.replace(first.split(",")[1], "", 1)]
    page = upload(show("predict"), "\n".join([header, *changed, *others]).encode())
    (warning,) = [box.value.replace("\\", "") for box in page.warning]
    unknown, empty = warning.split("\n\n")
    assert unknown.startswith(
        "state ('State'): 1 of 30 rows (3.3%) have a level outside its choices, such as 'Atlantis'"
    )
    assert empty.startswith("account_length ('Account length'): 1 of 30 rows (3.3%) have an empty cell")
    assert "the first is row 2" in empty


def test_a_bad_file_lists_what_is_wrong_and_scores_nothing(in_project: Path, show: Show, later: bytes):
    page = upload(show("predict"), later.replace(b",No,No,", b",<b>evil</b>,-,"))
    assert not page.exception
    assert "Nothing was scored: 2 rules" in page.error[0].value.replace("\\", "")
    wrong = page.dataframe[-1].value
    assert [name.partition(" ")[0] for name in wrong["Column"]] == ["international_plan", "voice_mail_plan"]
    assert "'<b>evil</b>'" in wrong["What is wrong"][0]
    assert wrong["First rows"][0].startswith("1, 2")
    assert not page.get("download_button")
    upload(page, later)  # and is forgotten with the next one
    assert not page.error
    assert page.get("download_button")


@pytest.mark.parametrize(("content", "told"), [(b"", "is empty"), (b"\x00\xff", "binary"), (b"a,b\n", "no rows")])
def test_a_file_that_is_no_table_is_one_sentence(in_project: Path, show: Show, content: bytes, told: str):
    page = upload(show("predict"), content)
    assert not page.exception
    assert told in page.error[0].value
    assert not page.get("download_button")


def test_a_file_that_is_taken_away_takes_its_list_with_it(in_project: Path, show: Show, later: bytes):
    page = upload(show("predict"), later)
    page.file_uploader[0].set_value(None).run()
    assert not page.exception
    assert not page.get("download_button")
    assert not page.dataframe


def test_importing_the_page_loads_no_heavy_library():
    heavy = ("mlflow", "sklearn", "xgboost", "matplotlib", "pandas")
    code = f"import sys, churnops.app.predict.page; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
