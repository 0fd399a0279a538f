"""The application: `uvicorn churnops.api.main:app`, or `churnops serve`.

Nothing happens on import; settings, journal and model are opened when the server starts.
"""

import asyncio
import gc
import json
import logging
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi import Path as PathParameter
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from churnops import __version__
from churnops.api.body import JSON, media_type, read_body
from churnops.api.documents import MAX_PROBES, HealthAnswer, ModelAnswer, RecordedAnswer, openapi_document
from churnops.api.guard import Guard, configure_logging
from churnops.api.labels import LabelsAnswer, read_labels
from churnops.api.live import given_columns
from churnops.api.metrics import CONTENT_TYPE, Metrics
from churnops.api.page import documentation_page
from churnops.api.predictions import answer
from churnops.api.problems import REFUSALS, Problem, documented, raise_problem
from churnops.api.security import Client
from churnops.api.served import Served
from churnops.api.service import Service
from churnops.api.stopping import WORKER_SECONDS, end_with_parent, ending_within
from churnops.api.strict_json import parse_json
from churnops.api.uploads import UPLOADS, Released
from churnops.api.work import LARGE_BYTES, STEP_ROWS, Held, Steps
from churnops.errors import JournalError, UnknownPrediction
from churnops.journal.labels import Label
from churnops.journal.predictions import PredictionRow
from churnops.schema import Columns
from churnops.settings import Settings, apply_permissions, find_config, load_settings

log = logging.getLogger("churnops.api")

MAX_CUSTOMER_BYTES = 64 * 1024
PIECE_BYTES = 256 * 1024  # of a long answer, sent at once
T = TypeVar("T")
PREDICTION_ID = re.compile(r"[0-9a-f-]{36}")


