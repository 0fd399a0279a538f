"""Models of the API's answers: the service writes them, and the dashboard and the deployment check read them.

A new field needs a default, because a reader must accept answers of earlier versions.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import TypeAliasType

PROBLEM = "urn:churnops:problem:"
"""Prefix of each error's type."""

MAX_NAME = 500  # characters


def _short(name: str) -> str:
    if len(name) > MAX_NAME:
        raise ValueError(f"more than {MAX_NAME} characters")
    return name


Name = Annotated[str, AfterValidator(_short)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Scale = TypeAliasType("Scale", Literal["log-odds", "probability"])
"""Scale of contributions; an alias with a name is one type in the OpenAPI document."""


class ShapFeature(BaseModel):
    """Contribution of one feature to the difference between score and base value, on the explanation scale."""

    feature: str
    shap_value: Finite


class ProbeAnswer(BaseModel):
    """An explained probability of churn that is not recorded."""

    churn_probability: Annotated[float, Field(ge=0.0, le=1.0)]
    churn_prediction: bool
    base_value: Finite
    explanation_scale: Scale
    top_shap_features: list[ShapFeature]
    model_version: Name
    warnings: list[str] = Field([], description="Contradictions between the customer's fields; absent if there is none")
    unknown: list[str] = Field(
        [], description="Columns whose level the model does not have, so it is scored as other; absent if there is none"
    )
    decision_version: int | None = Field(
        None, description="Version of the decision policy behind churn_prediction; absent if nobody has set a policy"
    )
    experiment_arm: Literal["champion", "challenger"] | None = Field(
        None, description="The customer's arm while a split runs; absent otherwise"
    )


class PredictionAnswer(ProbeAnswer):
    """An explained probability of churn, recorded with an id."""

    prediction_id: Name
    columns_at: datetime | None = Field(
        None, description="Time of the stored columns; absent if the request had the columns"
    )


class ChangedColumn(BaseModel):
    """Change of one column; `distance` is the share of customers between both values, and 0.5 for a flag or level."""

    column: Name
    before: float | str
    after: float | str
    distance: Finite


class WhatIfAnswer(BaseModel):
    """Smallest change that was found for a customer. It describes the model, not causes."""

    churn_probability: Annotated[float, Field(ge=0.0, le=1.0)]
    threshold: Finite
    columns: list[str] = Field(description="Actionable columns of the model")
    below_threshold: bool = Field(description="Whether the probability with the changes is below the threshold")
    changes: list[ChangedColumn] = Field(description="Empty if no change is needed, or none lowers the probability")
    changed_probability: Annotated[
        float,
        Field(ge=0.0, le=1.0, description="Probability with the changes; if not below, the lowest that was found"),
    ]
    model_version: Name


class Outcome(BaseModel):
    """Outcome of the customer; `churned` is null while it is unknown."""

    churned: bool | None
    known_at: datetime | None


class RecordedAnswer(BaseModel):
    """A recorded prediction with its inputs and outcome."""

    prediction_id: str
    at: datetime
    customer_id: str | None
    model_version: str
    churn_probability: float
    churn_prediction: bool
    base_value: float | None
    explanation_scale: str | None
    top_shap_features: list[ShapFeature] | None
    inputs: dict[str, Any]
    outcome: Outcome


class LabelsAnswer(BaseModel):
    """Numbers of new outcomes, of outcomes known already, and of outcomes in either group without a prediction.

    Unmatched outcomes are also recorded, because a prediction for the customer may follow. `unmatched` is null while
    the service has not yet indexed the customers of all predictions.
    """

    recorded: int
    unchanged: int
    unmatched: int | None


class StoredAnswer(BaseModel):
    """Numbers of stored rows, and of rows that are older than another one of the same customer."""

    stored: int
    older: int


class CallListHealth(BaseModel):
    """State of the model when a call list was made."""

    level: Literal["good", "watch", "bad", "unknown"]
    word: str
    sentence: str


class CallListProfit(BaseModel):
    """Expected profit of a call list.

    With the stated confidence, the realised profit lies between `low` and `high`. `basis` names what this accounts for;
    success rate and value of the policy are assumptions.
    """

    expected: Finite
    low: Finite
    high: Finite
    confidence: float
    basis: Literal["calibration and chance", "chance"]


class CallListHead(BaseModel):
    """Numbers of a call list.

    `scored` customers have a score, the newest from `until` at the latest. `cut_off` is the lowest probability on the
    list. `left_out` counts customers who would be on the list but for the reason: contacted, listed, left, or without
    value.
    """

    customers: int
    scored: int
    source: str
    until: datetime | None = None
    rule: Literal["threshold", "budget", "contacts"]
    ended_by: str = Field("", description="Reason why the list has no more customers")
    cut_off: float | None = None
    cost: Finite | None = None
    profit: CallListProfit | None = None
    left_out: dict[str, int] = {}
    policy: dict[str, Any] = {}
    model_version: str = ""
    health: CallListHealth | None = None


class ListedCustomerAnswer(BaseModel):
    """A customer of a call list, with what became of contacting them."""

    place: int
    customer_id: str
    churn_probability: float
    value: Finite | None
    expected_profit: Finite | None
    reasons: list[str]
    action: str
    status: str
    note: str


class CallListSummary(BaseModel):
    """A call list without its customers."""

    id: int
    name: str
    at: datetime
    by: str | None
    head: CallListHead


class CallListAnswer(CallListSummary):
    """A call list with its customers, in the order of expected profit."""

    customers: list[ListedCustomerAnswer]


class CallListsAnswer(BaseModel):
    """Kept call lists, newest first."""

    call_lists: list[CallListSummary]


class ContactsAnswer(BaseModel):
    """Number of recorded contacts."""

    recorded: int


class FeatureAnswer(BaseModel):
    """A feature of the model."""

    name: str
    description: str
    expression: str


class ModelAnswer(BaseModel):
    """The deployed model."""

    model_version: Name
    algorithm: str
    content_sha256: str
    deployment: str
    loaded_at: datetime
    threshold: Finite = Field(description="Lowest probability of a flagged customer, by the decision policy in force")
    decision_version: int | None = Field(
        None, description="Version of the decision policy; absent if nobody has set one"
    )
    explanation_scale: str
    base_value: float
    features: list[FeatureAnswer]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    table: dict[str, Any] = Field(alias="schema")


class HealthAnswer(BaseModel):
    """State of the service; `warnings` has problems that do not stop it from answering."""

    status: Literal["live", "ready"]
    model_version: str | None
    warnings: list[str]


class IndexAnswer(BaseModel):
    """The service, its version and its paths; `demonstration` is the notice of a demonstration."""

    service: str
    version: str
    documentation: str
    paths: list[str]
    demonstration: str = ""


class FieldError(BaseModel):
    """An invalid field and the rule that it breaks; in a list of customers, `row` counts from 1."""

    field: str | None = None
    rule: str
    message: str
    row: int | None = None


class ProblemBody(BaseModel):
    """An error as a problem document (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldError] | None = None


ShadowVerdict = Literal["better", "not better", "cannot tell"]


class ShadowLook(BaseModel):
    """Evidence of a shadow at one time. Differences are in nats, above 0 if the challenger is better.

    Both bounds hold at all looks together: `low` is ever too high with probability `level`, and `high` ever too low
    with probability `futility_level`. They are null while there is no evidence.
    """

    at: datetime
    verdict: ShadowVerdict
    reason: str
    decided_on: date | None = Field(None, description="Day of the first look that ended the shadow")
    scored: int = Field(description="Predictions that both models have scored")
    due: int = Field(description="Customers whose label horizon has ended")
    labelled: int = Field(description="Due customers with a known outcome: the evidence")
    churned: int = Field(description="Those of them who left")
    late: int = Field(description="Outcomes that became known, or were corrected, over a day after they were due")
    without_id: int = Field(description="Due predictions without a customer id; each counts as a customer")
    champion_log_loss: Finite | None
    challenger_log_loss: Finite | None
    gain: Finite | None
    low: Finite | None
    high: Finite | None
    required_gain: Finite
    level: Finite
    futility_level: Finite
    labels_needed: int | None = Field(None, description="Further due outcomes that prove a gain of this size")
    days_needed: int | None = Field(None, description="Days until they are due, at the present rate")


class ShadowAnswer(BaseModel):
    """A shadow, and the evidence so far; `look` is null before the first look."""

    id: int
    version: int
    champion: Name
    challenger: Name
    share: Finite
    started_at: datetime
    by: str
    why: str
    state: Literal["running", "success", "futility", "stopped"]
    ended_at: datetime | None
    ended_by: str | None
    ended_why: str | None
    dropped: int = Field(description="Answered customers that the challenger did not score")
    look: ShadowLook | None
    note: str = Field(description="Limit of the comparison that every report states")
