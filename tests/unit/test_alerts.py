"""Alerts: sent when new, worse, repeated or over, with harmless texts."""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from churnops.alerting.alarms import AFTER_RETRAINING, retraining_failed
from churnops.alerting.alerts import Alerts, Delivery
from churnops.alerting.channels import Channel, without_secrets
from churnops.alerting.notices import Alarm, Frame, due, plain
from churnops.journal import open_database
from churnops.journal.alerts import Alert, AlertLog, Notice
from churnops.settings import DEMONSTRATION, AlertSettings

START = datetime(2026, 5, 1, 12, tzinfo=UTC)
DRIFT = Alarm("feature_drift", "warning", "4 of 12 columns drifted", ("tenure: D 0.31", "charge: D 0.22", "3", "4"))
LINK = "https://dashboard.example.org/monitoring"


@dataclass
class Desk:
    """A readable console and an adjustable clock."""

    log: AlertLog | None
    lines: list[str] = field(default_factory=list)
    now: datetime = START

    def alerts(self, **settings: object) -> Alerts:
        return Alerts(self.log, AlertSettings.model_validate(settings), console=self.lines.append, now=lambda: self.now)

    def titles(self) -> list[str]:
        """Return the messages since the last call."""
        told = [line.splitlines()[0] for line in self.lines]
        self.lines.clear()
        return told


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{tmp_path}/journal.db")
    yield engine
    engine.dispose()


@pytest.fixture
def desk(engine: Engine) -> Desk:
    return Desk(AlertLog(engine))


def test_an_alarm_is_title_three_facts_its_time_and_a_link(desk: Desk):
    (delivery,) = desk.alerts(link=LINK).tell([DRIFT], [])
    assert delivery == Delivery("console", "feature_drift", True, 1)
    assert desk.lines == [
        f"[warning] churnops: 4 of 12 columns drifted\n  tenure: D 0.31\n  charge: D 0.22\n  3\n"
        f"  Since 2026-05-01 12:00 UTC.\n  {LINK}"
    ]
    own = Alarm("performance", "critical", "ROC-AUC 0.61", link="https://elsewhere.example.org")
    desk.alerts(link=LINK).tell([own], [])
    for broken in ("https://x.org/" + "y" * 300, "https://x.org/\n<!channel>"):
        desk.alerts(link=LINK).announce(Alarm("deployed", "info", "version 2", link=broken))
        assert desk.lines.pop() == "[info] churnops: version 2\n  At 2026-05-01 12:00 UTC.", (
            "part of a link leads nowhere"
        )
    assert (
        desk.lines[-1]
        == "[critical] churnops: ROC-AUC 0.61\n  Since 2026-05-01 12:00 UTC.\n  https://elsewhere.example.org"
    )


def test_a_lasting_alarm_is_sent_once_and_its_end_once(desk: Desk):
    told = "[warning] churnops: 4 of 12 columns drifted"
    for firing, clear, expected in (
        ([DRIFT], (), [told]),
        ([DRIFT], (), []),
        ([], (), []),  # it cannot tell: nothing changes
        ([DRIFT], (), []),
        ([], ("feature_drift", "performance"), ["[recovered] churnops: feature drift"]),
        ([], ("feature_drift", "performance"), []),
        ([DRIFT], ("feature_drift",), [told]),  # if both are said, it fires
    ):
        desk.now += timedelta(hours=1)
        desk.alerts().tell(firing, clear)  # each time as after a restart
        assert desk.titles() == expected


def test_a_repeated_alarm_names_its_place_and_its_beginning(desk: Desk):
    for hours in (0, 25):
        now = START + timedelta(hours=hours)
        alerts = Alerts(
            desk.log,
            AlertSettings(),
            console=desk.lines.append,
            frame=Frame(place="Project shop on host-1"),
            now=lambda at=now: at,
        )
        alerts.tell([DRIFT], [])
    assert [line.splitlines()[-1].strip() for line in desk.lines] == [
        "Project shop on host-1, since 2026-05-01 12:00 UTC."
    ] * 2


def test_a_message_is_cut_between_words():
    assert plain("ROC-AUC is 0.7132 on 1,667 customers", 30) == "ROC-AUC is 0.7132 on 1,667…"
    assert plain("ROC-AUC is 0.7132", 15) == "ROC-AUC is…"


