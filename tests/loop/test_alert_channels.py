"""Alerts to a real mail server and HTTP endpoints on loopback that answer, fail, refuse and hang."""

import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from apprise.plugins import pagerduty, slack
from sqlalchemy import Engine, select

from churnops.alerting.alerts import Alerts, Delivery
from churnops.alerting.notices import Alarm
from churnops.journal import open_database
from churnops.journal.alerts import AlertLog
from churnops.journal.tables import alerts as alert_table
from churnops.journal.tables import deliveries as delivery_table
from churnops.settings import AlertSettings
from tests.support.processes import CHURNOPS, PATIENCE, free_port, run
from tests.support.projects import write_project
from tests.support.sinks import SECRET, Endpoint, Mailbox, listening

LINK = "https://dashboard.example.org/monitoring"
DRIFT = Alarm(
    "feature_drift", "warning", "4 of 12 columns drifted", ("tenure & <b>: D 0.31", "p < 0.05", "of 800 rows")
)
BODY = f"tenure & ‹b›: D 0.31\np < 0.05\nof 800 rows\nSince 2026-05-01 12:00 UTC.\n{LINK}"


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with listening() as endpoint:
        yield endpoint


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    yield engine
    engine.dispose()


class Desk:
    """Alerts from one journal, with a readable console and an adjustable clock."""

    def __init__(self, engine: Engine) -> None:
        self.log = AlertLog(engine)
        self.lines = list[str]()
        self.now = datetime(2026, 5, 1, 12, tzinfo=UTC)

    def alerts(self, *urls: str, **settings: Any) -> Alerts:
        settings = {"attempts": 2, "timeout_seconds": 60, "link": LINK, **settings}
        return Alerts(self.log, AlertSettings(urls=urls, **settings), console=self.lines.append, now=lambda: self.now)

    def undelivered(self) -> int:
        return self.log.undelivered(self.now - timedelta(hours=24))


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(engine)


def test_a_mail_arrives_with_subject_and_body(desk: Desk):
    mailbox = Mailbox()
    mail_server = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=free_port(),
        auth_require_tls=False,
        authenticator=lambda *_: AuthResult(success=True),
        ready_timeout=PATIENCE,
    )
    mail_server.start()
    try:
        url = f"mailto://ann:{SECRET}@127.0.0.1:{mail_server.port}/?from=ops@example.org&to=team@example.org&mode=insecure"
        deliveries = desk.alerts(url).tell([DRIFT], [])
        desk.alerts(url).tell([], ["feature_drift"])
    finally:
        mail_server.stop()
    assert [(d.delivered, d.attempts, d.error) for d in deliveries] == [(True, 1, None)] * 2
    told, over = mailbox.mails
    assert told["Subject"] == "[warning] churnops: 4 of 12 columns drifted"
    assert told["To"] == "team@example.org"
    assert "ops@example.org" in told["From"]
    text = told.get_body(("plain",))
    assert text is not None
    assert text.get_content().split() == BODY.split()
    assert over["Subject"] == "[recovered] churnops: feature drift"
    html = told.get_body(("html",))
    assert html is None or ("&amp; ‹b›" in html.get_content() and "<b>" not in html.get_content())


def test_slack_receives_no_text_that_it_reads_as_markup(desk: Desk, endpoint: Endpoint, monkeypatch):
    monkeypatch.setattr(slack.NotifySlack, "webhook_url", f"http://127.0.0.1:{endpoint.port}/services")
    evil = "new category '<!channel> @here <https://x.example|*click*> `x` _y_'"
    for blocks in ("no", "yes"):
        url = f"slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?blocks={blocks}"
        assert desk.alerts(url).announce(Alarm("rolled_back", "warning", evil, (evil,)))[-1].delivered
        path, payload = endpoint.asked[-1]
        text = json.dumps(payload, ensure_ascii=False)
        assert path == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
        assert "new category" in text
        assert "[warning] churnops" in text
        assert LINK in text
        for harm in ("<", "&lt;", "@here", "@channel", "https://x"):
            assert harm not in text


