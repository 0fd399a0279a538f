"""Routes of the application, a file for each subject; `shared.py` has their common steps.

`POST /predict` is in `churnops.api.predict`, in front of the framework.
"""

from churnops.api.routes import (
    call_lists,
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

_MODULES = (
    predict,
    what_if,
    features,
    labels,
    predictions,
    call_lists,
    model,
    decision,
    experiments,
    health,
    description,
)
ROUTERS = tuple(module.router for module in _MODULES)
"""Routers in the order of the OpenAPI document."""
