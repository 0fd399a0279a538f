"""Invented customers and answers for the documentation.

They come from the Schema alone, because anybody may read the document: it shows nothing that the model learned.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil, floor
from typing import Any

from churnops import __version__
from churnops.api.customer_fields import MAX_WHOLE
from churnops.api.customers import CustomerForm
from churnops.api.decision import EXAMPLE as DECISION
from churnops.api.decision import DecisionAnswer
from churnops.experiments.experiment import CONTACTS
from churnops.schema import Column, Schema

IDENTIFIER = "C-1001"
LABEL = {"customer_id": IDENTIFIER, "churned": True, "outcome_at": "2026-01-31T00:00:00Z"}
CONTACT = {"customer_id": IDENTIFIER, "status": "reached", "note": "calls back on Friday"}
LIST_REQUEST = {"contacts": 100, "days": 30, "name": "Week 48"}
_COARSE = 10.0  # a wider range gets a whole number
_PLAIN = 1e6  # in a wider range, the middle is no typical value
_BASE = 0.15
_SHARES = (0.5, 0.2, -0.1, 0.05, -0.03, 0.02)  # of the first features, in the order of their size
_VERSION = "random_forest-0123456789ab"
_PREDICTION = "01a22671-8caa-7b0e-b71f-f08d4fd740dc"
_TIME = "2026-01-01T00:00:00Z"
_LOOK = {
    "at": _TIME,
    "verdict": "better",
    "reason": "log loss is lower by 0.0193 on 2,400 customers (331 churned): the gain is above the required 0.005",
    "decided_on": "2026-01-01",
    "scored": 9000,
    "due": 2450,
    "labelled": 2400,
    "churned": 331,
    "late": 12,
    "without_id": 0,
    "champion_log_loss": 0.2412,
    "challenger_log_loss": 0.2219,
    "gain": 0.0193,
    "low": 0.0021,
    "high": 0.0365,
    "required_gain": 0.005,
    "level": 0.02,
    "futility_level": 0.05,
    "labels_needed": None,
    "days_needed": None,
}
_SHADOW = {
    "id": 1,
    "version": 7,
    "champion": _VERSION,
    "challenger": "xgboost-ba9876543210",
    "share": 1.0,
    "started_at": _TIME,
    "by": "ann",
    "why": "",
    "state": "success",
    "ended_at": _TIME,
    "ended_by": "the evidence",
    "ended_why": _LOOK["reason"],
    "dropped": 0,
    "look": _LOOK,
    "note": CONTACTS,
}


def example_customer(form: CustomerForm) -> dict[str, Any]:
    """Return a customer as in a request: each required column, and an id.

    A number is the middle of its declared range; a category or flag has its first choice.
    """
    given = {form.identifier: IDENTIFIER} if form.identifier else {}
    return given | {column.name: example_value(column) for column in form.schema.model_inputs}


def example_value(column: Column) -> Any:
    """Return a valid value of a column; None if its range is empty.

    Examples
    --------
    >>> example_value(Column(name="calls", kind="integer", minimum=1, maximum=1000))
    500
    >>> example_value(Column(name="bill", kind="number", minimum=0.25))
    1.0
    >>> example_value(Column(name="plan", kind="flag", choices=("No", "Yes")))
    'No'
    """
    if column.choices:
        return column.choices[0]
    if column.kind == "date":
        return "2024-03-05"
    low = float("-inf") if column.minimum is None else column.minimum
    high = float("inf") if column.maximum is None else column.maximum
    middle = low / 2 + high / 2 if max(-low, high) <= _PLAIN else 1.0
    if column.kind == "integer":
        first, last = ceil(max(low, -MAX_WHOLE)), floor(min(high, MAX_WHOLE))
        return None if first > last else min(max(floor(middle), first), last)
    return min(max(float(round(middle)) if high - low > _COARSE else middle, low), high)


def example_answers(schema: Schema | None, paths: Sequence[str]) -> Mapping[tuple[str, str], Any]:
    """Return an answer of each operation, by method and path.

    Parameters
    ----------
    schema
        The deployed model's Schema; None if no model is deployed.
    paths
        All paths of the service.
    """
    inputs = schema.model_inputs if schema else ()
    probe = _probe([column.name for column in inputs])
    prediction = {"prediction_id": _PREDICTION} | probe
    recorded = prediction | {"at": _TIME, "customer_id": IDENTIFIER}
    recorded |= {
        "inputs": {column.name: example_value(column) for column in inputs},
        "outcome": {"churned": True, "known_at": _TIME},
    }
    decided = DecisionAnswer(
        **DECISION, version=3, at=datetime.fromisoformat(_TIME), by="ann", threshold_in_force=0.5, own_threshold=0.5
    ).model_dump(mode="json")
    ready = {"status": "ready", "model_version": _VERSION, "warnings": []}
    return {
        ("post", "/predict"): prediction,
        ("post", "/predict/batch"): [prediction],
        ("post", "/predict/probe"): [probe],
        ("post", "/predict/what-if"): _what_if(schema, probe),
        ("post", "/features"): {"stored": 1, "older": 0},
        ("post", "/labels"): {"recorded": 1, "unchanged": 0, "unmatched": 0},
        ("post", "/call-lists"): _call_list(),
        ("get", "/call-lists"): {"call_lists": [_call_list()]},
        ("get", "/call-lists/{id}"): _call_list() | {"customers": [_LISTED]},
        ("post", "/contacts"): {"recorded": 1},
        ("get", "/predictions/{prediction_id}"): recorded,
        ("get", "/model"): _model(schema, probe),
        ("post", "/model/reload"): ready,
        ("get", "/decision"): decided,
        ("put", "/decision"): decided,
        ("get", "/experiments/shadow"): _SHADOW,
        ("get", "/health/live"): {"status": "live", "model_version": None, "warnings": []},
        ("get", "/health/ready"): ready,
        ("get", "/metrics"): f'churnops_predictions_total{{churn="true",model_version="{_VERSION}"}} 1.0\n',
        ("get", "/"): {
            "service": "churnops",
            "version": __version__,
            "documentation": "/docs",
            "paths": [*paths],
        },
    }


_LISTED = {
    "place": 1,
    "customer_id": IDENTIFIER,
    "churn_probability": 0.87,
    "value": 200.0,
    "expected_profit": 33.5,
    "reasons": ["calls customer service often (5)"],
    "action": "call back and settle the complaint",
    "status": "to do",
    "note": "",
}


def _call_list() -> dict[str, Any]:
    profit = {"expected": 2350.0, "low": 1900.0, "high": 2790.0, "confidence": 0.95, "basis": "calibration and chance"}
    head = {
        "customers": 100,
        "scored": 1667,
        "source": "journal",
        "until": _TIME,
        "rule": "contacts",
        "ended_by": "limit",
        "cut_off": 0.31,
        "cost": 1000.0,
        "profit": profit,
        "left_out": {"contacted": 12},
        "policy": {"contacts": 100, "cost": 10.0, "value": 200.0, "success_rate": 0.25, "currency": "EUR"},
        "model_version": _VERSION,
        "health": {"level": "good", "word": "Healthy", "sentence": "The model works as in its evaluation."},
    }
    return {"id": 7, "name": "Week 48", "at": _TIME, "by": "campaigns", "head": head}


def _probe(features: Sequence[str]) -> dict[str, Any]:
    shares = _SHARES[: len(features)]
    probability = round(_BASE + sum(shares), 2)
    return {
        "churn_probability": probability,
        "churn_prediction": probability >= 0.5,
        "base_value": _BASE,
        "explanation_scale": "probability",
        "top_shap_features": [
            {"feature": name, "shap_value": share} for name, share in zip(features, shares, strict=False)
        ],
        "model_version": _VERSION,
    }


def _what_if(schema: Schema | None, probe: Mapping[str, Any]) -> dict[str, Any]:
    levels = (column for column in (schema.model_inputs if schema else ()) if len(column.choices) > 1)
    changes = [{"column": c.name, "before": c.choices[0], "after": c.choices[1], "distance": 0.5} for c in levels][:1]
    return {
        "churn_probability": probe["churn_probability"],
        "threshold": 0.5,
        "columns": [change["column"] for change in changes],
        "below_threshold": bool(changes),
        "changes": changes,
        "changed_probability": 0.35 if changes else probe["churn_probability"],
        "model_version": _VERSION,
    }


def _model(schema: Schema | None, probe: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model_version": _VERSION,
        "algorithm": _VERSION.partition("-")[0],
        "content_sha256": "0123456789ab" + "0" * 52,
        "deployment": "20260101T000000.000000Z-random_forest-v1",
        "loaded_at": _TIME,
        "threshold": 0.5,
        "explanation_scale": probe["explanation_scale"],
        "base_value": probe["base_value"],
        "features": [
            {"name": column.name, "description": column.description, "expression": column.name}
            for column in (schema.model_inputs if schema else ())
        ][:1],
        "metrics": {},
        "lineage": {},
        "schema": {"columns": [column.model_dump(mode="json") for column in (schema.columns if schema else ())][:1]},
    }