def test_pagerduty_has_an_incident_for_each_subject_and_resolves_it(desk: Desk, endpoint: Endpoint, monkeypatch):
    monkeypatch.setitem(pagerduty.PAGERDUTY_API_LOOKUP, "us", f"http://127.0.0.1:{endpoint.port}/v2/enqueue")
    alerts = desk.alerts("pagerduty://integrationkey@apikey")
    critical = Alarm("performance", "critical", "ROC-AUC 0.61")
    alerts.tell([DRIFT, critical], [])
    alerts.tell([critical], ["feature_drift"])
    alerts.announce(Alarm("deployed", "info", "version 2 answers"))
    events = [body for _, body in endpoint.asked]
    assert [(e["event_action"], e["dedup_key"]) for e in events] == [
        ("trigger", "churnops-feature_drift"),
        ("trigger", "churnops-performance"),
        ("resolve", "churnops-feature_drift"),
        ("resolve", "churnops-deployed"),  # good news wakes nobody
    ]
    assert [e["payload"]["severity"] for e in events[:2]] == ["warning", "critical"]
    assert events[0]["payload"]["summary"].startswith("[warning] churnops: 4 of 12 columns drifted")
    assert len(events[0]["payload"]["summary"]) <= 1024
    desk.alerts("pagerduty://integrationkey@apikey/?dedup=telecom").announce(critical)
    assert endpoint.asked[-1][1]["dedup_key"] == "telecom-performance"


def test_a_test_message_goes_to_every_channel_and_nowhere_else(desk: Desk, endpoint: Endpoint):
    with listening(status=500) as failing:
        good, bad = desk.alerts(endpoint.url, failing.url, attempts=1).send_test()
    assert (good.delivered, bad.delivered) == (True, False)
    assert endpoint.titles() == ["[info] churnops: This is a test"]
    assert LINK in endpoint.asked[0][1]["message"]
    assert desk.undelivered() == 0


def test_the_command_sends_a_test_and_its_exit_code_is_the_result(tmp_path: Path, endpoint: Endpoint):
    root = write_project(tmp_path / "shop").parent
    for urls, code, expected in (
        ([endpoint.url], 0, ": delivered"),
        ([endpoint.url, f"json://127.0.0.1:{free_port()}"], 1, ": failed: "),
        ([], 2, "there is no channel"),
    ):
        channels = {"CHURNOPS_ALERTS__URLS": json.dumps(urls), "CHURNOPS_ALERTS__ATTEMPTS": "1"}
        done = run(CHURNOPS, "alerts", "test", cwd=root, code=code, **channels)
        assert expected in done.stdout + done.stderr
    assert endpoint.titles() == ["[info] churnops: This is a test"] * 2
    assert "Project shop on " in endpoint.asked[0][1]["message"]


def test_a_failing_channel_is_retried_and_receives_the_alert_later(desk: Desk, engine: Engine):
    with listening(status=500) as failing, listening() as working:
        console, bad, good = desk.alerts(failing.url, working.url).tell([DRIFT], [])
        assert (console.channel, good.delivered, good.attempts) == ("console", True, 1)
        assert (bad.delivered, bad.attempts) == (False, 2)
        assert bad.error
        assert "500" in bad.error
        assert len(failing.asked) == 2
        assert desk.lines[-1] == f"alerts: {bad.channel} did not get feature_drift: {bad.error}"
        assert desk.undelivered() == 1

        failing.status = 200
        desk.now += timedelta(hours=1)
        (late,) = desk.alerts(failing.url, working.url).tell([DRIFT], [])  # no news, but what is owed
        assert (late.channel, late.delivered) == (bad.channel, True)
        assert failing.asked[-1][1]["message"] == f"Delayed message of 2026-05-01 12:00 UTC.\n{BODY}"
        assert len(working.asked) == 1
        assert desk.undelivered() == 0
        assert desk.alerts(failing.url, working.url).retry() == ()
    with engine.connect() as connection:
        tries = connection.execute(select(delivery_table.c.error).where(delivery_table.c.channel == bad.channel))
        assert [error for (error,) in tries] == ["under way", bad.error, bad.error, "under way", None]