def test_a_recovery_names_the_ended_alarm(desk: Desk):
    desk.alerts(link=LINK).tell([DRIFT], [])
    desk.now += timedelta(hours=3)
    desk.alerts(link=LINK).tell([], ["feature_drift"])
    assert desk.lines[-1] == (
        "[recovered] churnops: feature drift\n  This alert of 2026-05-01 12:00 UTC is over: 4 of 12 columns drifted\n"
        f"  {LINK}"
    )


def test_a_failed_retraining_is_sent_once_until_one_decides(desk: Desk):
    for _ in range(2):
        desk.alerts().tell([retraining_failed("there is no space on the disk", LINK)], [])
    assert desk.lines == [
        "[critical] churnops: A retraining failed\n  There is no space on the disk.\n  The deployed model is "
        f"unchanged. Next: run `churnops retrain` by hand.\n  Since 2026-05-01 12:00 UTC.\n  {LINK}"
    ]
    desk.lines.clear()
    for _ in range(2):
        desk.alerts().tell([], AFTER_RETRAINING)
    assert desk.titles() == ["[recovered] churnops: failed retraining"]


def test_a_failed_cycle_is_over_with_the_next_that_ends(desk: Desk):
    desk.alerts().tell([Alarm("cycle_failed", "critical", "no model is deployed")], [])
    desk.alerts().tell([], ["cycle_failed"])
    assert desk.titles() == [
        "[critical] churnops: no model is deployed",
        "[recovered] churnops: failed monitoring cycle",
    ]


def test_an_alarm_is_sent_again_when_it_lasts_or_gets_worse(desk: Desk):
    worse = Alarm("feature_drift", "critical", "10 of 12 columns drifted")
    hours = {0: DRIFT, 23: DRIFT, 24: DRIFT, 25: worse, 26: DRIFT, 27: worse, 48: worse, 49: worse}
    told = {}
    for hour, alarm in hours.items():
        desk.now = START + timedelta(hours=hour)
        desk.alerts(repeat_hours=24).tell([alarm], [])
        told[hour] = len(desk.titles())
    # Better at 26 is no news, and at 27 it is not worse than what was told.
    assert told == {0: 1, 23: 0, 24: 1, 25: 1, 26: 0, 27: 0, 48: 0, 49: 1}


def broken(*columns: str) -> Alarm:
    reasons = {column: column.capitalize() for column in columns}
    return Alarm("broken_columns", "critical", "Broken", (f"{' and '.join(reasons.values())} broke.",), "", reasons)


def test_a_new_reason_is_sent_at_once_and_repeated_later(desk: Desk):
    hours = {0: "a", 1: "a", 2: "ab", 3: "ab", 4: "b", 5: "ab", 6: "c", 7: "abc", 29: "a", 30: "a", 31: "ab", 32: "b"}
    sent = {}
    for hour, columns in hours.items():
        desk.now = START + timedelta(hours=hour)
        desk.alerts(repeat_hours=24).tell([broken(*columns)], [])
        if desk.lines:
            sent[hour] = desk.lines.pop().splitlines()[1].strip()
        assert not desk.lines
    # After the message of hour 6, the same columns are repeated 24 hours later; b and c are new again after that.
    assert sent == {
        0: "A broke.",
        2: "New: B. A and B broke.",
        6: "New: C. C broke.",
        30: "A broke.",
        31: "New: B. A and B broke.",
    }


def test_a_reason_that_comes_and_goes_is_sent_once(desk: Desk):
    for columns in ("a", "b", "a", "b", "ab", "abcdef", "b"):
        desk.now += timedelta(days=1)
        desk.alerts(repeat_hours=0).tell([broken(*columns)], [])
    facts = [line.splitlines()[1].strip() for line in desk.lines]
    assert facts == ["A broke.", "New: B. B broke.", "New: C, D, E and 1 more. A and B and C and D and E and F broke."]
    desk.lines.clear()
    desk.alerts(repeat_hours=0).tell([], ["broken_columns"])
    desk.alerts(repeat_hours=0).tell([broken("a")], [])
    assert desk.titles() == ["[recovered] churnops: broken columns", "[critical] churnops: Broken"]


def test_unknown_reasons_of_an_earlier_alert_send_nothing(desk: Desk):
    """An alarm of an earlier version fires."""
    desk.alerts().tell([Alarm("broken_columns", "critical", "Broken")], [])
    desk.titles()
    desk.alerts(repeat_hours=24).tell([broken("a", "b")], [])
    assert desk.titles() == []


