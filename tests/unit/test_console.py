"""Standard streams: errors that are dropped, errors that are raised, and streams of steps that print."""

import io
import logging
import os
import sys
import threading
import warnings
import zipfile
from pathlib import Path

import pytest

from churnops.console import OutputError, _Descriptor
from churnops.errors import ChurnopsError
from churnops.tracking.output import Tee, kept_output
from churnops.tracking.source import package_source
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


def test_a_steps_log_is_kept_and_shown_but_warnings_only_kept(capsys: pytest.CaptureFixture[str]):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with kept_output() as kept:
            sys.stdout.write("rows\n")
            sys.stderr.write("a log line\n")
            warnings.warn("a library warns", UserWarning, stacklevel=1)
            logging.getLogger("urllib3").warning("Retrying")
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):  # the earlier handling is back
            warnings.warn("later", UserWarning, stacklevel=1)
    kept.add_result("2 rows")
    kept.add_error(ChurnopsError("refused"))
    files = kept.files()
    assert files["output/stdout.txt"] == "rows\n2 rows\n"
    err = str(files["output/stderr.txt"])
    assert err.startswith("a log line\n")
    assert "UserWarning: a library warns" in err
    assert "WARNING urllib3: Retrying\n" in err
    assert err.endswith("churnops.errors.ChurnopsError: refused\n")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("rows\n", "a log line\n")


def test_the_archive_of_the_source_depends_on_the_files_only():
    again = package_source.__wrapped__()
    assert again == package_source()
    with zipfile.ZipFile(io.BytesIO(again)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
