"""Answers of the API as models: the service writes and documents them, dashboard and deployment check read them.

A new field needs a default, or a reader would refuse a service of an earlier version.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field

PROBLEM = "urn:churnops:problem:"
"""Prefix of the type of every error."""

MAX_NAME = 500  # characters


def _short(name: str) -> str:
    if len(name) > MAX_NAME:
        raise ValueError(f"more than {MAX_NAME} characters")
    return name


Name = Annotated[str, AfterValidator(_short)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Scale = Literal["log-odds", "probability"]


class ShapFeature(BaseModel):
    """How much one feature moves this customer's score from the base value, on the explanation's scale."""

    feature: str
    shap_value: Finite


class ProbeAnswer(BaseModel):
    """A probability of churn and why, that is not recorded."""

    churn_probability: Annotated[float, Field(ge=0.0, le=1.0)]
    churn_prediction: bool
    base_value: Finite
    explanation_scale: Scale
    top_shap_features: list[ShapFeature]
    model_version: Name


class PredictionAnswer(ProbeAnswer):
    """A probability of churn and why; recorded under an id."""

    prediction_id: Name


class Outcome(BaseModel):
    """What became of the customer, as far as it is known; `churned` is null while it is not."""

    churned: bool | None
    known_at: datetime | None


class RecordedAnswer(BaseModel):
    """A prediction as it was answered, what it was answered from, and its outcome."""

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
    """How many outcomes were recorded, and how many were known already.

    `unmatched` of both are for a customer that the journal has no prediction of. They are kept, as the customer may be
    asked about later. It is null while the service still reads who was asked about before it was upgraded.
    """

    recorded: int
    unchanged: int
    unmatched: int | None


class FeatureAnswer(BaseModel):
    """One feature of the model, in words."""

    name: str
    description: str
    expression: str


class ModelAnswer(BaseModel):
    """The model that answers."""

    model_version: Name
    algorithm: str
    content_sha256: str
    deployment: str
    loaded_at: datetime
    threshold: Finite
    explanation_scale: str
    base_value: float
    features: list[FeatureAnswer]
    metrics: dict[str, Any]
    lineage: dict[str, Any]
    table: dict[str, Any] = Field(alias="schema")


class HealthAnswer(BaseModel):
    """How the service is; `warnings` say what needs attention while it answers."""

    status: Literal["live", "ready"]
    model_version: str | None
    warnings: list[str]


class FieldError(BaseModel):
    """One rule that one field breaks; in a list of customers, `row` counts from 1."""

    field: str | None = None
    rule: str
    message: str
    row: int | None = None


class ProblemBody(BaseModel):
    """An error as RFC 9457 writes it."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[FieldError] | None = None
