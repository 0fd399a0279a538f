"""Routes of experiments."""

from functools import partial

from fastapi import APIRouter, Request, Response

from churnops.api.problems import Problem, documented
from churnops.api.routes.shared import admitted, as_json, journal_problem
from churnops.errors import JournalError
from churnops.experiments.shadow import described
from churnops.wire import ShadowAnswer

router = APIRouter(tags=["experiments"])


@router.get(
    "/experiments/shadow",
    operation_id="get_shadow",
    summary="Describe the newest shadow",
    response_model=ShadowAnswer,
    responses=documented(400, 401, 403, 404, 429, 503),
)
async def shadow(request: Request) -> Response:
    """Return the newest shadow and its newest look, running or ended. The service looks at the evidence every hour."""
    service = admitted(request, "predict")
    try:
        newest = await service.work.ask(request.receive, partial(service.project.experiments.newest, kind="shadow"))
    except JournalError as error:
        raise journal_problem(error) from None
    if not newest:
        raise Problem(404, "no-shadow", "no shadow was started yet: `churnops shadow start VERSION` starts one")
    return as_json(described(newest[0]).model_dump(mode="json"))