def test_without_repeats_an_alarm_is_sent_only_once(desk: Desk):
    desk.alerts(repeat_hours=0).tell([DRIFT], [])
    desk.now += timedelta(days=400)
    assert desk.alerts(repeat_hours=0).tell([DRIFT], []) == ()


def test_of_two_alarms_on_one_subject_the_worse_is_sent(desk: Desk):
    desk.alerts().tell([Alarm("performance", "critical", "bad"), Alarm("performance", "warning", "so so")], [])
    assert desk.titles() == ["[critical] churnops: bad"]


def test_an_event_is_sent_each_time_and_has_no_end(desk: Desk):
    for _ in range(2):
        desk.alerts().announce(Alarm("deployed", "info", "version 2 answers"))
    desk.alerts().tell([], ["deployed"])
    assert desk.titles() == ["[info] churnops: version 2 answers"] * 2


@pytest.mark.parametrize("log", ["none", "damaged"])
def test_a_journal_that_cannot_be_reached_silences_nothing(engine: Engine, log: str):
    desk = Desk(None if log == "none" else AlertLog(engine))
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE deliveries")
        connection.exec_driver_sql("DROP TABLE alerts")
    for _ in range(2):
        journal, console = desk.alerts().tell([DRIFT], ["performance"])
        assert (journal.channel, journal.subject, journal.delivered) == ("journal", "", False)
        assert journal.error
        assert console == Delivery("console", "feature_drift", True, 1)
        title, problem = desk.titles()
        assert title == "[warning] churnops: 4 of 12 columns drifted"
        assert problem == f"alerts: journal: {journal.error}"
    assert desk.alerts().announce(Alarm("deployed", "info", "version 2"))[1].delivered
    assert [delivery.channel for delivery in desk.alerts().retry()] == ["journal"]


def test_a_console_that_is_closed_breaks_nothing(desk: Desk, tmp_path: Path):
    closed = (tmp_path / "closed").open("w")
    closed.close()
    (delivery,) = Alerts(desk.log, AlertSettings(), console=closed.write).tell([DRIFT], [])
    assert (delivery.channel, delivery.delivered, delivery.error) == ("console", False, "ValueError")


def test_the_console_is_standard_error_by_default(desk: Desk, capsys: pytest.CaptureFixture[str]):
    Alerts(desk.log, AlertSettings()).tell([DRIFT], [])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("[warning] churnops: 4 of 12 columns drifted\n  tenure")


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("category '<!channel>' is new", "category '‹!channel›' is new"),
        ("<@U024BE7LH> <https://x|y>", "‹@\u200bU024BE7LH› ‹https:\u200b//x|y›"),
        ("@everyone", "@\u200beveryone"),
        ("p < 0.05, D >= 0.1, n<3", "p < 0.05, D >= 0.1, n‹3"),
        ("a\x00b\x1b[2J\r\nc\u202ed\ud800e", "a b [2J c d e"),
        ("größe 総額 №", "größe 総額 №"),
    ],
)
def test_text_becomes_one_harmless_line(given_text: str, expected: str):
    assert plain(given_text, 100) == expected


@settings(deadline=None)
@given(st.text(st.sampled_from("<>=!@|a \n\x00\u202e\ud800\u2028") | st.characters(), max_size=60), st.integers(1, 40))
def test_plain_text_is_one_bounded_line_without_markup(text: str, most: int):
    line = plain(text, most)
    assert len(line) <= most
    assert len(line.splitlines()) <= 1
    line.encode("utf-8")
    assert not re.search(r"@(?!\u200b|…|$)", line)
    assert not re.search(r"(?<! )[<>]|[<>](?!=? |=?…|=?$)", line)


@settings(deadline=None)
@given(st.lists(st.text(max_size=400), max_size=5), st.text(max_size=400))
def test_a_message_is_short_enough_for_a_pager(facts: list[str], title: str):
    desk = Desk(None)
    desk.alerts(link="https://x/" + "y" * 290).tell([Alarm("performance", "critical", title, tuple(facts))], [])
    assert len(desk.lines[0]) < 1000


