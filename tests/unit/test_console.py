"""Standard streams: errors that are dropped, errors that are raised, and streams of steps that print."""

import io
import os
import sys
import threading
from pathlib import Path

import pytest

from churnops.console import OutputError, _Descriptor
from churnops.tracking.output import Tee
from tests.support.processes import run_fresh


def buffered(file: io.FileIO, *, strict: bool) -> io.BufferedWriter:
    return io.BufferedWriter(_Descriptor(file.fileno(), strict=strict))


def test_a_full_disk_raises_once_and_then_drops():
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
        stream = io.TextIOWrapper(buffered(full, strict=True), "ascii", "backslashreplace")
        stream.write("a \u2713")
        with pytest.raises(OutputError, match="standard output: No space left"):
            stream.flush()
        stream.flush()
        stream.write("more")
        stream.flush()
        lenient = io.TextIOWrapper(buffered(full, strict=False), "ascii")
        lenient.write("a")
        lenient.flush()


def test_a_stream_that_does_not_block_is_waited_for():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    stream = _Descriptor(writer, strict=True)
    while True:  # fill the pipe
        try:
            os.write(writer, b"x" * 4096)
        except BlockingIOError:
            break
    late = threading.Timer(0.2, os.read, (reader, 2**20))
    late.start()
    assert stream.write(b"the end") == 7
    late.join()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("kind", ["none", "closed", "ascii", "full"])
def test_a_step_may_print_whatever_there_is_to_print_to(kind: str):
    closed = io.StringIO()
    closed.close()
    with open("/dev/full", "wb", buffering=0) as full:  # noqa: PTH123
        streams = {
            "none": None,
            "closed": closed,
            "ascii": io.TextIOWrapper(io.BytesIO(), "ascii", "strict"),
            "full": io.TextIOWrapper(buffered(full, strict=True), "utf-8"),
        }
        copy = io.StringIO()
        tee = Tee(streams[kind], copy)
        print("\u2713 done", file=tee, flush=True)
        assert copy.getvalue() == "\u2713 done\n"


NOISE = """
import logging, warnings
from churnops.console import quiet_libraries
quiet_libraries()
quiet_libraries()
warnings.warn("a library is old")
logging.getLogger("urllib3.connectionpool").warning("Retrying")
logging.getLogger("churnops.tracking").warning("the project was moved")
"""


def test_only_the_log_of_churnops_reaches_the_screen(tmp_path: Path):
    quiet = run_fresh(sys.executable, "-c", NOISE, cwd=tmp_path, PYTHONWARNINGS="")
    assert quiet.stderr == "warning: the project was moved\n"
    loud = run_fresh(sys.executable, "-W", "default", "-c", NOISE, cwd=tmp_path)
    assert "UserWarning: a library is old" in loud.stderr
    assert "Retrying" not in loud.stderr
