"""The runner of steps: MLflow runs, parameters, metrics, artifacts and models. With `registry`, the home of MLflow.

MLflow takes a second to import, so it is imported inside functions, never by `churnops --help` or the API.
"""

from churnops.tracking.runner import PipelineRun, Tracker

__all__ = ["PipelineRun", "Tracker"]
