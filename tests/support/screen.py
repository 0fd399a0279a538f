"""`churnops dashboard` in a process of its own, and a Chromium that reads and operates it as people do."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Playwright, TimeoutError, expect
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from churnops import app
from tests.support.processes import PATIENCE, free_port, wait_for

# Start command; a port follows.
DASHBOARD = (sys.executable, "-m", "churnops.cli", "dashboard", "--port")
ENTRY = Path(app.__file__).with_name("streamlit_app.py")
STREAMLIT = (sys.executable, "-m", "streamlit", "run", str(ENTRY), "--server.port")
PAGES = ("Call list", "Policy", "Predict", "Monitoring", "Analysis", "Models", "Experiments")
FLAGS = (
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",  # as on a machine without a network
)
SECONDS = 180_000  # time limit for a page to show an expected text, in milliseconds as in Playwright
AGAIN = 5_000  # time after which a test repeats an action that a page may have missed
expect.set_options(timeout=SECONDS)

# Counts a run of the page from its request until it has ended, in the browser: a click on a stalled machine begins its
# run much later. Of each message to and from Streamlit's server, the first level of the protobuf is read.
RUNS = """
(() => {
    const fields = (data) => {
        const bytes = new Uint8Array(data), found = {};
        let at = 0;
        const number = () => {
            let value = 0, scale = 1;
            for (; bytes[at] > 127; scale *= 128) value += (bytes[at++] - 128) * scale;
            return value + bytes[at++] * scale;
        };
        while (at < bytes.length) {
            const tag = number(), value = number();  // the value of a number, the length of everything else
            found[tag >> 3] = value;
            if ((tag & 7) === 2) at += value;
        }
        return found;
    };
    const followed = new WeakSet(), send = WebSocket.prototype.send;
    WebSocket.prototype.send = function (data) {
        if (ASKED in fields(data)) window.run = 'asked';
        if (!followed.has(this)) this.addEventListener('message', ({data}) => {
            const found = fields(data);
            if (BEGUN in found) window.run = 'begun';
            if (ENDED in found && window.run === 'begun') window.run = found[ENDED] === AGAIN ? 'asked' : 'ended';
        });
        followed.add(this);
        return send.call(this, data);
    };
})()
"""
for _word, _number in {
    "ASKED": BackMsg.DESCRIPTOR.fields_by_name["rerun_script"].number,
    "BEGUN": ForwardMsg.DESCRIPTOR.fields_by_name["new_session"].number,
    "ENDED": ForwardMsg.DESCRIPTOR.fields_by_name["script_finished"].number,
    "AGAIN": ForwardMsg.FINISHED_EARLY_FOR_RERUN,
}.items():
    RUNS = RUNS.replace(_word, str(_number))

# Streamlit reports the end of a run before the browser has drawn everything: wait until nothing changes in several
# looks. Time alone proves nothing, since a stalled browser changes nothing either.
QUIET = """
() => new Promise((quiet) => {
    const app = document.querySelector('[data-testid=stApp]');
    let calm = 0;
    const observer = new MutationObserver(() => { calm = 0; });
    observer.observe(document.body, {subtree: true, childList: true, characterData: true});
    const moves = (one) => one.playState === 'running' && one.effect.getComputedTiming().endTime < Infinity;
    const look = () => {
        const busy = app.dataset.testScriptState !== 'notRunning' || window.run !== 'ended'
            || document.querySelector('[data-stale=true], [data-testid=stSkeleton], [data-testid=stSpinner]')
            || document.getAnimations().some(moves);
        calm = busy ? 0 : calm + 1;
        if (calm < 8) return setTimeout(look, 20);
        observer.disconnect();
        quiet();
    };
    look();
})
"""

# Opens a dialog and leaves a mark if a browser executes it.
ATTACK = "<img src=x onerror=alert(window.hacked=1)>"
ATTACKS = (
    ATTACK,
    "<script>window.hacked=1</script>",
    "[here](javascript:window.hacked=1)",
    "![x](http://evil.example/x)",
)


@contextmanager
def dashboard(folder: Path, command: Sequence[str] = DASHBOARD, **variables: str) -> Iterator[str]:
    """Run the dashboard of the project in `folder` until the block ends; yield its address."""
    with TemporaryDirectory() as home, Path(home, "log").open("w+") as log:
        port = free_port()
        environment = os.environ | {"HOME": home} | variables
        process = subprocess.Popen(
            (*command, str(port)), cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        address = f"http://127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, Path(home, "log").read_text()
            try:
                with urllib.request.urlopen(f"{address}/_stcore/health", timeout=5) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        try:
            wait_for("the dashboard answers", answers)
            yield address
            assert "Traceback" not in Path(home, "log").read_text()
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE)


def launch(playwright: Playwright) -> Browser:
    """Start Debian's Chromium, limited to this machine."""
    return playwright.chromium.launch(
        executable_path="/usr/bin/chromium", headless=True, chromium_sandbox=False, args=[*FLAGS], timeout=SECONDS
    )


