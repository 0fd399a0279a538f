"""Dashboard in a real Chromium, with a hundred reports and a journal of a million rows."""

import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright, sync_playwright
from scripts.big_project import make

from benchmarks.harness import Claim, Result

REPORTS, PREDICTIONS = 100, 1_000_000
STARTS, ROUNDS = 5, 7
PORT = 8521
FIGURE = "figure"
STRAIGHT = "straight to Monitoring"
LINKS, BUTTONS = "[data-testid=stSidebarNavLink]", "[data-testid=stMain] button"
PAGES = ("Call list", "Predict", "Monitoring", "Analysis", "Models")
SECONDS = 60_000  # Playwright counts in milliseconds
PROJECT = "BIG_PROJECT"
"""Environment variable with a project of `scripts/big_project.py`, since a new one takes minutes."""

# A page is complete when it has its title, Streamlit is idle, no old part and no placeholder is left, every figure is
# drawn, and nothing has changed for half a second, which does not count. Text that a table writes into its canvas for
# screen readers, a third of a second after it is drawn, does not count either.
SHOWN = """
async ({page, click, among, figures}) => {
    const started = performance.now();
    let last = started;
    const seen = ({target}) => !(target.closest ? target : target.parentElement)?.closest('canvas');
    const observer = new MutationObserver((changes) => { if (changes.some(seen)) last = performance.now(); });
    observer.observe(document.body, {subtree: true, childList: true, characterData: true});
    if (click) [...document.querySelectorAll(among)]
        .find((element) => element.innerText.trim() === click).click();
    const charts = () => [...document.querySelectorAll('[data-testid=stPlotlyChart]')];
    const done = () => {
        const app = document.querySelector('[data-testid=stApp]'), title = document.querySelector('h1');
        return app && title && title.innerText.trim() === page
            && app.dataset.testScriptState === 'notRunning'
            && !document.querySelector('[data-stale=true], [data-testid=stSkeleton], [data-testid=stSpinner]')
            && charts().length >= figures && charts().every((chart) => chart.querySelector('.main-svg'));
    };
    while (!done() || performance.now() - last < 500) {
        if (!done()) last = performance.now();
        await new Promise((next) => requestAnimationFrame(next));
        if (performance.now() - started > 60000) throw new Error(`${page} is not shown after a minute`);
    }
    observer.disconnect();
    return (last - started) / 1000;
}
"""


def measure() -> Result:
    """Start the dashboard several times, then switch between its pages."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(os.environ.get(PROJECT) or Path(name, "project"))
        if not folder.exists():
            make(folder, reports=REPORTS, predictions=PREDICTIONS)
        size = (folder / "journal.db").stat().st_size / 2**30
        with sync_playwright() as playwright:
            browser = chromium(playwright)
            others = [_start(browser, folder) for _ in range(STARTS - 1)]
            starts, straight = [other[0] for other in others], [other[1][STRAIGHT] for other in others]
            took, first, later, memory = _start(browser, folder, rounds=ROUNDS)
            browser.close()
    starts.append(took)
    return Result(
        title="Dashboard",
        about=(
            f"Debian's Chromium on the same two cores as the server, {REPORTS} monitoring reports, a SQLite journal of "
            f"{PREDICTIONS:,} predictions with outcomes ({size:.1f} GiB; `scripts/big_project.py`). The first page is "
            f"timed from the start of the process until the page is complete (median of {STARTS} starts). A switch is "
            "timed from the click until the page is complete with every figure. Once in each visit the browser loads "
            "Plotly (4.7 MB), after the first page is complete. Tables write a text for screen readers a third of a "
            "second later, which does not count. The first switch to a page is that of the first visitor after the "
            f"start, without a cache. Later switches are the median of {ROUNDS}."
        ),
        claims=[
            Claim("first page, from the start", statistics.median(starts), "s", 5.0, low=min(starts), high=max(starts)),
            Claim("first figure in a browser, from the click on the button Predict", first[FIGURE], "s"),
            Claim(
                "first switch of a visit: a click on Monitoring as soon as the first page is complete; this switch "
                "draws the visit's first figures",
                statistics.median(straight),
                "s",
                1.0,
                low=min(straight),
                high=max(straight),
            ),
            *(Claim(f"first switch to {page}", first[page], "s", 1.0) for page in PAGES[1:]),
            *(
                Claim(
                    f"switch to {page}",
                    statistics.median(later[page]),
                    "s",
                    1.0,
                    low=min(later[page]),
                    high=max(later[page]),
                )
                for page in PAGES
            ),
            Claim("resident after all pages", memory, "MiB"),
        ],
    )


def _start(
    browser: Browser, folder: Path, *, rounds: int = 0
) -> tuple[float, dict[str, float], dict[str, list[float]], float]:
    """Return seconds to the first page, to each other page at first and in each round, and the MiB at the end."""
    first: dict[str, float] = {}
    later: dict[str, list[float]] = {page: [] for page in PAGES}
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.set_default_timeout(SECONDS)
    began = time.perf_counter()
    with dashboard(folder) as process:
        tab.goto(f"http://127.0.0.1:{PORT}/")
        opened = time.perf_counter()
        took = opened - began + shown(tab, PAGES[0])
        if rounds:
            shown(tab, "Predict", click="Predict")
            first[FIGURE] = shown(tab, "Predict", click="Predict", among=BUTTONS, figures=1)
            first |= {page: shown(tab, page, click=page) for page in PAGES[1:]}
            for _ in range(rounds):
                for page in PAGES:
                    later[page].append(shown(tab, page, click=page))
        else:
            first[STRAIGHT] = shown(tab, "Monitoring", click="Monitoring")
        memory = _resident(process.pid)
    context.close()
    return took, first, later, memory


def shown(tab: Page, page: str, *, click: str = "", among: str = LINKS, figures: int = 0) -> float:
    """Wait until a page with at least so many figures is complete; return the seconds.

    Parameters
    ----------
    click, among
        Text of the element to click first, and the selector of the elements to search.
    """
    took = float(tab.evaluate(SHOWN, {"page": page, "click": click, "among": among, "figures": figures}))
    if tab.get_by_test_id("stException").count():
        raise SystemExit(f"the page {page} shows an exception")
    return took


def chromium(playwright: Playwright) -> Browser:
    """Start the system's Chromium, as root too."""
    return playwright.chromium.launch(
        executable_path="/usr/bin/chromium",
        headless=True,
        chromium_sandbox=False,
        args=["--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking"],
    )


@contextmanager
def dashboard(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a project's dashboard on `PORT`; yield its process when it answers."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            raise SystemExit(f"another program answers on port {PORT}: stop it first")
    command = [sys.executable, "-m", "churnops.cli", "dashboard", "--port", str(PORT)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        try:
            for _ in range(3000):
                if process.poll() is not None:
                    log.seek(0)
                    raise SystemExit(f"the dashboard ended: {log.read().decode()}")
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/_stcore/health", timeout=5):
                        break
                except OSError:
                    time.sleep(0.02)
            yield process
        finally:
            process.terminate()
            process.wait(60)


def _resident(pid: int) -> float:
    match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert match
    return int(match[1]) / 1024
