"""Forked processes behave like those of `subprocess`."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.forks import POSSIBLE, Forked
from tests.support.processes import CHURNOPS

pytestmark = pytest.mark.skipif(not POSSIBLE, reason="a fork server needs Linux")
KINDS = (subprocess.Popen, Forked)
SHOWS = """
import json, locale, os, signal, sys, tempfile, threading
mask = os.umask(0)
streams = (sys.stdin, sys.stdout, sys.stderr)
signals = (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE, signal.SIGCHLD)
print(json.dumps({
    "arguments": sys.argv, "path": sys.path[0], "folder": os.getcwd(), "environment": dict(os.environ), "umask": mask,
    "streams": [(s.encoding, s.errors, s.line_buffering, s.write_through) for s in streams],
    "handlers": [str(signal.getsignal(number)).partition(" at ")[0] for number in signals],
    "open": len(os.listdir("/proc/self/fd")),
    "name": __name__, "temporary": tempfile.gettempdir(), "threads": threading.active_count(),
    "locale": [locale.getpreferredencoding(False), sys.getfilesystemencoding()], "read": sys.stdin.read(),
}))
"""


def outcome(kind: type["subprocess.Popen[Any]"], *command: str, **options: Any) -> tuple[int, str, str]:
    with kind(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    ) as p:
        output, errors = p.communicate("given\n", timeout=300)
    return p.returncode, output, errors


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"TMPDIR": "/dev/shm"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1:replace", "PYTHONUNBUFFERED": ""},
    ],
    ids=str,
)
def test_a_forked_process_starts_as_any_other(tmp_path: Path, variables: dict[str, str]):
    environment = os.environ | variables | {"caf\u00e9": "\udcff"}
    options = {"cwd": tmp_path, "env": environment}
    expected, forked = (outcome(kind, sys.executable, "-c", SHOWS, "a", "\udcff", **options) for kind in KINDS)
    assert forked[0] == 0, forked
    assert json.loads(forked[1]) == json.loads(expected[1])


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("print(1)", 0),
        ("import sys; print(1); sys.exit(3)", 3),
        ("import sys; sys.exit('a message')", 1),
        ("import sys; sys.exit(-1)", 255),
        ("import os; os._exit(9)", 9),
        ("import atexit; atexit.register(print, 'at the end')", 0),
        ("import threading, time; threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()", 0),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os; print('kept', flush=True); os.execv('/bin/sh', ['sh', '-c', 'echo replaced; exit 4'])", 4),
    ],
)
def test_a_forked_process_ends_as_any_other(program: str, code: int):
    expected, forked = (outcome(kind, sys.executable, "-c", program) for kind in KINDS)
    assert forked == expected
    assert forked[0] == code


@pytest.mark.parametrize(("program", "code"), [("1 / 0", 1), ("raise KeyboardInterrupt", -signal.SIGINT)])
def test_a_forked_process_fails_as_any_other(program: str, code: int):
    for kind in KINDS:
        status, output, errors = outcome(kind, sys.executable, "-c", program)
        assert (status, output) == (code, "")
        assert errors.startswith("Traceback (most recent call last):\n")


def test_a_script_and_a_module_are_executed_as_main():
    config = ("config", "check")
    for command in (
        [CHURNOPS, *config],
        [sys.executable, CHURNOPS, *config],
        [sys.executable, "-m", "churnops.cli", *config],
        [sys.executable, "-m", "churnops.cli.root", *config],
        [sys.executable, "-m", "uvicorn"],
    ):
        expected, forked = (outcome(kind, *command, "--help") for kind in KINDS)
        assert forked == expected
        assert forked[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_a_forked_process_takes_signals_alone(number: signal.Signals):
    program = "import time; print(flush=True); time.sleep(1000)"
    with Forked([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.read(1)
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(number)
        assert process.wait(300) == process.poll() == -number
    assert outcome(Forked, sys.executable, "-c", "print(1)") == (0, "1\n", "")  # the server still forks


def test_a_forked_process_may_have_its_own_session():
    program = "import os; print(os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid())"
    for kind in KINDS:
        assert outcome(kind, sys.executable, "-c", program, start_new_session=True)[1] == "True True\n"
        assert outcome(kind, sys.executable, "-c", program)[1] == "False False\n"


def test_a_reader_that_waits_for_the_end_sees_it():
    """No other process holds the ends of a pipe: neither the server nor a process that it forked later."""
    program = "import sys; print(len(sys.stdin.read()))"
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with (
        Forked([sys.executable, "-c", program], **options) as one,
        Forked([sys.executable, "-c", program], **options) as other,
    ):
        assert one.communicate(b"abc", timeout=300) == (b"3\n", None)
        assert other.communicate(b"", timeout=300) == (b"0\n", None)


def test_options_that_a_server_cannot_give_are_refused():
    for options in ({"shell": True}, {"preexec_fn": print}, {"umask": 7}, {"process_group": 0}):
        with pytest.raises(ValueError, match="needs a process of `subprocess`"):
            Forked([sys.executable, "-c", "1"], **options)
