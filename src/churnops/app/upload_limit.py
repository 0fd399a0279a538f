"""Server-side limits of uploads: a manipulated browser can ignore the limit in the page.

Streamlit limits one upload to `server.maxUploadSize` (50 MiB here), but keeps every file of a session until the session
ends. Here a session keeps only its newest file, all sessions together have a limit, and the files of a closed tab are
deleted.
"""

import asyncio
import re
from contextlib import suppress

from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import get_option, runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

MAX_KEPT_BYTES = 400 << 20
"""Limit of the total size of all sessions' uploaded files."""

MAX_AT_ONCE = 4
"""Number of concurrent uploads. Each needs memory of up to twice the file's size when it completes."""

SECONDS = 300.0
"""Time limit of one upload, in seconds."""

GRACE_SECONDS = 10.0
"""Seconds to keep a session and its file after the browser lost its connection."""

_PATH = re.compile(r"/_stcore/upload_file/([^/]+)/([^/]+)")


class UploadLimit:
    """ASGI middleware in front of Streamlit's routes: it acts only on uploads and closed connections."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._under_way: set[str] = set()
        self._owners: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] == "websocket":
            try:
                await self._app(scope, receive, send)
            finally:
                task = asyncio.ensure_future(self._free())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            return
        upload = _PATH.search(scope["path"]) if scope["type"] == "http" and scope["method"] == "PUT" else None
        if upload is None or not runtime.exists() or not runtime.get_instance().is_active_session(upload[1]):
            await self._app(scope, receive, send)  # Streamlit refuses an upload without a session, and does not read it
            return
        session = upload[1]
        if session in self._under_way:
            await PlainTextResponse("this session already has an upload in progress", 429)(scope, receive, send)
        elif len(self._under_way) >= MAX_AT_ONCE or self._kept(session) > MAX_KEPT_BYTES - _max_bytes():
            await PlainTextResponse("too many or too large uploads: try again in a minute", 503)(scope, receive, send)
        else:
            self._under_way.add(session)
            try:
                await self._upload(session, upload[2], scope, receive, send)
            finally:
                self._under_way.discard(session)

    async def _upload(self, session: str, file: str, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
            await send(message)

        try:
            async with asyncio.timeout(SECONDS):
                await self._app(scope, receive, sending)
        except TimeoutError:
            if not started:
                await PlainTextResponse("the upload took too long", 408)(scope, receive, send)
        self._owners.add(session)
        manager = _manager()
        for other in [name for name in manager.file_storage.get(session, {}) if name != file]:
            manager.remove_file(session, other)
        if not runtime.get_instance().is_active_session(session):  # the session was closed meanwhile
            await self._free()

    def _kept(self, session: str) -> int:
        """Return the bytes of all other sessions' files, plus the maximum file size for each upload in progress."""
        storage = list(_manager().file_storage.items())
        kept = sum(len(file.data) for owner, files in storage if owner != session for file in list(files.values()))
        return kept + len(self._under_way) * _max_bytes()

    async def _free(self) -> None:
        """Close sessions that have files but no browser any more."""
        await asyncio.sleep(GRACE_SECONDS)
        if not runtime.exists():
            return
        server = runtime.get_instance()
        for session in [owner for owner in self._owners if not server.is_active_session(owner)]:
            self._owners.discard(session)
            with suppress(KeyError):
                server.close_session(session)
            _manager().remove_session_files(session)


def _manager() -> MemoryUploadedFileManager:
    manager = runtime.get_instance().uploaded_file_mgr
    assert isinstance(manager, MemoryUploadedFileManager)
    return manager


def _max_bytes() -> int:
    return int(get_option("server.maxUploadSize")) << 20


MIDDLEWARE = [Middleware(UploadLimit)]
"""Middleware of `st.App`."""
