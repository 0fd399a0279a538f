"""Routes of the decision policy."""

from fastapi import APIRouter, Request, Response

from churnops.api.body import read_body
from churnops.api.decision import DecisionAnswer, read_decision
from churnops.api.problems import Problem, documented
from churnops.api.routes.shared import admitted, as_json, journal_problem
from churnops.api.security import Caller
from churnops.api.service import Service
from churnops.decision.in_force import newest_policy, set_policy
from churnops.decision.policy import DecisionPolicy
from churnops.errors import JournalError, PolicyError

router = APIRouter(tags=["decision"])
MAX_BYTES = 16_384


@router.get(
    "/decision",
    operation_id="get_decision",
    summary="Get the decision policy",
    response_model=DecisionAnswer,
    responses=documented(400, 401, 403, 429),
)
async def get_decision(request: Request) -> Response:
    """Return the decision policy in force, and the threshold that follows from it."""
    return _answer(admitted(request, "predict"))


@router.put(
    "/decision",
    operation_id="set_decision",
    summary="Set the decision policy",
    response_model=DecisionAnswer,
    responses=documented(400, 401, 403, 408, 413, 415, 422, 429, 503),
)
async def set_decision(request: Request) -> Response:
    """Set the decision policy as a whole: a field that is left out has no value. The policy is in force at once.

    Other processes of the service follow within seconds. The version is recorded with the name of the API key.
    """
    service = admitted(request, "admin")
    limit = service.settings.api.timeout_seconds
    client: Caller = request.scope["state"]["client"]
    try:
        policy = read_decision(await read_body(request.scope, request.receive, MAX_BYTES, limit))
        if service.model.current is not None:
            policy = policy.in_table(service.model.current.bundle.schema, quoted=False)
        await service.work.housekeeping.run(_set, service, policy, client.name)
    except PolicyError as error:
        raise Problem(422, "validation", str(error)) from None
    except JournalError as error:
        raise journal_problem(error) from None
    await service.refresh_policy()
    return _answer(service)


def _set(service: Service, policy: DecisionPolicy, by: str) -> None:
    """Set a policy, unless it is in force already: a request may be sent again."""
    log = service.project.policies
    if newest_policy(log).terms() != policy.terms():
        set_policy(log, policy, by=by, reason=policy.reason)


def _answer(service: Service) -> Response:
    policy, served = service.model.policy, service.model.current
    answer = DecisionAnswer(
        **vars(policy),
        threshold_in_force=served.bundle.threshold if served else policy.threshold,
        own_threshold=served.bundle.own_threshold if served else None,
    )
    return as_json(answer.model_dump(mode="json"))
