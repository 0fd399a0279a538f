"""Servers of object stores on loopback, and a proxy in front of one that can refuse, hang and damage answers."""

import http.client
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self

from churnops.objects import ObjectStore
from tests.support.parts import find_part
from tests.support.processes import free_port, wait_for

BUCKET = "churnops-test"
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The published account and key of every azurite."""
Fault = Literal["", "503", "hang", "damage"]


@dataclass(frozen=True)
class StoreServer:
    """A running server: its port, the address of an empty place in it, and the variables that lead to it."""

    port: int
    address: str
    variables: Mapping[str, str]

    def place(self, name: str) -> Self:
        """Return this server with an address that only `name` uses."""
        return replace(self, address=f"{self.address}/{re.sub('[^A-Za-z0-9_]+', '-', name)}")


def memory_store() -> ObjectStore:
    """Return an empty store in this process's memory."""
    from obstore.store import MemoryStore

    store = ObjectStore(f"s3://{BUCKET}")
    store._store = MemoryStore()
    return store


@contextmanager
def s3_server() -> Iterator[StoreServer]:
    """Start moto's S3 server with one bucket, and stop it at the end."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for("the S3 server answers", lambda: _answers(port))
            yield StoreServer(port, f"s3://{BUCKET}", s3_variables(port))
        finally:
            process.kill()


@contextmanager
def azure_server() -> Iterator[StoreServer]:
    """Start azurite, which stands in for Azure Blob Storage, with one container, and stop it at the end."""
    from azure.storage.blob import BlobServiceClient

    azurite, port = find_part("azurite"), free_port()
    assert azurite is not None, "the test is marked needs('azurite')"
    command = [azurite, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    command += ["--disableTelemetry", "--skipApiVersionCheck"]
    endpoint = f"http://127.0.0.1:{port}/{AZURITE_ACCOUNT}"
    variables = {
        "AZURE_STORAGE_ENDPOINT": endpoint,
        "AZURE_STORAGE_ACCOUNT_NAME": AZURITE_ACCOUNT,
        "AZURE_STORAGE_ACCESS_KEY": AZURITE_KEY,
        "AZURE_STORAGE_CONNECTION_STRING": (  # MLflow's
            f"DefaultEndpointsProtocol=http;AccountName={AZURITE_ACCOUNT};AccountKey={AZURITE_KEY};BlobEndpoint={endpoint};"
        ),
    }
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for("azurite listens", lambda: _listens(port))
            with BlobServiceClient(endpoint, credential=AZURITE_KEY) as client:
                client.create_container(BUCKET)
            yield StoreServer(port, f"az://{BUCKET}", variables)
        finally:
            process.kill()


def _listens(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def s3_variables(port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "hidden-secret",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("PUT", f"/{BUCKET}")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@dataclass
class Proxy:
    """A proxy in front of a store; `fault` decides what it does with requests that contain `only` in their path."""

    port: int
    fault: Fault = ""
    only: str = ""
    requests: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def begin(self, fault: Fault, only: str = "") -> None:
        self.released.set()  # the requests that hang
        self.released = threading.Event()
        self.fault = fault
        self.only = only


@contextmanager
def faulty_proxy(store_port: int) -> Iterator[Proxy]:
    """Start a proxy in this process, and stop it at the end."""
    proxy: Proxy

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = proxy.fault if proxy.only in self.path else ""
            proxy.requests.append(f"{self.command} {self.path}")
            if fault == "hang":
                proxy.released.wait()
                self.close_connection = True
                return
            if fault == "503":
                self._answer(503, [], b"")
                return
            self._pass_on(body, damage=fault == "damage")

        def _pass_on(self, body: bytes, *, damage: bool) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", store_port, timeout=60)
            connection.request(self.command, self.path, body=body, headers=dict(self.headers.items()))
            answer = connection.getresponse()
            data = answer.read()
            connection.close()
            if damage and self.command == "GET" and data:
                data = data[:-1] + bytes([data[-1] ^ 1])
            self._answer(answer.status, answer.getheaders(), data)

        def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("connection", "transfer-encoding"):
                    self.send_header(name, value)
            if "content-length" not in {name.lower() for name, _ in headers}:
                self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        proxy = Proxy(server.server_port)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.released.set()
            server.shutdown()
