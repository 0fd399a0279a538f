"""The application: `uvicorn churnops.api.main:app`, or `churnops serve`.

Importing opens nothing; the settings, the journal and the model are opened when the server starts.
"""

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from churnops import __version__
from churnops.api.cors import CrossOrigin
from churnops.api.documents import openapi_document
from churnops.api.guard import Guard, configure_logging
from churnops.api.metrics import Metrics
from churnops.api.predict import Predict
from churnops.api.problems import raise_problem
from churnops.api.routes import ROUTERS
from churnops.api.service import Service
from churnops.api.stopping import WORKER_SECONDS, end_with_parent, ending_within
from churnops.settings import Settings, apply_permissions, find_config, load_settings
from churnops.traces import recording


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application; without `settings` it reads `config.yaml` (see `find_config`) when it starts."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[None]:
        end_with_parent()
        with ending_within(WORKER_SECONDS):
            async with _serving(app, settings, metrics):
                yield

    app = Application(
        title="churnops", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.add_middleware(Guard, metrics=metrics)
    app.direct = {"/predict": Guard(Predict(app), metrics, route="/predict")}
    app.add_exception_handler(HTTPException, raise_problem)
    app.openapi = _remembered(app)  # type: ignore[method-assign]
    for router in ROUTERS:
        app.include_router(router)
    return app


@asynccontextmanager
async def _serving(app: "Application", settings: Settings | None, metrics: Metrics) -> AsyncIterator[None]:
    configure_logging()
    os.environ.setdefault("POLARS_MAX_THREADS", "1")  # takes effect when the first upload imports Polars
    chosen = settings or load_settings(find_config(Path.cwd()))
    if settings is None:  # this process is the service's own
        apply_permissions(chosen)
    app.root_path = chosen.api.root_path
    app.front = app.answer
    if chosen.api.cors_origins:
        app.front = CrossOrigin(app.front, metrics, chosen.api.cors_origins)
    traces = ExitStack()
    traces.enter_context(recording(chosen.traces))
    if chosen.traces:
        from churnops.api.traced import Traced  # imports OpenTelemetry

        app.front = Traced(app.front)
    app.state.service = service = Service(chosen, metrics)
    await service.refresh_keys()
    await service.refresh_policy()
    await service.refresh_model()
    await service.refresh_challenger()
    # Loaded objects stay, so the garbage collector need not visit them.
    gc.collect()
    gc.freeze()
    # Other threads (counting, writing, loading) release Python's lock for the event loop within half a millisecond.
    sys.setswitchinterval(5e-4)
    working = asyncio.create_task(service.keep_house())
    try:
        yield
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working
        await asyncio.gather(service.stop(), asyncio.to_thread(traces.close))


class Application(FastAPI):
    """FastAPI with `direct` paths, which are answered in front of the framework (see `churnops.api.predict`).

    `front` answers every request: `answer`, behind the middleware of origins and traces if the settings ask for it.
    """

    direct: Mapping[str, ASGIApp]
    front: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await (self.front or self.answer)(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request without that middleware."""
        path, root = scope.get("path", ""), self.root_path or scope.get("root_path", "")
        if root and path.startswith(f"{root}/"):
            path = path.removeprefix(root)
        direct = self.direct.get(path)
        await (super().__call__ if direct is None else direct)(scope, receive, send)


def _remembered(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return a function that returns the OpenAPI document and makes it once for each model."""
    last: tuple[str, dict[str, Any]] | None = None

    def document() -> dict[str, Any]:
        nonlocal last
        served = app.state.service.model.current
        model = served.bundle.content_sha256 if served else ""
        if last is None or last[0] != model:
            last = (model, openapi_document(app))
        return last[1]

    return document


app = create_app()
