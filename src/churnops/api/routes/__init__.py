"""Routes of the application, a file for each subject; `shared.py` has their common steps.

`POST /predict` is in `churnops.api.predict`, in front of the framework.
"""

from churnops.api.routes import (
    decision,
    description,
    experiments,
    features,
    health,
    labels,
    model,
    predict,
    predictions,
    what_if,
)

ROUTERS = tuple(
    module.router
    for module in (predict, what_if, features, labels, predictions, model, decision, experiments, health, description)
)
"""Routers in the order of the OpenAPI document."""
