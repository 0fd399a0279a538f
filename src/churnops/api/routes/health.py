"""Health and metrics, for the platform that runs the service."""

from typing import Any

from fastapi import APIRouter, Request, Response

from churnops.api.metrics import CONTENT_TYPE
from churnops.api.problems import documented, journal_problem
from churnops.api.routes.shared import admitted, as_json
from churnops.api.service import Service
from churnops.errors import JournalError
from churnops.wire import HealthAnswer

router = APIRouter(tags=["service"])

PLAIN: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}


@router.head("/health/live", include_in_schema=False)
@router.get(
    "/health/live", operation_id="check_live", summary="Check that the process runs", response_model=HealthAnswer
)
async def live() -> Response:
    """Answer 200 while the process runs."""
    return as_json({"status": "live", "model_version": None, "warnings": []})


@router.head("/health/ready", include_in_schema=False)
@router.get(
    "/health/ready",
    operation_id="check_ready",
    summary="Check that predictions are possible",
    response_model=HealthAnswer,
    responses=documented(503),
)
async def ready(request: Request) -> Response:
    """Answer 200 if predictions are possible: a model is loaded, and the journal can be written if it is required."""
    service: Service = request.app.state.service
    served = service.model.require()
    warnings = [f"the newest deployment is refused: {service.model.refused}"] if service.model.refused else []
    if service.entries_ahead:  # details are in the log only, as this path needs no key
        warnings.append("the journal has entries dated ahead of this machine's clock: the log names them")
    try:
        await service.check_journal()
    except (JournalError, TimeoutError) as error:
        if service.settings.journal.required and service.settings.journal.predictions:
            raise journal_problem(error) from None
        warnings.append("the journal does not answer")
    if service.settings.demonstration:
        warnings.append(service.settings.banner)
    return as_json({"status": "ready", "model_version": served.version, "warnings": warnings})


@router.get(
    "/metrics",
    operation_id="get_metrics",
    summary="Get metrics for Prometheus",
    response_class=Response,
    responses=PLAIN | documented(400, 401, 403, 429),
)
async def metrics(request: Request) -> Response:
    """Return metrics in Prometheus' text format; they include the model's quality and the churn rate."""
    service: Service = request.app.state.service
    if not service.settings.api.public_metrics:
        admitted(request, "metrics")
    return Response(service.metrics.text(), headers={"content-type": CONTENT_TYPE})