@settings(deadline=None)
@given(st.text("0123456789QXZ", min_size=3, max_size=30))
def test_a_secret_is_hidden_wherever_it_stands_in_an_address(secret: str):
    for url in (f"slack://{secret}/b/c", f"mailto://ann:{secret}@x.org", f"json://x.org/?+X-Key={secret}", secret):
        assert secret not in without_secrets(f"refused: {secret} at https://x.org/{secret}?", url)
        assert re.fullmatch(r"Channel\((slack|mailto|json|unknown)#[0-9a-f]{6}\)", repr(Channel(url)))


@settings(deadline=None)
@given(st.text(max_size=40), st.sampled_from(["", "json://", "mailto://", "slack://", "pagerduty://"]))
def test_any_text_as_an_address_is_accepted_or_refused(text: str, scheme: str):
    channel = Channel(scheme + text)
    assert channel.problem is None or channel.problem.startswith("Apprise does not accept")


def test_a_channel_shows_scheme_and_a_hash_that_differs():
    labels = {Channel(f"mailto://ann:secret{n}@example.org").label for n in range(5)}
    assert len(labels) == 5
    assert {label.split("#")[0] for label in labels} == {"mailto"}
    assert Channel("hunter2hunter2").label.startswith("unknown#")


def test_without_channels_apprise_is_not_imported():
    code = (
        "import sys; from churnops.alerting.alerts import *; from churnops.alerting.notices import *; "
        "from churnops.settings import AlertSettings; "
        "Alerts(None, AlertSettings()).tell([Alarm('performance', 'critical', 'x')], []); "
        "sys.exit('apprise' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_without_the_extra_the_message_names_the_package(tmp_path: Path):
    (tmp_path / "apprise.py").write_text("raise ImportError('not here')")
    code = (
        "from churnops.alerting.alerts import *; from churnops.alerting.notices import *; "
        "from churnops.settings import AlertSettings; "
        "d = Alerts(None, AlertSettings(urls=('slack://TokenA/TokenB/TokenC',)))"
        ".tell([Alarm('performance', 'critical', 'x')], []); "
        "print(d[-1].attempts, d[-1].error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env={"PYTHONPATH": str(tmp_path)}
    )
    assert done.stdout == "1 Apprise is not installed: pip install 'churnops[alerts]'\n", done.stderr
    assert "Token" not in done.stderr


def test_an_alarm_dated_in_the_future_is_sent_again():
    drift = Notice("feature_drift", "firing", "warning", "[warning] churnops: drift", "")
    day, now, settings = timedelta(days=1), datetime(2026, 5, 1, tzinfo=UTC), AlertSettings(repeat_hours=24)
    for ahead, told in ((timedelta(minutes=1), 0), (365 * day, 1)):
        assert len(due([drift], [], {"feature_drift": Alert(1, now + ahead, drift)}, now, settings)) == told


def test_an_alarm_of_a_source_names_it_and_only_that_source_ends_it(desk: Desk):
    desk.alerts().tell([DRIFT], [], "weekly")
    assert desk.titles() == ["[warning] churnops: source weekly: 4 of 12 columns drifted"]
    desk.alerts().tell([], ["feature_drift"])
    desk.alerts().tell([], ["feature_drift"], "monthly")
    assert desk.titles() == []
    desk.alerts().tell([DRIFT], [])
    assert desk.titles() == ["[warning] churnops: 4 of 12 columns drifted"], "live traffic has an alarm of its own"
    (delivery,) = desk.alerts().tell([], ["feature_drift"], "weekly")
    assert delivery.subject == "feature_drift@weekly"
    assert desk.lines == [
        "[recovered] churnops: source weekly: feature drift\n"
        "  This alert of 2026-05-01 12:00 UTC is over: 4 of 12 columns drifted"
    ]


def test_every_message_of_a_demonstration_is_marked_and_short(desk: Desk):
    alerts = Alerts(
        desk.log, AlertSettings(link=LINK), frame=Frame(DEMONSTRATION, link=LINK), console=desk.lines.append
    )
    alerts.tell([Alarm("performance", "critical", "x" * 200, ("y" * 200,) * 3)], [])
    alerts.tell([], ["performance"])
    alerts.announce(Alarm("deployed", "info", "version 2"))
    assert [line.splitlines()[1].strip() for line in desk.lines] == [DEMONSTRATION] * 3
    assert max(map(len, desk.lines)) + 300 - len(LINK) + 50 < 1024, "PagerDuty takes no more"
