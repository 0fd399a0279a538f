"""The runner of steps: MLflow runs, parameters, metrics, artifacts and models.

Only this package and `registry` use MLflow. Its import takes seconds, so it is inside functions, and neither
`churnops --help` nor the API imports it.
"""

from churnops.tracking.pipeline_run import PipelineRun
from churnops.tracking.runner import Tracker

__all__ = ["PipelineRun", "Tracker"]
