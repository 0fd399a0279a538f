"""Uploads to the real dashboard, sent as a session without a browser: the server bounds and forgets them."""

import http.client
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

from tests.support.processes import PATIENCE, wait_for
from tests.support.projects import write_project
from tests.support.screen import DASHBOARD, STREAMLIT, dashboard

MIB = 1 << 20


@dataclass(frozen=True)
class Session:
    """A session of the dashboard, and the ids that an upload in its name needs."""

    address: str
    id: str
    token: str

    def put(self, mib: float) -> int:
        """Upload a file under a new id; return the status."""
        boundary = "b0undary"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'.encode()
        body = head + b"x" * int(mib * MIB) + f"\r\n--{boundary}--\r\n".encode()
        connection = http.client.HTTPConnection(urlsplit(self.address).netloc, timeout=PATIENCE)
        headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Cookie": f"_streamlit_xsrf={self.token}",
            "X-Xsrftoken": self.token,
        }
        try:
            connection.request("PUT", f"/_stcore/upload_file/{self.id}/{secrets.token_hex(8)}", body, headers)
            return connection.getresponse().status
        except (BrokenPipeError, ConnectionResetError):
            return 413  # refused before it was read
        finally:
            connection.close()


@contextmanager
def session(address: str) -> Iterator[Session]:
    """Open a connection like that of a browser tab."""
    host = urlsplit(address).netloc
    connection = http.client.HTTPConnection(host, timeout=PATIENCE)
    connection.request("GET", "/_stcore/health")
    cookie = connection.getresponse().getheader("Set-Cookie") or ""
    connection.close()
    token = cookie.partition("_streamlit_xsrf=")[2].partition(";")[0]
    options: Any = {"subprotocols": ["streamlit"], "origin": address, "open_timeout": PATIENCE, "ping_interval": None}
    with connect(f"ws://{host}/_stcore/stream", max_size=None, **options) as socket:
        message = BackMsg()
        message.rerun_script.query_string = ""
        socket.send(message.SerializeToString())
        name = ""
        for _ in range(1000):
            answer = ForwardMsg.FromString(bytes(socket.recv(timeout=PATIENCE)))
            if answer.WhichOneof("type") == "new_session":
                name = answer.new_session.initialize.session_id
            if answer.WhichOneof("type") == "script_finished":
                break
        yield Session(address, name, token)


def resident(field: str) -> int:
    """Return MiB of the dashboard's process: `VmRSS`, or the most it ever had, `VmHWM`."""
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            command = status.with_name("cmdline").read_bytes().split(b"\0")
            if b"streamlit" in command and b"--server.port" in command and _port in command:
                line = next(line for line in status.read_text().splitlines() if line.startswith(field))
                return int(line.split()[1]) // 1024
        except (OSError, StopIteration):
            continue
    raise AssertionError("the dashboard has no process")


_port = b""


@pytest.mark.parametrize("command", [DASHBOARD, STREAMLIT], ids=["churnops dashboard", "streamlit run"])
def test_a_session_keeps_one_file_and_none_after_it_is_closed(tmp_path: Path, command: tuple[str, ...]):
    global _port
    write_project(tmp_path)
    with dashboard(tmp_path, command) as address:
        _port = str(urlsplit(address).port).encode()
        with session(address) as mine:
            assert mine.put(1) == 204
            before = resident("VmRSS")
            assert mine.put(200) == 413
            assert mine.put(51) == 413
            assert resident("VmHWM") < before + 100, "refused before it is kept"
            assert [mine.put(40) for _ in range(12)] == [204] * 12
            assert resident("VmRSS") < before + 200, "480 MiB were sent, 40 are kept"
            assert resident("VmHWM") < before + 300
        wait_for("the file is freed", lambda: resident("VmRSS") < before + 30)
        assert Session(address, mine.id, mine.token).put(1) == 400


def test_sessions_together_keep_a_bounded_number_of_bytes(tmp_path: Path):
    write_project(tmp_path)
    with dashboard(tmp_path) as address, ExitStack() as tabs:
        sessions = [tabs.enter_context(session(address)) for _ in range(9)]
        assert [one.put(49) for one in sessions] == [204] * 8 + [503]
