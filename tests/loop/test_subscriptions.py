"""Another trade: the whole loop on subscriptions, with the settings that `churnops init` writes."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner
from scripts.subscriptions import subscribers
from streamlit import cache_data, cache_resource
from streamlit.testing.v1 import AppTest

from churnops.cli import main
from churnops.model import Bundle
from churnops.model.blend import Blend
from churnops.settings import ENV_CONFIG, Settings, load_settings
from tests.support.api import client_of
from tests.support.app_pages import PAGE, SECONDS
from tests.support.projects import write_store

CITIES = 300
QUICK = {
    "CHURNOPS_TRAINING__FAMILIES": "[logistic_regression, blend]",
    "CHURNOPS_TRAINING__FOLDS": "3",
    "CHURNOPS_EVALUATION__BOOTSTRAP_REPLICATES": "100",
    "CHURNOPS_RETRAINING__FAMILIES": "[blend]",
}
FEBRUARY, MARCH = date(2026, 2, 1), date(2026, 3, 1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A project after `churnops init` and `churnops run`, with later months beside the table."""
    folder = tmp_path_factory.mktemp("subscriptions")
    subscribers(2_400, 3, levels=CITIES).write_csv(folder / "subscriptions.csv")
    subscribers(3_000, 1, FEBRUARY, CITIES).write_csv(folder / "february.csv")
    subscribers(1_000, 2, MARCH, CITIES, drifted=True).write_csv(folder / "march.csv")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        patch.setenv(ENV_CONFIG, str(folder / "config.yaml"))
        write_store(folder)
        typed("init", "subscriptions.csv", "--target", "cancelled")
        typed("run")
        yield load_settings(folder / "config.yaml")


def typed(*words: str) -> str:
    """Return the output of a command."""
    result = CliRunner().invoke(main, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def asked(*words: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(typed(*words, "--json"))
    return document


def deployed(settings: Settings) -> Bundle:
    return Bundle.load(settings.path("models/production"))


def test_dates_cities_and_gaps_are_inputs(shop: Settings):
    kinds = {column.name: column.kind for column in shop.table.columns}
    assert (kinds["customer_id"], kinds["signup_date"], kinds["last_payment_date"]) == ("id", "date", "date")
    assert len(shop.table.by_name["city"].choices) > CITIES * 0.8
    assert {column.name for column in shop.table.columns if column.nullable} == {
        "last_payment_date",
        "sessions_30d",
        "minutes_watched",
    }
    assert deployed(shop).metrics["held_out"]["metrics"]["roc_auc"]["value"] > 0.65


def test_new_cities_and_plans_of_a_later_month_are_scored(shop: Settings):
    later = pl.read_csv("february.csv")
    assert {"student"} == set(later["plan"]) - set(shop.table.by_name["plan"].choices)
    assert typed("predict", "february.csv", "scored.csv").startswith("Scored 3,000 customers")
    scored = pl.read_csv("scored.csv")
    assert scored["customer_id"].equals(later["customer_id"])
    churned = scored.group_by("cancelled").agg(pl.col("churn_probability").mean()).sort("cancelled")
    assert churned["churn_probability"][1] > churned["churn_probability"][0] * 1.3


def test_the_api_names_unknown_levels_and_explains_by_column(shop: Settings):
    known = pl.read_csv("february.csv").filter(pl.col("plan") != "student").drop("cancelled", "last_payment_date")
    body = {**known.to_dicts()[0], "city": "Atlantis", "plan": "family"}
    with client_of(shop) as client:
        answer = client.post("/predict", json=body)
        assert answer.status_code == 200, answer.text
        assert sorted(answer.json()["unknown"]) == ["city", "plan"]
        assert "unknown" not in client.post("/predict", json=known.to_dicts()[0] | {"plan": "basic"}).json()
        reasons = {item["feature"] for item in answer.json()["top_shap_features"]}
        assert reasons <= {column.name for column in shop.table.inputs}
        label = {"prediction_id": answer.json()["prediction_id"], "churned": True}
        assert client.post("/labels", json=label).json() == {"recorded": 1, "unchanged": 0, "unmatched": 0}


def test_only_the_bad_month_has_drifted(shop: Settings):
    february, march = (asked("monitor", "--batch", f"{month}.csv")["report"] for month in ("february", "march"))
    assert february["recommend_retraining"]["reasons"] == []
    assert march["recommend_retraining"]["value"] is True
    assert {"monthly_price", "support_tickets"} <= set(march["feature_drift"]["drifted"])
    # The dates of a later month are later: that is no drift, and nothing is broken.
    assert set(february["feature_drift"]["drifted"]) <= {"plan"}
    assert not [caution["name"] for caution in february["cautions"] if caution["fired"]]


def test_retraining_makes_a_blend_or_cannot_tell_and_rolls_back(shop: Settings):
    before = deployed(shop).content_sha256
    summary = asked("retrain", "--batch", "march.csv")
    assert summary["status"] in ("deployed", "kept", "cannot tell")
    assert summary["winner"].startswith("blend")
    assert typed("models")
    if summary["status"] != "deployed":
        typed("promote", "2", "--force", "--reason", "a test")
    assert deployed(shop).content_sha256 != before
    assert isinstance(deployed(shop).estimator, Blend)
    assert "version 1" in typed("rollback", "--reason", "a test")
    assert deployed(shop).content_sha256 == before


@pytest.mark.parametrize("name", ["predict", "monitoring", "analysis", "models"])
def test_a_page_of_the_dashboard_is_whole(shop: Settings, name: str):
    cache_data.clear()
    cache_resource.clear()
    page = AppTest.from_string(PAGE.format(name=name), default_timeout=SECONDS).run()
    cache_data.clear()
    cache_resource.clear()
    assert not page.exception
    assert not page.error
