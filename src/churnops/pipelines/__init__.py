"""Pipelines, each a thin sequence of steps: the main job, monitoring, retraining, deployment."""