class _Scored(NamedTuple):
    """Some customers of a list: their answers as JSON, the rows to be recorded, and their encoded columns."""

    content: bytes
    rows: list[PredictionRow]
    columns: Columns


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the application. Without `settings` it finds `config.yaml` (see `find_config`) when it starts."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        end_with_parent()
        with ending_within(WORKER_SECONDS):
            async with serving(app):
                yield

    @asynccontextmanager
    async def serving(app: FastAPI) -> AsyncIterator[None]:
        configure_logging()
        os.environ.setdefault("POLARS_MAX_THREADS", "1")  # read when an upload first needs Polars
        chosen = settings or load_settings(find_config(Path.cwd()))
        if settings is None:  # this process is the service's own
            apply_permissions(chosen)
        app.state.service = service = Service(chosen, metrics)
        await service.refresh_keys()
        await service.refresh_model()
        # What is loaded by now stays: the garbage collector need not look through it again and again.
        gc.collect()
        gc.freeze()
        # Threads beside the event loop (counting, writing, loading) let go of Python's lock within half a millisecond.
        sys.setswitchinterval(5e-4)
        working = asyncio.create_task(service.keep_house())
        try:
            yield
        finally:
            working.cancel()
            with suppress(asyncio.CancelledError):
                await working
            await service.stop()

    app = Application(
        title="churnops", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.add_middleware(Guard, metrics=metrics)
    app.direct = {"/predict": Guard(Predict(app), metrics, route="/predict")}
    app.add_exception_handler(HTTPException, raise_problem)
    app.openapi = _remembered(app)  # type: ignore[method-assign]
    _add_routes(app)
    return app


class Application(FastAPI):
    """FastAPI, but for `direct` paths, which are answered in front of the framework.

    What FastAPI and its middleware do for a request costs as much as scoring and explaining a customer.
    """

    direct: Mapping[str, ASGIApp]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        await self.direct.get(scope.get("path", ""), super().__call__)(scope, receive, send)


class Predict:
    """`POST /predict`, as an ASGI application: score and explain one customer; recorded before it is sent."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] != "POST":
            raise Problem(405, "method-not-allowed", "this path takes POST", headers={"Allow": "POST"})
        service: Service = self._app.state.service
        state = scope["state"]
        state["client"] = service.access.admit(scope, "predict")
        body = await read_body(scope, receive, MAX_CUSTOMER_BYTES, service.settings.api.timeout_seconds)
        served = service.model.require()
        state["model_version"] = served.version
        record = served.form.read(parse_json(body, served.form.max_values))
        answers, rows = answer(served, [record])
        await service.recorder.record(rows, state["client"].key)
        if service.live is not None:
            service.live.add_one(served, record, rows[0].churn_probability)
        content = to_json(answers[0])
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})


def _service(request: Request, scope: str) -> Service:
    """Return the service, if the client may have `scope`."""
    service: Service = request.app.state.service
    request.scope["state"]["client"] = service.access.admit(request.scope, scope)
    return service


def _key(request: Request) -> str | None:
    """Return the id of the API key that a request came with."""
    client: Client = request.scope["state"]["client"]
    return client.key


async def _computed(request: Request, service: Service, compute: Callable[[bytes], Steps[T]], held: Held) -> T:
    """Return the result of a computation on a JSON body."""
    limits = service.settings.api
    body = await read_body(request.scope, request.receive, limits.max_body_bytes, limits.timeout_seconds, held.add)
    size, steps = len(body), compute(body)
    del body  # the first step parses it, and lets go of it
    return await service.work.compute(request.receive, size, steps)


def _scored(service: Service, served: Served, body: bytes) -> Steps[list[_Scored]]:
    """Score and explain a list of customers in steps."""
    records = yield from served.form.read_list(body, service.settings.api.max_batch_rows)
    del body
    scored = []
    for start in range(0, len(records), STEP_ROWS):
        yield
        part = records[start : start + STEP_ROWS]
        answers, rows = answer(served, part)
        columns = given_columns(served, part) if service.live else {}
        scored.append(_Scored(json.dumps(answers)[1:-1].encode(), rows, columns))
    return scored


def _json(content: Any, status: int = 200) -> Response:
    return Response(json.dumps(content), status, media_type=JSON)


def _remembered(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return the OpenAPI document's maker, which makes one for each model: it takes longer than many predictions."""
    last: tuple[str, dict[str, Any]] | None = None

    def document() -> dict[str, Any]:
        nonlocal last
        served = app.state.service.model.current
        model = served.bundle.content_sha256 if served else ""
        if last is None or last[0] != model:
            last = (model, openapi_document(app))
        return last[1]

    return document


def _add_routes(app: FastAPI) -> None:
    @app.post("/predict/batch", responses=documented(*REFUSALS))
    async def predict_batch(request: Request) -> Response:
        """Score and explain many customers: a JSON list, or a CSV, NDJSON or Parquet file as the body.

        A list is answered with a list in the same order. A file comes back in its own format with the answer's
        columns added, streamed; it is checked as a whole before the first row is answered.
        """
        service = _service(request, "predict")
        kind = media_type(request.scope)
        served = service.model.require()
        request.scope["state"]["model_version"] = served.version
        limits = service.settings.api
        if kind in UPLOADS:
            return await service.uploads.answer(request, UPLOADS[kind], served)
        with ExitStack() as stack:
            held = stack.enter_context(closing(service.work.held()))
            scored = await _computed(request, service, partial(_scored, service, served), held)
            await service.recorder.record([row for part in scored for row in part.rows], _key(request))
            if service.live is not None:
                for part in scored:
                    service.live.add(served, part.columns, [row.churn_probability for row in part.rows])
            content = b"[" + b", ".join(part.content for part in scored) + b"]"
            if len(content) <= LARGE_BYTES:
                return Response(content, media_type=JSON)
            held.exchange(len(content))
            return Released(_pieces(content), stack.pop_all().close, JSON, limits.timeout_seconds, len(content))

    @app.post("/predict/probe", responses=documented(*REFUSALS))
    async def predict_probe(request: Request) -> Response:
        """Score and explain a few customers who are nobody's: as `/predict/batch` does, but nothing is recorded.

        For a check of the model that answers, such as after a deployment. Neither the journal, nor live drift, nor the
        counts of predictions know of it.
        """
        service = _service(request, "admin")
        served = service.model.require()
        request.scope["state"]["model_version"] = served.version

        def compute(body: bytes) -> Steps[list[dict[str, Any]]]:
            answers, _ = answer(served, (yield from served.form.read_list(body, MAX_PROBES)))
            return [{name: value for name, value in item.items() if name != "prediction_id"} for item in answers]

        with closing(service.work.held()) as held:
            return _json(await _computed(request, service, compute, held))

    @app.post("/labels", response_model=LabelsAnswer, responses=documented(404, *REFUSALS))
    async def labels(request: Request) -> Response:
        """Record outcomes, one or a list. A missing outcome is never "stayed"; a correction is a new row."""
        service = _service(request, "label")

        def read(body: bytes) -> Steps[list[Label]]:
            return read_labels(body, service.settings.api.max_batch_rows)

        with closing(service.work.held()) as held:
            outcomes = await _computed(request, service, read, held)
        try:
            counts = await service.work.ask(request.receive, service.journal.record_labels, outcomes, _key(request))
        except UnknownPrediction as error:
            detail = f"row {error.index + 1}: there is no prediction of this id"
            raise Problem(404, "unknown-prediction", detail) from None
        except JournalError as error:
            raise _journal_problem(error) from None
        service.metrics.labels.inc(counts.recorded)
        service.metrics.unmatched_labels.inc(counts.unmatched or 0)
        return _json({name: getattr(counts, name) for name in LabelsAnswer.model_fields})

    @app.get(
        "/predictions/{prediction_id}",
        response_model=RecordedAnswer,
        responses=documented(400, 401, 403, 404, 429, 503),
    )
    async def prediction(request: Request, prediction_id: Annotated[str, PathParameter()]) -> Response:
        """Return a recorded prediction, with its outcome if that is known."""
        service = _service(request, "predict")
        found = None
        if PREDICTION_ID.fullmatch(prediction_id):
            try:
                found = await service.work.ask(request.receive, service.journal.prediction, prediction_id)
            except JournalError as error:
                raise _journal_problem(error) from None
        if found is None:
            raise Problem(404, "unknown-prediction", "there is no prediction of this id")
        return _json(RecordedAnswer.of(found).model_dump(mode="json"))

    @app.get("/model", response_model=ModelAnswer, responses=documented(400, 401, 403, 429, 503))
    async def model(request: Request) -> Response:
        """Describe the model that answers: version, metrics, schema, features, lineage."""
        service = _service(request, "predict")
        return _json(ModelAnswer.of(service.model.require()).model_dump(mode="json", by_alias=True))

    @app.post("/model/reload", response_model=HealthAnswer, responses=documented(400, 401, 403, 409, 429, 503))
    async def reload(request: Request) -> Response:
        """Load the deployed model now. The service finds a new deployment by itself within a second."""
        service = _service(request, "admin")
        await service.refresh_model(again=True)
        if service.model.refused:
            raise Problem(409, "model-refused", f"the deployed model is refused: {service.model.refused}")
        return _json({"status": "ready", "model_version": service.model.require().version, "warnings": []})

    @app.head("/health/live", include_in_schema=False)
    @app.get("/health/live", response_model=HealthAnswer)
    async def live() -> Response:
        """Say that the process answers."""
        return _json({"status": "live", "model_version": None, "warnings": []})

    @app.head("/health/ready", include_in_schema=False)
    @app.get("/health/ready", response_model=HealthAnswer, responses=documented(503))
    async def ready(request: Request) -> Response:
        """Say whether predictions are answered: a model is loaded and the journal can be written."""
        service: Service = request.app.state.service
        served = service.model.require()
        warnings = [f"the newest deployment is refused: {service.model.refused}"] if service.model.refused else []
        if service.entries_ahead:  # named in the log: whoever asks here needs no key
            warnings.append("the journal has entries dated ahead of this machine's clock: the log names them")
        try:
            await service.check_journal()
        except (JournalError, TimeoutError) as error:
            if service.settings.journal.required and service.settings.journal.predictions:
                raise _journal_problem(error) from None
            warnings.append("the journal does not answer")
        if service.settings.demonstration:
            warnings.append(service.settings.banner)
        return _json({"status": "ready", "model_version": served.version, "warnings": warnings})

    plain: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}

    @app.get("/metrics", response_class=Response, responses=plain | documented(400, 401, 403, 429))
    async def metrics(request: Request) -> Response:
        """Return counters in Prometheus' text format, which tell how good the model is and how many customers leave."""
        service: Service = request.app.state.service
        if not service.settings.api.public_metrics:
            _service(request, "metrics")
        return Response(service.metrics.text(), headers={"content-type": CONTENT_TYPE})

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> Response:
        """Show the OpenAPI document as a page, which needs no network and runs no script."""
        return documentation_page(app.openapi(), request.app.state.service.settings.banner)

    @app.get("/")
    async def index(request: Request) -> dict[str, Any]:
        """Say what this is and where to look."""
        banner = request.app.state.service.settings.banner
        return {
            "service": "churnops",
            "version": __version__,
            "documentation": "/docs",
            "paths": [*app.openapi()["paths"]],
        } | ({"demonstration": banner} if banner else {})


async def _pieces(content: bytes) -> AsyncIterator[bytes]:
    """Cut an answer, so that a client that does not read it holds one of the service's buffers at most."""
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]


def _journal_problem(error: Exception) -> Problem:
    log.error("the journal fails: %s", error or "it takes too long")
    return Problem(503, "journal", "the journal does not answer", headers={"Retry-After": "1"})


app = create_app()