def test_a_recovery_replaces_an_alarm_that_was_never_delivered(desk: Desk):
    with listening(status=503) as failing:
        desk.alerts(failing.url, attempts=1).tell([DRIFT], [])
        failing.status = 200
        failing.asked.clear()
        desk.alerts(failing.url).tell([], ["feature_drift"])
        assert failing.titles() == ["[recovered] churnops: feature drift"]


@pytest.mark.parametrize("fault", ["refuses", "hangs", "unknown name", "redirects"])
def test_other_faults_are_reported_in_bounded_time(desk: Desk, endpoint: Endpoint, fault: str):
    with listening(status={"hangs": -1, "redirects": 307}.get(fault, 200)) as wrong:
        wrong.location = f"http://127.0.0.1:{endpoint.port}/elsewhere"
        url = {
            "refuses": f"json://127.0.0.1:{free_port()}/{SECRET}",
            "unknown name": f"json://{SECRET}.invalid/",
        }.get(fault, wrong.url)
        settings = {"attempts": 2, "timeout_seconds": 0.3}
        _, _, *faulty = desk.alerts(url, **settings).tell([DRIFT, Alarm("performance", "critical", "ROC-AUC 0.61")], [])
    assert [delivery.delivered for delivery in faulty] == [False, False]
    assert endpoint.asked == []
    for delivery in faulty:
        assert delivery.error
        assert SECRET not in delivery.error
    if fault == "hangs":
        assert str(faulty[0].error).startswith("no answer within 0.")
        assert (faulty[1].attempts, faulty[1].error) == (0, "not sent: earlier messages used up the time limit")


def test_a_hanging_channel_keeps_neither_the_others_nor_the_process(tmp_path: Path, endpoint: Endpoint):
    with listening(status=-1) as hanging:
        code = (
            "import sys; from churnops.alerting.alerts import *; from churnops.alerting.notices import *; "
            "from churnops.settings import AlertSettings; "
            "s = AlertSettings(urls=tuple(sys.argv[1:]), attempts=1, timeout_seconds=5); "
            "print([d.delivered for d in Alerts(None, s).tell([Alarm('performance', 'critical', 'x')], [])])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, hanging.url, endpoint.url], capture_output=True, text=True, timeout=PATIENCE
        )
    assert done.stdout == "[False, True, False, True]\n", done.stderr
    assert endpoint.titles() == ["[critical] churnops: x"]
    assert SECRET not in done.stderr


@pytest.mark.parametrize("wrong", ["nonesuch://{}", "slack://{}"])
def test_an_address_that_is_wrong_is_reported_each_time(desk: Desk, endpoint: Endpoint, wrong: str):
    alerts = desk.alerts(wrong.format(SECRET), endpoint.url)
    console, bad, good = alerts.tell([DRIFT], [])
    assert console.delivered
    assert good.delivered
    assert (bad.delivered, bad.attempts) == (False, 1)
    assert bad.error == "Apprise does not accept this address: its scheme is unknown, or a part is missing or wrong"
    (again,) = alerts.tell([DRIFT], [])
    assert (again.channel, again.error) == (bad.channel, bad.error)
    desk.now += timedelta(hours=30)
    (nothing_to_tell,) = desk.alerts(wrong.format(SECRET), endpoint.url, repeat_hours=0).tell([DRIFT], [])
    assert nothing_to_tell == Delivery(bad.channel, "", False, 0, bad.error)
    assert SECRET not in "".join(desk.lines) + repr(alerts) + repr(console)


SPEAKS = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
from churnops.journal import open_database
from churnops.journal.alerts import AlertLog
from churnops.alerting.alerts import Alerts
from churnops.alerting.notices import Alarm
from churnops.settings import AlertSettings
engine = open_database("sqlite:///" + sys.argv[1])
settings = AlertSettings(urls=tuple(sys.argv[2:]), attempts=1)
alerts = Alerts(AlertLog(engine), settings)
for delivery in alerts.tell([Alarm("feature_drift", "warning", "drifted", ("tenure",))], []):
    print(delivery)
