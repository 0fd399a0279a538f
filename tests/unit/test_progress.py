"""Progress of a command: nothing before the work starts, and no spinner after it ends."""

import re
from contextlib import suppress

import pytest
from rich.console import Console

from churnops.progress import rows_progress, steps_progress

STEPS = ("1 read", "2 merge", "3 prepare", "4 select", "5 train")
SPINNER = re.compile("[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏]")


def shown(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def terminal() -> Console:
    return Console(stderr=True, force_terminal=True, color_system=None, width=100)


def test_work_that_is_refused_shows_no_progress(capsys: pytest.CaptureFixture[str]):
    with suppress(ValueError), steps_progress(STEPS, 2, console=terminal()):
        raise ValueError
    with suppress(ValueError), rows_progress("customers.csv", console=terminal()):
        raise ValueError
    assert shown(capsys) == ""


def test_a_step_that_failed_ends_with_a_cross(capsys: pytest.CaptureFixture[str]):
    with steps_progress(STEPS, 2, console=terminal()) as (on_step, _):
        on_step(STEPS[0], "started")
        on_step(STEPS[0], "finished")
        on_step(STEPS[1], "started")
        on_step(STEPS[1], "failed")
    last = shown(capsys).rpartition("✓ 1 read")[2]
    assert "✗ 2 merge: failed" in last
    assert not SPINNER.search(last)
    assert "3 prepare" not in last


def test_a_step_that_is_interrupted_leaves_no_spinner(capsys: pytest.CaptureFixture[str]):
    with suppress(KeyboardInterrupt), steps_progress(STEPS, 2, console=terminal()) as (on_step, _):
        on_step(STEPS[0], "started")
        raise KeyboardInterrupt
    last = shown(capsys).rpartition("✗")[2]
    assert "1 read" in last
    assert not SPINNER.search(last)
