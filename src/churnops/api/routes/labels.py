"""Route of labels: outcomes that arrive later."""

from contextlib import closing

from fastapi import APIRouter, Request, Response

from churnops.api.labels import read_labels
from churnops.api.problems import REFUSALS, Problem, documented, journal_problem
from churnops.api.routes.shared import admitted, as_json, computed, key_of
from churnops.api.work import Steps
from churnops.errors import JournalError, UnknownPrediction
from churnops.journal.labels import Label
from churnops.wire import LabelsAnswer

router = APIRouter(tags=["outcomes"])


@router.post(
    "/labels",
    operation_id="record_outcomes",
    summary="Record outcomes",
    response_model=LabelsAnswer,
    responses=documented(404, *REFUSALS),
)
async def labels(request: Request) -> Response:
    """Record one outcome or a list. A missing outcome does not mean "stayed". To correct an outcome, send a new one."""
    service = admitted(request, "label")

    def read(body: bytes) -> Steps[list[Label]]:
        return read_labels(body, service.settings.api.max_batch_rows)

    with closing(service.work.held()) as held:
        outcomes = await computed(request, service, read, held)
    try:
        counts = await service.work.ask(request.receive, service.journal.record_labels, outcomes, key_of(request))
    except UnknownPrediction as error:
        detail = f"row {error.index + 1}: no prediction has this id"
        raise Problem(404, "unknown-prediction", detail) from None
    except JournalError as error:
        raise journal_problem(error) from None
    service.metrics.labels.inc(counts.recorded)
    service.metrics.unmatched_labels.inc(counts.unmatched or 0)
    return as_json({name: getattr(counts, name) for name in LabelsAnswer.model_fields})