print(settings, alerts, alerts.__dict__)
logging.getLogger("urllib3.connectionpool").debug("others are heard")
"""


def test_secrets_are_in_no_row_log_line_or_error(tmp_path: Path, endpoint: Endpoint):
    journal = tmp_path / "journal.db"
    with listening(status=403) as failing:
        urls = [
            endpoint.url,
            failing.url,
            f"slack://{SECRET}",
            f"mailto://ann:{SECRET}@127.0.0.1:{free_port()}/?to=a@b.org",
            f"mailto://ann:{SECRET}@127.0.0.1:{free_port()}/?from=c@b.org&to=a@b.org",
            f"json://{SECRET}.invalid/",
        ]
        done = subprocess.run(
            [sys.executable, "-c", SPEAKS, str(journal), *urls], capture_output=True, text=True, timeout=PATIENCE
        )
    assert done.returncode == 0, done.stderr
    engine = open_database(f"sqlite:///{journal}")
    with engine.connect() as connection:
        rows = [str(row) for table in (alert_table, delivery_table) for row in connection.execute(select(table))]
    engine.dispose()
    assert len(rows) == 1 + 2 * len(urls)
    assert done.stdout.count("delivered=True") == 2
    assert done.stdout.count("delivered=False") == len(urls) - 1
    assert "others are heard" in done.stderr
    for where in (done.stdout, done.stderr, *rows):
        assert SECRET not in where


def test_nothing_but_the_address_is_connected_to(desk: Desk, endpoint: Endpoint, connections: list[Any]):
    assert desk.alerts(endpoint.url).tell([DRIFT], [])[-1].delivered
    assert endpoint.asked[0][1] == {
        "version": "1.0",
        "title": "[warning] churnops: 4 of 12 columns drifted",
        "message": BODY,
        "attachments": [],
        "type": "warning",
    }
    assert connections == [("127.0.0.1", endpoint.port)]


@pytest.fixture
def connections() -> Iterator[list[Any]]:
    """Addresses that this process connects to or resolves."""
    seen: list[Any] = []
    watching = [True]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watching[0] and event == "socket.connect":
            seen.append(arguments[1])

    sys.addaudithook(hook)
    yield seen
    watching[0] = False


def _tell(url: str, channel: str) -> int:
    engine = open_database(url)
    try:
        alerts = Alerts(AlertLog(engine), AlertSettings(urls=(channel,)), console=lambda _: None)
        told = [d for _ in range(5) for d in alerts.tell([DRIFT], []) if d.channel != "console"]
        return sum(delivery.delivered for delivery in told)
    finally:
        engine.dispose()


def test_two_processes_deliver_an_alert_once(tmp_path: Path, endpoint: Endpoint):
    url = f"sqlite:///{tmp_path}/journal.db"
    open_database(url).dispose()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        told = pool.starmap(_tell, [(url, endpoint.url)] * 2, chunksize=1)
    assert sorted(told) == [0, 1]
    assert endpoint.titles() == ["[warning] churnops: 4 of 12 columns drifted"]


def _dies(url: str, channel: str, when: str) -> None:
    """Send an alarm in a process that is killed before or after the delivery."""
    import os

    from churnops.alerting import alerts as module

    send: Callable[..., Any] = module.deliver

    def dying(*arguments: Any) -> Any:
        if when == "after":
            send(*arguments)
        os._exit(9)

    module.deliver = dying
    _tell(url, channel)


@pytest.mark.parametrize(("when", "told"), [("before", 1), ("after", 2)])
def test_alerts_of_a_process_killed_in_delivery_are_delivered_later(
    tmp_path: Path, endpoint: Endpoint, when: str, told: int
):
    url = f"sqlite:///{tmp_path}/journal.db"
    process = multiprocessing.get_context("spawn").Process(target=_dies, args=(url, endpoint.url, when))
    process.start()
    process.join(timeout=300)
    assert process.exitcode == 9
    engine = open_database(url)
    desk = Desk(engine)
    desk.now = datetime.now(UTC) + timedelta(hours=1)
    (late,) = desk.alerts(endpoint.url).tell([DRIFT], [])
    engine.dispose()
    assert late.delivered
    assert len(endpoint.asked) == told, "at least once"
    assert endpoint.asked[-1][1]["message"].startswith("Delayed message of ")
