"""Sentences for each trigger and caution of monitoring, in alerts and on the dashboard: event, doubt and next step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TriggerMessage:
    """Sentences for one trigger or caution.

    Attributes
    ----------
    severity
        Severity of its alert, unless the caution has its own.
    event
        Sentence for a trigger that fired, without a full stop.
    doubt
        Sentence for a big difference that is not certain yet, without a capital letter.
    todo
        Next step, in Markdown.
    """

    severity: Literal["critical", "warning"]
    event: str
    doubt: str
    todo: str


MESSAGES: Mapping[str, TriggerMessage] = {
    "performance": TriggerMessage(
        "critical",
        "Predictions are worse than expected",
        "predictions may be worse than expected",
        "Do not rely on the scores. `churnops retrain` trains a new model and deploys it only if it is better.",
    ),
    "feature_drift": TriggerMessage(
        "warning",
        "Customers changed",
        "customers may have changed",
        "Check whether the customers changed or only the data about them; then run `churnops retrain`.",
    ),
    "prediction_drift": TriggerMessage(
        "warning",
        "Churn scores changed",
        "churn scores may have changed",
        "See which columns drifted. If the customers really changed, run `churnops retrain`.",
    ),
    "target_drift": TriggerMessage(
        "warning",
        "The churn rate changed",
        "the churn rate may have changed",
        "Check that outcomes are recorded as before. If the churn rate really changed, run `churnops retrain`.",
    ),
    "broken_columns": TriggerMessage(
        "warning",
        "Data about customers is broken",
        "data about customers may be broken",
        "Repair the feed of these columns. Do not train a model on this data.",
    ),
    "wrong_predictions": TriggerMessage(
        "warning",
        "More predictions are wrong than expected",
        "more predictions may be wrong than expected",
        "Check whether the threshold still fits (`churnops decision show`). Retrain only if ROC-AUC falls too.",
    ),
    "training_rows": TriggerMessage(
        "warning",
        "Training rows came back as production customers",
        "training rows may have come back as production customers",
        "Find out why they are in the data. Until they are left out, the figures are better than for new customers.",
    ),
    "unknown_levels": TriggerMessage(
        "warning",
        "Customers have new levels",
        "customers may have new levels",
        "If the spelling changed, repair the feed. If the levels are new, add them to `choices` and train again.",
    ),
}
