"""A repeated job: on time, until it is stopped, in one process at a time."""

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest

from churnops.cli.repeat import repeat
from churnops.errors import ChurnopsError
from churnops.files import lock_folder

SOON = timedelta(milliseconds=20)


def test_it_goes_on_after_an_error_and_finishes_the_job_under_way(tmp_path: Path):
    runs: list[str] = []
    errors: list[Exception] = []

    def job() -> None:
        runs.append("begun")
        if len(runs) == 1:
            raise ChurnopsError("the database does not answer")
        if len(runs) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)
            runs.append("finished")

    before = signal.getsignal(signal.SIGTERM)
    repeat(SOON, job, tmp_path / "monitoring", errors.append)
    assert runs == ["begun", "begun", "begun", "finished"]
    assert [str(error) for error in errors] == ["the database does not answer"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_stop_while_waiting_ends_the_wait(tmp_path: Path):
    def job() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    previous = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    try:
        repeat(timedelta(days=1), job, tmp_path, lambda error: None)  # or this test never ends
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_a_defect_does_not_end_repetition_and_the_end_frees_the_lock(tmp_path: Path):
    errors: list[Exception] = []

    def job() -> None:
        if len(errors) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        raise ZeroDivisionError

    repeat(SOON, job, tmp_path, errors.append)
    assert [type(error) for error in errors] == [ZeroDivisionError] * 3
    with lock_folder(tmp_path) as held:
        assert held


def test_one_at_a_time(tmp_path: Path):
    with lock_folder(tmp_path) as held:
        assert held
        with pytest.raises(ChurnopsError, match="another process"):
            repeat(SOON, lambda: pytest.fail("it ran"), tmp_path, lambda error: None)
