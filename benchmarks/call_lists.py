"""Call lists of a million customers: making one, its memory, and showing it in a real Chromium."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.sync_api import sync_playwright
from scripts.big_project import make
from sqlalchemy import Engine

from benchmarks.dashboard import PORT, SECONDS, chromium, dashboard, shown
from benchmarks.harness import Claim, Result
from churnops.decision.in_force import set_policy
from churnops.decision.newest import bring_up_to_date
from churnops.decision.policy import DecisionPolicy
from churnops.journal.tables import microseconds
from churnops.project import Project
from churnops.settings import Settings

CUSTOMERS, CONTACTS, ROUNDS = 1_000_000, 1_000, 5
POLICY = DecisionPolicy(contacts=CONTACTS, cost=10.0, value="total_day_minutes", success_rate=0.25, currency="EUR")
MAKE = """
import json, re, sys, time
from pathlib import Path
from churnops.decision.list_request import ListRequest
from churnops.project import Project
from churnops.settings import load_settings
with Project.open(load_settings(Path(sys.argv[1]))) as project:
    bundle = project.require_deployed()
    maker, seconds = project.list_maker(bundle), []
    for number in range(int(sys.argv[2])):
        began = time.perf_counter()
        days, name = 0 if number % 2 else 30, f"{sys.argv[3]} {number}"
        request = ListRequest(days=days, name=name, where=json.loads(sys.argv[4]))
        maker.make(request, health=None, by="benchmark")
        seconds.append(time.perf_counter() - began)
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps([seconds, peak]))
"""
"""Program that makes lists; it prints the seconds of each, and the peak of its memory in MiB."""

COPY = """
WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {customers}),
sample AS MATERIALIZED (SELECT row_number() OVER (ORDER BY id) - 1 AS place, * FROM predictions LIMIT 3000)
INSERT INTO predictions
SELECT printf('%08x-%04x-7000-8000-%012x', ({at} / 1000 + n / 100) >> 16, ({at} / 1000 + n / 100) & 65535, n),
       {at} + n * 10, 'customer-' || n, layout, churn_probability * (1 - n / 1e9), churn_prediction, inputs, reasons,
       rest, source, key
FROM numbers JOIN sample ON place = n % (SELECT count(*) FROM sample)
"""


def measure() -> Result:
    """Fill a journal, read it into the newest scores, make lists, and open one."""
    with tempfile.TemporaryDirectory() as name:
        settings = make(Path(name, "project"), reports=2, predictions=4_000)
        with Project.open(settings) as project:
            set_policy(project.policies, POLICY, by="benchmark", reason="benchmark")
            _fill(project.engine)
            began = time.perf_counter()
            state = bring_up_to_date(project.engine, POLICY)
            read = CUSTOMERS / (time.perf_counter() - began)
            assert state.customers >= CUSTOMERS
        seconds, memory = _make(settings, "whole", {})
        segment, _ = _make(settings, "segment", {"state": ["OH"]})
        with Project.open(settings) as project:  # every call pays, so the search ends only after the last customer
            set_policy(project.policies, POLICY.model_copy(update={"cost": 0.01}), by="benchmark", reason="benchmark")
        nobody, searching = _make(settings, "nobody", {"state": ["(other)"]})
        opened = _open(settings)
    return Result(
        title="Call lists",
        about=(
            f"A SQLite journal with the newest scores of {CUSTOMERS:,} customers, on the same two cores as everything "
            f"else. A list has {CONTACTS:,} customers, ranked by expected profit with a value of each customer, and "
            "reasons. Every second list leaves out those of the lists before. The page is timed from the click on Call "
            f"list until the list is complete in Debian's Chromium. Medians of {ROUNDS}."
        ),
        claims=[
            Claim("make a list", statistics.median(seconds), "s", 2.0, low=min(seconds), high=max(seconds)),
            Claim("make a list of one of 51 states", statistics.median(segment), "s", 2.0),
            Claim("make a list of a segment that nobody is in", statistics.median(nobody), "s", 2.0),
            Claim("peak memory of the process that makes lists", max(memory, searching), "MiB", 300.0),
            Claim("show a kept list", statistics.median(opened), "s", 1.5, low=min(opened), high=max(opened)),
            Claim("predictions read into the newest scores", read, "rows/s"),
        ],
    )


def _fill(engine: Engine) -> None:
    """Write a prediction of each customer, with the inputs of 3,000 recorded ones."""
    at = microseconds(datetime.now(UTC) - timedelta(days=1))
    with engine.begin() as connection:
        connection.exec_driver_sql(COPY.format(customers=CUSTOMERS, at=at))


def _make(settings: Settings, name: str, where: dict[str, list[str]]) -> tuple[list[float], float]:
    config = str(settings.root / "config.yaml")
    command = [sys.executable, "-c", MAKE, config, str(ROUNDS), name, json.dumps(where)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds, memory = json.loads(answer.stdout)
    return seconds, memory


def _open(settings: Settings) -> list[float]:
    with sync_playwright() as playwright, dashboard(settings.root):
        browser = chromium(playwright)
        tab = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        tab.set_default_timeout(SECONDS)
        tab.goto(f"http://127.0.0.1:{PORT}/models")
        shown(tab, "Models")
        seconds = []
        for _ in range(ROUNDS):
            seconds.append(shown(tab, "Call list", click="Call list"))
            shown(tab, "Models", click="Models")
        browser.close()
    return seconds
