"""The Analysis page, rendered without a browser."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from churnops.app.shared.text import plain
from churnops.journal import Journal, open_database
from churnops.journal.predictions import write_predictions
from churnops.model import Bundle
from churnops.project import Project
from churnops.registry.reference import reference_path
from churnops.settings import load_settings
from tests.support.app_sample import HORIZON, asked, learnt

SECTIONS = ("Segments", "Distributions", "Correlations", "Drivers", "Calibration", "Reach", "Offer")
Show = Callable[[str], AppTest]


def opened(show: Show, section: str) -> AppTest:
    """Return the page with a section open."""
    page = show("analysis")
    page.session_state["section"] = section
    return page.run()


def texts(page: AppTest) -> str:
    return " ".join(element.value for element in [*page.markdown, *page.caption, *page.info]).replace("\\", "")


def with_outcomes(folder: Path, customers: int, known: int) -> None:
    """Record predictions of two months ago; a third of the customers with a known outcome left."""
    bundle = Bundle.load(folder / "models/production")
    engine = open_database(f"sqlite:///{folder}/journal.db")
    rows = asked(bundle, [60 + i / 1000 for i in range(customers)])
    write_predictions(engine, rows)
    learnt(Journal(engine, label_horizon=HORIZON), rows[:known], [i % 3 == 0 for i in range(known)])
    engine.dispose()


@pytest.mark.parametrize("section", SECTIONS)
def test_every_section_has_a_figure_with_an_alternative_text(in_project, show, section):
    page = opened(show, section)

    assert not page.exception
    assert not page.error
    figures = page.get("plotly_chart")
    assert figures
    assert all(figure.proto.alt for figure in figures)
    assert [tab.label for tab in page.tabs] == list(SECTIONS)
    assert "customers from the training data, each scored by a model not trained on that customer" in texts(page)


def test_only_the_open_section_is_computed(in_project: Path, show: Show):
    page = show("analysis")

    assert [box.label for box in page.selectbox] == ["Compare customers by"]
    assert not page.number_input


def test_another_column_is_compared_by_choosing_it(in_project: Path, show: Show):
    page = show("analysis")
    page.selectbox(key="segment").select("international_plan").run()

    assert "Customers with International plan Yes leave more often" in texts(page)
    assert list(page.dataframe[0].value["Group"]) == ["No", "Yes"]
    assert page.dataframe[0].value["Customers"].sum() > 500


def test_an_offer_proposes_a_threshold_and_the_next_step(in_project: Path, show: Show):
    page = opened(show, "Offer")
    page.number_input(key="cost").set_value(1000.0).run()
    assert "Do not make this offer" in texts(page)
    assert page.metric[0].value == "contact nobody"

    page.number_input(key="cost").set_value(1.0).run()
    page.number_input(key="value").set_value(10_000.0).run()
    page.number_input(key="success").set_value(100.0).run()
    assert "Use the threshold 0.0" in texts(page)
    assert page.metric[0].value.startswith("0.0")
    assert [metric.label for metric in page.metric] == [
        "Best threshold",
        "Contacted of 1,000",
        "Profit per 1,000",
        "Corrected gain",
    ]


def test_the_offer_changes_nothing(in_project: Path, show: Show):
    before = (in_project / "config.yaml").read_bytes(), (in_project / "models/production").readlink()
    opened(show, "Offer").number_input(key="cost").set_value(1.0).run()

    assert ((in_project / "config.yaml").read_bytes(), (in_project / "models/production").readlink()) == before


def test_use_this_sets_the_policy_with_an_admin_key(in_project: Path, show: Show):
    assert "needs an admin key, and there is none yet" in texts(opened(show, "Offer"))
    project = Project(load_settings(in_project / "config.yaml"))
    token = project.keys.add("ann", ["admin"])
    page = opened(show, "Offer")
    for key, number in (("cost", 1.0), ("value", 10_000.0), ("success", 100.0)):
        page.number_input(key=key).set_value(number).run()
    fill(page, "spring offer", "wrong")
    assert "Nothing has changed: the key is not valid" in page.error[0].value.replace("\\", "")
    fill(page, "spring offer", token)
    assert "Decision policy 1 is in force" in page.success[0].value.replace("\\", "")
    policy = project.policy()
    project.close()
    assert (policy.by, policy.reason, policy.cost, policy.value) == ("key 'ann'", "spring offer", 1.0, 10_000.0)
    assert policy.threshold is not None
    assert f"threshold {policy.threshold:g} by decision policy 1" in texts(page)


def fill(page: AppTest, reason: str, token: str) -> None:
    by_label = {field.label: field for field in page.text_input}
    by_label["Reason"].set_value(reason)
    by_label["Admin key"].set_value(token)
    next(button for button in page.button if button.label == "Use this").click().run()


def test_the_contacted_share_decides_how_many_leavers_are_reached(in_project: Path, show: Show):
    page = opened(show, "Reach")
    page.slider(key="share").set_value(100).run()

    assert (
        "The 100 % of customers with the highest scores include 100 % of the customers who leave: 1.0 times"
        in texts(page)
    )


def test_without_a_model_the_page_names_the_command(in_empty_project: Path, show: Show):
    page = show("analysis")

    assert [info.value for info in page.info] == [
        "No model is deployed yet. Type `churnops run` in the project's folder: it trains one and deploys it."
    ]


def test_an_older_model_has_no_sample_and_the_page_gives_the_remedy(in_project: Path, show: Show):
    bundle = Bundle.load(in_project / "models/production")
    reference_path(in_project / "models", bundle.content_sha256).unlink()
    page = show("analysis")

    assert "This model has no sample of reference customers" in page.info[0].value
    assert "churnops run" in page.info[0].value
    assert not page.tabs


def test_a_damaged_sample_is_an_error_in_one_line(in_project: Path, show: Show):
    bundle = Bundle.load(in_project / "models/production")
    reference_path(in_project / "models", bundle.content_sha256).write_bytes(b"<script>")
    page = show("analysis")

    assert not page.exception
    said = "the model's sample of reference customers is damaged: train again with `churnops run --deploy`"
    assert [error.value for error in page.error] == [plain(said)]


def test_production_customers_are_offered_once_enough_are_old_enough(in_project: Path, show: Show):
    assert not show("analysis").radio
    with_outcomes(in_project, customers=300, known=250)

    page = show("analysis")
    page.radio(key="customers").set_value("Production customers with known outcomes")
    page.session_state["section"] = "Calibration"
    page.run()

    assert not page.exception
    assert "250 customers with a prediction of this model and a known outcome; 84 of them left (33.6 %)" in texts(page)
    assert page.get("plotly_chart")


def test_too_few_outcomes_are_reported_with_their_number(in_project: Path, show: Show):
    with_outcomes(in_project, customers=300, known=150)
    page = show("analysis")
    page.radio(key="customers").set_value("Production customers with known outcomes").run()

    assert "Too few outcomes are known for an analysis: 150 customers, 50 of whom left." in page.info[0].value
    assert not page.tabs


def test_a_new_sample_of_the_same_model_is_read_again(in_project: Path, show: Show):
    bundle = Bundle.load(in_project / "models/production")
    page, path = show("analysis"), reference_path(in_project / "models", bundle.content_sha256)
    content = path.read_bytes()
    path.write_bytes(b"damaged")
    assert page.run().error
    path.write_bytes(content)
    assert not page.run().error


def test_importing_the_page_loads_nothing_that_trains_or_tracks():
    code = (
        "import sys, churnops.app.analysis.page\n"
        "print([name for name in ('mlflow', 'sklearn', 'xgboost', 'matplotlib', 'scipy.stats') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
