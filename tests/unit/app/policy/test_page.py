"""The Policy page, rendered without a browser."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from churnops.app.policy import choosing
from churnops.cli import main
from churnops.decision.known_outcomes import Window, read_window
from churnops.journal import Journal, open_database
from churnops.journal.predictions import write_predictions
from churnops.model import Bundle
from churnops.project import Project
from churnops.settings import load_settings
from tests.support.app_pages import said
from tests.support.app_sample import DAY, HORIZON, NOW, asked, learnt

Show = Callable[[str], AppTest]


def with_outcomes(folder: Path, customers: int) -> None:
    """Record predictions of two months ago, each with an outcome; the higher scores leave."""
    bundle = Bundle.load(folder / "models/production")
    engine = open_database(f"sqlite:///{folder}/journal.db")
    rows = [row._replace(churn_probability=i / 1000) for i, row in enumerate(asked(bundle, [60.0] * customers))]
    write_predictions(engine, rows)
    learnt(Journal(engine, label_horizon=HORIZON), rows, [i % 10 == 0 or i > 250 for i in range(customers)])
    engine.dispose()


def test_without_outcomes_the_page_says_how_many_are_needed(in_project: Path, show: Show):
    page = show("policy")
    assert not page.exception
    assert "0 customers scored from" in said(page)
    assert "at least 200 are needed" in said(page)
    assert "The journal has fewer than 200 predictions" in said(page)
    page.radio(key="policy:source").set_value("Customers of the training data").run()
    assert page.dataframe[0].value["Contacted"].tolist()[2:] == ["Everyone", "Nobody"]
    assert len(page.get("plotly_chart")) == 3
    assert all(figure.proto.alt for figure in page.get("plotly_chart"))
    assert "Assumed, not measured: cost 10, value 200, 25 % of" in said(page)
    assert "these are examples: change them below" in said(page)


def test_the_page_agrees_with_the_command(in_project: Path, show: Show):
    with_outcomes(in_project, 300)
    page = show("policy")
    table = page.dataframe[0].value
    words = ["--config", str(in_project / "config.yaml"), "decision", "choose", "--json"]
    offer = ["--cost", "10", "--value", "200", "--success-rate", "0.25"]
    result = CliRunner().invoke(main, [*words, *offer])
    document = json.loads(result.stdout)
    assert table["Profit"].tolist() == [
        round(document[name]["profit"]) for name in ("in_force", "best", "everybody", "nobody")
    ]
    assert table["At least"].tolist()[1] == round(document["best"]["low"])
    assert f"{document['customers']}." in said(page)


def test_another_window_and_another_cost_change_the_result(in_project: Path, show: Show):
    with_outcomes(in_project, 300)
    page = show("policy")
    page.number_input(key="policy:cost").set_value(1000.0).run()
    assert "Contact nobody" in said(page) or "Keep the policy in force" in said(page)
    assert page.dataframe[0].value["Profit"].tolist()[1] == 0
    page.date_input(key="policy:window").set_value([(NOW - 50 * DAY).date(), (NOW - 40 * DAY).date()]).run()
    assert "0 customers scored from" in said(page)


def test_a_column_without_values_has_no_segments(in_project: Path, show: Show, monkeypatch: pytest.MonkeyPatch):
    with_outcomes(in_project, 300)
    profits = choosing.profits
    monkeypatch.setattr(choosing, "profits", lambda *given: replace(profits(*given), segments=[]))
    page = show("policy")
    assert not page.exception
    assert "None of these customers has a value in this column" in said(page)


def test_an_error_is_shown_in_one_line_and_the_form_stays(in_project: Path, show: Show):
    with_outcomes(in_project, 300)
    for file in in_project.glob("models/reference/*"):
        file.unlink()
    page = show("policy")
    page.radio(key="policy:source").set_value("Customers of the training data").run()
    assert not page.exception
    assert "has no sample of training rows" in said(page)
    page.radio(key="policy:source").set_value("Customers with known outcomes").run()
    assert page.dataframe


def test_use_this_sets_the_best_policy(in_project: Path, show: Show):
    with_outcomes(in_project, 300)
    project = Project(load_settings(in_project / "config.yaml"))
    token = project.keys.add("ann", ["admin"])
    page = show("policy")
    page.text_input(key="policy:currency").set_value("EUR").run()
    by_label = {field.label: field for field in page.text_input}
    by_label["Reason"].set_value("spring")
    by_label["Admin key"].set_value(token)
    next(button for button in page.button if button.label == "Use this").click().run()
    assert "Decision policy 1 is in force" in said(page)
    policy = project.policy()
    project.close()
    assert (policy.cost, policy.value, policy.success_rate, policy.currency) == (10.0, 200.0, 0.25, "EUR")
    assert policy.threshold is not None
    assert 0.2 < policy.threshold < 0.26


def test_a_window_has_each_customer_once(in_project: Path):
    bundle = Bundle.load(in_project / "models/production")
    engine = open_database(f"sqlite:///{in_project}/journal.db")
    rows = [*asked(bundle, [80.0, 60.0], customer="C-1"), *asked(bundle, [70.0, 65.0]), *asked(bundle, [200.0])]
    write_predictions(engine, rows)
    journal = Journal(engine, label_horizon=HORIZON)
    learnt(journal, rows, [False] * 5)
    sample, since = read_window(journal, bundle, Window(NOW - 100 * DAY, NOW - HORIZON), datetime.now(UTC), ["state"])
    engine.dispose()
    assert sorted(sample.score.tolist()) == [0.6, 0.65, 0.7]
    assert sample.columns["state"].size == 3
    assert since == NOW - 100 * DAY
