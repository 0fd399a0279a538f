"""Every page shows text from data as text: no markup, link, picture, formula or script."""

import json
import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from google.protobuf.json_format import MessageToDict
from markdown_it import MarkdownIt
from scripts.big_project import fill
from sqlalchemy import Engine
from streamlit.testing.v1 import AppTest

from churnops.app import pages
from churnops.app.call_list.opened import OWN_DOWNLOAD
from churnops.app.policy.assumptions import JOURNAL, TRAINING
from churnops.app.predict.file import ONE_DOWNLOAD
from churnops.app.predict.form import HIGH
from churnops.app.predict.page import RESULT_FIRST
from churnops.app.preload import preloading
from churnops.app.shared.access import wrong_name
from churnops.app.shared.brand import READABLE
from churnops.app.shared.text import plain
from churnops.decision.policy import DecisionPolicy
from churnops.journal import DeploymentLog, open_database
from churnops.journal.alerts import AlertLog, Notice, Try
from churnops.journal.cycles import CycleLog
from churnops.journal.decisions import DecisionLog
from churnops.journal.keys import KeyStore
from churnops.pipelines.run_all import run_all
from churnops.settings import ENV_CONFIG, Settings, load_settings
from tests.support.app_pages import PAGE, SECONDS
from tests.support.attacks import add_call_list, add_rollback
from tests.support.projects import quick, write_project, write_small_data

ATTACK = (
    "<img src=x onerror=evil()><script>evil()</script> [evil](javascript:evil()) ![evil](http://evil.example/x.png) "
    "<http://evil.example> http://evil.example www.evil.example evil@evil.example $\\href{javascript:evil()}{x}$ "
    ":red[evil] :material/delete: :evil: **evil** `evil` ~~evil~~ | evil | # evil -> <- --"
)
STEERING = "evil\x00\x1b[31m\u202eevil\u2028evil\ud7ff\r\n\n# evil\n\n- evil\n"
HUGE = "evil" * 25_000
EVERYTHING = f"{ATTACK} {STEERING}"
STATE = ATTACK[:60]
KEPT = {"name", "kind", "test", "verdict", "metric", "content_sha256", "state", "status", "timestamp", "model_version"}
"""Fields of documents that are looked up, or that the product chooses from a list."""
STYLES = (RESULT_FIRST, ONE_DOWNLOAD, OWN_DOWNLOAD, READABLE)
OURS = (preloading(), *STYLES)
PAGES = ("call_list", "predict", "monitoring", "analysis", "models")

# What shows text letter by letter: part of a page, and the field of it. Everything else is read as Markdown.
PLAIN = {
    ("text", "body"),
    ("code", "codeText"),
    ("selectbox", "options"),
    ("text_input", "value"),
    ("text_input", "default"),
    ("plotly_chart", "spec"),
    ("plotly_chart", "alt"),
    ("dataframe", "alt"),
    ("arrow_data_frame", "alt"),
    ("download_button", "url"),
    ("selectbox", "rawValue"),
}
TAG = re.compile(r"<(?!/?(?:br|b|extra)\s*/?>)[a-zA-Z!/]")
LINKED = re.compile(r"(?:https?|ftp)://[^\s\u2060]|www\.[^\s\u2060]|mailto:[^\s\u2060]|\S@[^\s\u2060]", re.IGNORECASE)
DIRECTIVE = re.compile(r"(?<!\\)\$|(?<!\\):[a-z]+[/\[{:]", re.IGNORECASE)


def strange(document: dict[str, Any]) -> None:
    """Settings with attacks wherever a table's owner may write text."""
    quick(document)
    document["training"] |= {"families": ["decision_tree"]}
    for column in document["schema"]["columns"]:
        column["description"] = f"{column.get('description', '')} {ATTACK}"[:300]
        if column["name"] == "state":
            column["choices"] = [*column["choices"], STATE]
    for feature in document["features"]["derived"]:
        feature["description"] = f"{ATTACK}"[:300]


def poisoned(document: Any, key: str = "") -> Any:
    """Return a JSON document with the attacks behind every text in it."""
    if isinstance(document, dict):
        return {name: poisoned(value, name) for name, value in document.items()}
    if isinstance(document, list):
        return [poisoned(value, key) for value in document]
    return f"{document} {EVERYTHING}" if isinstance(document, str) and key not in KEPT else document


