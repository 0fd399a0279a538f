"""The Models page: a rollback needs an admin key and changes the deployed model."""

from pathlib import Path

import pytest

from churnops.journal import open_database
from churnops.journal.keys import KeyStore
from churnops.model import Bundle
from churnops.settings import Settings
from tests.support.attacks import EVERYTHING
from tests.support.projects import copied
from tests.support.screen import ATTACK, Look, Screen, dashboard

pytestmark = pytest.mark.needs("chromium")


@pytest.fixture
def settings(lived: Settings, tmp_path: Path) -> Settings:
    return copied(lived, tmp_path / "project")


@pytest.fixture
def keys(settings: Settings) -> dict[str, str]:
    """A key for each scope, by the scope's name."""
    engine = open_database(settings.database_url(settings.journal.url))
    try:
        store = KeyStore(engine)
        return {scope: store.add(f"{scope} {ATTACK}", [scope]) for scope in ("predict", "admin")}
    finally:
        engine.dispose()


def test_a_rollback_needs_an_admin_key_and_changes_the_model(look: Look, settings: Settings, keys: dict[str, str]):
    link = settings.path("models") / "production"
    before = Bundle.load(link).version_name
    with dashboard(settings.root) as address:
        screen = look(address).open("Predict")
        screen.says(rf"model {before}")
        screen.go("Models")
        for token, said in (("churnops_1_wrong", "the key is not valid"), (keys["predict"], "lacks the scope admin")):
            roll_back(screen, token, "the new one is worse")
            screen.says(said)
            assert Bundle.load(link).version_name == before
        roll_back(screen, keys["admin"], f"worse {ATTACK}")
        screen.says(r"Version \d+ \((.+)\) is in production again")
        after = Bundle.load(link).version_name
        assert after != before
        screen.says(rf"\({after}\) has been in production")
        screen.tab("In production").has_cell("restored")
        screen.go("Predict").says(rf"model {after}")
        secrets = [part for token in keys.values() for part in (token, token.split("_", 2)[2])]
        assert not [secret for secret in secrets if secret in screen.page.content()]


def test_history_decisions_and_retrainings_show_data_as_plain_text(look: Look, lived_in: str):
    screen = look(lived_in).open("Models")
    screen.says(r"^Version \d+ .* has been in production")
    assert EVERYTHING[:60] in screen.text()
    screen.has_cell("its predictions were worse than in the evaluation")
    screen.tab("Champion and challenger")
    screen.says("ROC-AUC")
    assert screen.page.get_by_test_id("stPlotlyChart").filter(visible=True).count() >= 1
    screen.tab("Retraining runs")
    screen.says("Requested by: ")
    screen.tab("Roll back").says(r"churnops keys add NAME --scope admin")


def roll_back(screen: Screen, token: str, reason: str) -> None:
    """Fill in the form and press its button."""
    page = screen.tab("Roll back").page
    page.get_by_label("Reason", exact=True).fill(reason)
    page.get_by_label("Admin key", exact=True).fill(token)
    sure = "I want this version in production from now on"
    if not page.get_by_role("checkbox", name=sure).is_checked():
        page.get_by_text(sure).click()
    screen.press("Roll back to this version")
