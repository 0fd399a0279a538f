"""Route of customers' newest columns, for requests that name a customer only."""

from contextlib import closing

from fastapi import APIRouter, Request, Response

from churnops.api.features import read_rows
from churnops.api.problems import REFUSALS, Problem, documented, journal_problem
from churnops.api.routes.shared import admitted, as_json, computed
from churnops.api.work import Steps
from churnops.errors import DataError, JournalError
from churnops.journal.online_rows import NewRow, write_online_rows
from churnops.wire import StoredAnswer

router = APIRouter(tags=["predictions"])


@router.post(
    "/features",
    operation_id="store_features",
    summary="Store the newest columns of customers",
    response_model=StoredAnswer,
    responses=documented(*REFUSALS),
)
async def features(request: Request) -> Response:
    """Store the columns of customers, so that `/predict` needs their ids only. The newest row of a customer stays."""
    service = admitted(request, "features")
    served = service.model.require()

    def read(body: bytes) -> Steps[list[NewRow]]:
        return read_rows(served, body, service.settings.api.max_batch_rows)

    with closing(service.work.held()) as held:
        rows = await computed(request, service, read, held)
    engine = service.project.engine
    try:
        stored = await service.work.ask(request.receive, write_online_rows, engine, served.layout, rows)
    except DataError as error:
        raise Problem(422, "validation", str(error)) from None
    except JournalError as error:
        raise journal_problem(error) from None
    return as_json({"stored": stored, "older": len(rows) - stored})