def attack(settings: Settings, engine: Engine) -> None:
    """Write the attacks into the newest entry of everything that pages read."""
    folder = settings.path(settings.monitoring.directory)
    now, cycles, decisions, alerts = datetime.now(UTC), CycleLog(engine), DecisionLog(engine), AlertLog(engine)
    newest = cycles.newest()[0]
    assert newest.report is not None
    (folder / newest.report).write_text(json.dumps(poisoned(json.loads((folder / newest.report).read_text()))))
    cycles.record(replace(newest, at=now - timedelta(minutes=1), summary=poisoned(newest.summary)))
    failed = {"error": EVERYTHING + HUGE}
    cycles.record(replace(newest, at=now - timedelta(seconds=30), status="failed", report=None, summary=failed))
    for subject in ("deploy", "retrain"):
        for decision in decisions.newest(3, subject=subject):
            details = poisoned(decision.details) | {"metric": EVERYTHING, "because": [EVERYTHING], "cause": EVERYTHING}
            decisions.record(replace(decision, at=now, reason=EVERYTHING, details=details))
            decisions.record(replace(decision, at=now, reason=HUGE, challenger=ATTACK, champion=HUGE, details=details))
            decisions.record(replace(decision, at=now, verdict=EVERYTHING, details={"gain": HUGE, "guards": [ATTACK]}))
    for path in sorted(folder.glob("retraining_summary_*.json"))[-3:]:
        document = poisoned(json.loads(path.read_text()))
        path.write_text(json.dumps(document | {"cause": EVERYTHING, "run_id": ATTACK, "because": [EVERYTHING, HUGE]}))
    (folder / "retraining_summary_20991231T235959.999999Z.json").write_text(ATTACK)
    (folder / f"retraining_summary_{STATE[:20].replace('/', '')}.json").write_text(ATTACK)
    notices = [Notice("feature_drift", "firing", "critical", EVERYTHING, HUGE)]
    _, mine = alerts.take(lambda _: notices, [ATTACK[:200]], now=now, since=now, lease=timedelta(minutes=5))
    alerts.finish([Try(alert.id, channel, EVERYTHING) for alert, channel in mine if alert.id is not None], now)
    add_rollback(DeploymentLog(engine))
    add_call_list(engine, EVERYTHING.replace("\x00", "").replace("\ud7ff", ""))
    KeyStore(engine).add(plain("ann")[:64], ["admin"])


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A project after months, with attacks in all of its texts. Do not write to it."""
    folder = tmp_path_factory.mktemp("attacked")
    settings = load_settings(write_project(folder, strange))
    write_small_data(folder)
    for table in (*folder.glob("data/raw/*.csv"), *folder.glob("data/production/*.csv")):
        header, *rows = table.read_text().splitlines(keepends=True)
        table.write_text(header + "".join(re.sub(r"^(W[VAIY]|K[SY]|M.),", f'"{STATE}",', row) for row in rows))
    run_all(settings)
    fill(settings, reports=6, predictions=1000)
    with closing(_Database(settings)) as database:
        attack(settings, database.engine)
    return settings


class _Database:
    def __init__(self, settings: Settings) -> None:
        self.engine = open_database(settings.database_url(settings.journal.url))

    def close(self) -> None:
        self.engine.dispose()


@pytest.fixture
def page(attacked: Settings, monkeypatch: pytest.MonkeyPatch, no_caches: None) -> Any:
    """Return a function that renders a page of that project."""
    monkeypatch.setenv(ENV_CONFIG, str(attacked.root / "config.yaml"))
    return lambda name: AppTest.from_string(PAGE.format(name=name), default_timeout=SECONDS)


def parts(at: AppTest) -> Iterator[tuple[str, str, str]]:
    """Yield kind of element, field and text for every text of a page."""
    for root in at._tree.children.values():
        for node in root:
            proto = getattr(node, "proto", None)
            if proto is None or isinstance(proto, dict):
                continue
            for field, text in strings(MessageToDict(proto)):
                yield node.type, field, text


def strings(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from strings(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item, key)
    elif isinstance(value, str):
        yield key, value


def markup(text: str) -> list[str]:
    """Return what a browser would make of Markdown beside text of ours and its emphasis."""
    found = [
        token.type
        for block in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
        for token in [block, *(block.children or [])]
        if token.type in ("html_inline", "html_block", "image", "link_open", "table_open", "s_open")
    ]
    shown = re.sub(r"\\(.)", r"\1", text)  # links are also made after escapes are undone
    return [*found, *LINKED.findall(shown), *DIRECTIVE.findall(text)]


def is_data(key: str) -> bool:
    return key in ("data", "id", "elementId", "formId", "widgetId")


def assert_harmless(at: AppTest) -> list[str]:
    """Check that all attacks on a page are plain text; return the texts that contain them."""
    assert not at.exception, at.exception[0].message
    found = []
    for kind, field, text in parts(at):
        where = f"{kind}.{field}: {text[:300]!r}"
        if (kind, field) == ("html", "body") and text in OURS:
            continue
        assert kind not in ("html", "iframe", "component_instance", "bidi_component"), where
        assert field != "allowHtml", where
        if "evil" not in text or is_data(field):
            continue
        found.append(text)
        if (kind, field) == ("plotly_chart", "spec"):
            drawn = " ".join(item for _, item in strings(json.loads(text)))
            assert not TAG.search(drawn), f"{kind}: {TAG.findall(drawn)} {drawn[:200]}"
            continue
        assert len(text) < 5_000, f"{where} has {len(text)} characters"
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u2028]", text), where
        if (kind, field) not in PLAIN:
            assert not markup(text), f"{markup(text)} in {where}"
    return found


def test_the_check_detects_markup():
    assert markup(ATTACK)
    for one in ("<b>x</b>", "[x](y)", "![x](y)", "www.x.y", "http://x", "$x$", ":red[x]", ":material/delete:", "a@b.c"):
        assert markup(one), one
        assert not markup(plain(one)), one
    assert not markup("**Version 1** (`churnops run`)")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_shows_text_that_came_with_data_as_text(page: Any, name: str):
    found = assert_harmless(page(name).run())
    assert found or name == "analysis"


@pytest.mark.parametrize("view", ["Over time", "Columns", "Retraining"])
def test_every_view_of_monitoring_shows_data_as_text(page: Any, view: str):
    at = page("monitoring")
    at.session_state["view"] = view
    at.session_state["range"] = "All"
    assert_harmless(at.run())


@pytest.mark.parametrize("source", [JOURNAL, TRAINING])
def test_the_policy_page_shows_data_as_text(page: Any, monkeypatch: pytest.MonkeyPatch, source: str):
    terms: dict[str, Any] = {"cost": 10.0, "value": 200.0, "success_rate": 0.25, "currency": "<b>evil</b>"}
    policy = DecisionPolicy(**terms, version=1, by=ATTACK[:200], reason=ATTACK)
    monkeypatch.setattr("churnops.app.policy.page.newest_policy", lambda _: policy)
    at = page("policy")
    at.session_state["policy:by"] = "state"
    at.session_state["policy:source"] = source
    found = assert_harmless(at.run())
    assert any("evil" in text and "bring most" in text for text in found)


@pytest.mark.parametrize(
    "section", ["Segments", "Distributions", "Correlations", "Drivers", "Calibration", "Reach", "Offer"]
)
def test_every_section_of_the_analysis_shows_data_as_text(page: Any, section: str):
    at = page("analysis")
    at.session_state["section"] = section
    at.run()
    assert_harmless(at)
    for box in at.selectbox:  # the column with the attack in its values, where one is chosen
        for option in box.options:
            if "tate" in str(option):
                assert_harmless(at.selectbox(key=box.key).set_value(option).run() if box.key else at)
                break


def press(at: AppTest, label: str) -> AppTest:
    return next(button for button in at.button if button.label == label).click().run()


def test_a_prediction_shows_text_from_outside_as_text(page: Any):
    at = press(press(page("predict").run(), HIGH), "Predict")
    assert [metric.label for metric in at.metric][:1] == ["Probability of leaving"]
    assert_harmless(at)


@pytest.mark.parametrize("name", ["customers.csv", f"{ATTACK[:100].replace('/', '')}.csv"])
def test_a_scored_file_shows_data_as_text(page: Any, attacked: Settings, name: str):
    header, *rows = (attacked.root / "data/production/churn-later.csv").read_text().splitlines()[:40]
    assert any(STATE in row for row in rows)
    broken = [re.sub("No|Yes", lambda _: f'"{ATTACK}"', row) for row in rows]
    at = page("predict").run()
    for content in ([header, *rows], [header, *broken], [ATTACK] * 9):
        file = (name, "\n".join(content).encode(), "text/csv")
        at = press(at.file_uploader[0].set_value(file).run(), "Score the file")
        assert_harmless(at)
        assert bool(at.get("download_button")) == (content[1:] == rows)


@pytest.mark.parametrize("index", range(6))
def test_the_models_page_shows_data_as_text(page: Any, index: int):
    at = page("models").run()
    at.selectbox(key="models_decision").set_value(index)
    at.selectbox(key="models_retraining").set_value(index % 3)
    assert_harmless(at.run())


def test_an_error_message_shows_data_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_caches: None):
    path = tmp_path / "config.yaml"
    path.write_text(f"dashboard: {{port: {json.dumps(ATTACK[:60])}}}\n")
    monkeypatch.setenv(ENV_CONFIG, str(path))
    at = AppTest.from_file(pages.__file__, default_timeout=SECONDS).run()
    assert at.error
    assert_harmless(at)


def test_a_foreign_host_name_is_refused_unless_allowed():
    for host in ("localhost", "127.0.0.1:8501", "[::1]:8501", "LOCALHOST:1"):
        assert wrong_name(host, "127.0.0.1", [], login=False) is None
    for host in ("evil.example", "127.0.0.1.evil.example:8501", "localhost@evil.example", "", "[", "evil.example:x"):
        said = wrong_name(host, "127.0.0.1", [], login=False)
        assert said is not None
        assert "evil" not in said
    assert wrong_name("churn.example.org", "127.0.0.1", ["churn.example.org"], login=False) is None
    assert wrong_name("churn.example.org", "127.0.0.1", [], login=True) is None
    assert wrong_name("churn.example.org", "0.0.0.0", [], login=False) is None


@pytest.mark.parametrize(
    ("secrets", "shown"),
    [(None, "Streamlit has no login provider"), ({"cookie_secret": "x" * 32, "redirect_uri": "http://localhost"}, "")],
)
def test_before_login_no_page_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_caches: None, secrets: dict[str, str] | None, shown: str
):
    config = write_project(tmp_path, lambda document: document.update({"dashboard": {"login": True}}))
    monkeypatch.setenv(ENV_CONFIG, str(config))
    at = AppTest.from_file(pages.__file__, default_timeout=SECONDS)
    if secrets:
        at.secrets["auth"] = secrets
    at.run()
    assert not at.exception
    assert [title.value for title in at.title] == ["churnops"]
    assert shown in " ".join(error.value for error in at.error)
    assert "x" * 32 not in str(list(parts(at)))


def test_our_own_html_is_a_script_file_of_streamlit_and_a_style():
    assert re.fullmatch(
        r"<script>import\(new URL\('static/js/PlotlyChart\.[\w-]+\.js', [\w.]+\)\)\.\S+</script>", OURS[0]
    )
    assert all(re.fullmatch(r"<style>[^<]+</style>", style) for style in STYLES)


def test_whoever_is_logged_in_is_named_as_text_and_can_log_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_caches: None
):
    config = write_project(tmp_path, lambda document: document.update({"dashboard": {"login": True}}))
    monkeypatch.setenv(ENV_CONFIG, str(config))
    monkeypatch.setattr(st, "user", {"is_logged_in": True, "email": ATTACK})
    at = AppTest.from_file(pages.__file__, default_timeout=SECONDS).run()
    assert_harmless(at)
    assert [button.label for button in at.sidebar.button] == ["Log out"]
    assert at.title[0].value == "Call list"


@pytest.mark.parametrize("claim", ["true", "True", 1, "yes", None])
def test_only_the_value_true_counts_as_logged_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_caches: None, claim: object
):
    config = write_project(tmp_path, lambda document: document.update({"dashboard": {"login": True}}))
    monkeypatch.setenv(ENV_CONFIG, str(config))
    monkeypatch.setattr(st, "user", {"is_logged_in": claim})
    at = AppTest.from_file(pages.__file__, default_timeout=SECONDS).run()
    assert [title.value for title in at.title] == ["churnops"]
