"""The decision policy in requests and answers."""

from typing import Any

from churnops.api.strict_json import parse_json
from churnops.decision.policy import DecisionPolicy
from churnops.errors import PolicyError

MAX_VALUES = 50
RECORDED = ("version", "at", "by")
"""Fields that the service gives a policy."""
EXAMPLE: dict[str, Any] = {
    "reason": "spring campaign",
    "contacts": 120,
    "cost": 10.0,
    "value": 200.0,
    "success_rate": 0.25,
    "currency": "EUR",
}


class DecisionAnswer(DecisionPolicy):
    """The decision policy in force. Its version is 0 if nobody has set one.

    `threshold_in_force` is the lowest probability of a flagged customer, `own_threshold` that of the deployed model.
    """

    threshold_in_force: float | None
    own_threshold: float | None


def decision_schema() -> dict[str, Any]:
    """Return the JSON Schema of a request that sets the policy."""
    schema = DecisionPolicy.model_json_schema()
    properties = {name: field for name, field in schema["properties"].items() if name not in RECORDED}
    described = {"title": "Decision", "description": "A decision policy as a whole, with the reason of the change."}
    return {**schema, **described, "properties": properties, "required": ["reason"]}


def read_decision(body: bytes) -> DecisionPolicy:
    """Return the policy of a request, with its reason.

    Raises
    ------
    Problem
        400 if the body is not JSON.
    PolicyError
        If the policy is not valid.
    """
    document = parse_json(body, MAX_VALUES)
    if not isinstance(document, dict):
        raise PolicyError("send a JSON object")
    if given := [name for name in RECORDED if name in document]:
        raise PolicyError(f"leave out {given[0]}: the service records it")
    return DecisionPolicy.read(document, quoted=False)
