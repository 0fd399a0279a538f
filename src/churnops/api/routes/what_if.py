"""Route of what if: the smallest change that brings one customer below the threshold."""

import numpy as np
from fastapi import APIRouter, Request, Response

from churnops.api.body import read_body
from churnops.api.predict import MAX_CUSTOMER_BYTES
from churnops.api.problems import REFUSALS, Problem, documented
from churnops.api.routes.shared import admitted
from churnops.api.served import Served
from churnops.api.strict_json import parse_json
from churnops.api.work import LOOP_BYTES, Steps
from churnops.decision.what_if import actionable, smallest_change
from churnops.errors import ChurnopsError
from churnops.wire import ChangedColumn, WhatIfAnswer

router = APIRouter(tags=["predictions"])


@router.post(
    "/predict/what-if",
    operation_id="predict_what_if",
    summary="Find the smallest change of one customer",
    response_model=WhatIfAnswer,
    responses=documented(*REFUSALS),
)
async def predict_what_if(request: Request) -> Response:
    """Find the smallest change of actionable columns that brings a customer below the threshold; nothing is recorded.

    It describes the model, not causes: a real change may have another effect.
    """
    service = admitted(request, "predict")
    served = service.model.require()
    request.scope["state"]["model_version"] = served.version
    names = actionable(served.bundle.schema, service.settings.table)
    limits = service.settings.api
    body = await read_body(request.scope, request.receive, MAX_CUSTOMER_BYTES, limits.timeout_seconds)
    # As a body that is computed in a thread, because thousands of values are scored.
    answer = await service.work.compute(request.receive, LOOP_BYTES + 1, _searched(served, names, body))
    return Response(answer.model_dump_json(), media_type="application/json")


def _searched(served: Served, names: tuple[str, ...], body: bytes) -> Steps[WhatIfAnswer]:
    form, bundle = served.form, served.bundle
    record = form.read(parse_json(body, form.max_values))
    yield
    try:
        result = smallest_change(bundle, form.encode_one(record), names, bundle.threshold)
    except ChurnopsError:
        raise Problem(422, "no-score", "a value is too large for the model to score") from None
    return WhatIfAnswer(
        churn_probability=result.before,
        threshold=bundle.threshold,
        columns=list(names),
        below_threshold=result.below,
        changes=[
            ChangedColumn(
                column=change.name,
                before=record[change.name],
                after=form.example({change.name: np.array([change.after])})[change.name],
                distance=change.distance,
            )
            for change in result.changes
        ],
        changed_probability=result.probability,
        model_version=served.version,
    )