class Screen:
    """One tab. It keeps network requests and script errors, which `check` examines at the end."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.strange: list[str] = []
        page.set_default_timeout(SECONDS)
        page.add_init_script(RUNS)
        page.on("request", lambda request: self._asked(request.url))
        page.on("pageerror", lambda error: self.strange.append(f"a script failed: {error}"))
        page.on("dialog", lambda dialog: (self.strange.append(f"a dialog: {dialog.message}"), dialog.dismiss()))

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.strange.append(f"asked the network for {url}")

    def check(self) -> None:
        """Fail if a request left this machine, a script failed, or data was executed as a script."""
        assert not self.page.evaluate("window.hacked"), "a script that came with data ran"
        assert self.page.locator("img[src='x'], a[href^='javascript:']").count() == 0
        assert self.strange == []

    def open(self, name: str = "Predict") -> "Screen":
        """Open a page by its address, and wait until it is complete."""
        self.page.goto(self.address if name == PAGES[0] else f"{self.address}/{name.lower()}")
        return self.settled(name)

    def go(self, name: str) -> "Screen":
        """Open a page by its name in the navigation."""
        self.page.get_by_test_id("stSidebarNavLink").filter(has_text=name).click()
        return self.settled(name)

    def settled(self, name: str | None = None) -> "Screen":
        """Wait until the page (of this name) is complete; fail if it shows an exception."""
        if name is not None:
            expect(self.page.get_by_role("heading", level=1, name=name, exact=True)).to_be_visible()
        self.page.evaluate(QUIET)
        assert self.page.get_by_role("dialog").count() == 0, self.page.get_by_role("dialog").inner_text()
        assert self.page.get_by_test_id("stException").count() == 0, self.text()
        return self

    def text(self) -> str:
        """Return the lines of the page's visible text, without invisible separators."""
        return self.page.get_by_test_id("stMain").inner_text().replace("\u2060", "")

    def says(self, pattern: str) -> re.Match[str]:
        """Wait until the page shows text that matches a pattern; `^` and `$` are the ends of a line."""
        deadline = time.monotonic() + SECONDS / 1000
        while (match := re.search(pattern, self.text(), re.MULTILINE)) is None:
            assert time.monotonic() < deadline, f"{pattern!r} is not in:\n{self.text()}"
            self.page.wait_for_timeout(50)
        return match

    def says_after(self, action: Callable[[], object], pattern: str) -> re.Match[str]:
        """Repeat an action until the page shows text that matches a pattern: what it asks may answer too late."""

        def shown() -> re.Match[str] | None:
            action()
            return re.search(pattern, self.text(), re.MULTILINE)

        return cast(re.Match[str], wait_for(pattern, shown))

    def has_cell(self, text: str) -> None:
        """Wait until a table has a cell with this text. Tables are drawn: cells for screen readers are read."""
        cell = self.page.locator("[data-testid=stDataFrame] [role=gridcell]").filter(has_text=text)
        cell.first.wait_for(state="attached")

    def press(self, name: str) -> "Screen":
        """Press a button, and wait until the page is complete again."""
        self.page.get_by_role("button", name=name, exact=True).click()
        return self.settled()

    def choose(self, label: str, choice: str) -> "Screen":
        """Choose from a list. A figure that is drawn late moves the list and closes it: it is opened again."""
        option = self.page.get_by_role("option", name=choice, exact=True)

        def chosen() -> bool:
            if not option.is_visible():
                self.page.get_by_role("combobox", name=label).click()
            return happens(lambda: option.click(timeout=AGAIN))

        wait_for(f"{choice} is chosen", chosen)
        return self.settled()

    def tab(self, name: str) -> "Screen":
        """Open a tab of the page."""
        self.page.get_by_role("tab", name=name, exact=True).click()
        return self.settled()


def happens(action: Callable[[], None]) -> bool:
    """Return whether an action on a page succeeds within its time limit."""
    try:
        action()
    except TimeoutError:
        return False
    return True


Look = Callable[..., Screen]
