"""Routes of the application, a file for each subject; `shared.py` has the steps that several take.

`POST /predict` is not here: `churnops.api.predict` answers it in front of the framework.
"""

from churnops.api.routes import description, health, labels, model, predict, predictions

ROUTERS = tuple(module.router for module in (predict, labels, predictions, model, health, description))
"""In the order of the OpenAPI document."""
