"""Receivers of alerts: a web server and a mail server's handler that keep every message."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from tests.support.web import Quiet, web_server

SECRET = "hunter2hunter2"


@dataclass
class Endpoint:
    """A web server that keeps its requests. It answers with `status`; if that is negative, it hangs."""

    port: int = 0
    status: int = 200
    location: str = ""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    signed: list[tuple[bytes, str | None]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"json://ann:{SECRET}@127.0.0.1:{self.port}/hook-{SECRET}"

    def titles(self) -> list[str]:
        return [body["title"] for _, body in self.asked]


@contextmanager
def listening(**options: Any) -> Iterator[Endpoint]:
    endpoint = Endpoint(**options)

    class Handler(Quiet):
        def do_POST(self):
            text = self.rfile.read(int(self.headers["Content-Length"]))
            endpoint.signed.append((text, self.headers["X-Churnops-Signature"]))
            endpoint.asked.append((self.path, json.loads(text)))
            if endpoint.status < 0:
                endpoint.stopped.wait()
                return
            self.send_response(endpoint.status)
            if endpoint.location:
                self.send_header("Location", endpoint.location)
            self.end_headers()
            self.wfile.write(b"ok")

    with web_server(Handler) as endpoint.port:
        try:
            yield endpoint
        finally:
            endpoint.stopped.set()


class Mailbox:
    """A mail server's handler that keeps every mail."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"
