"""Steps put in order, thin: the main job, monitoring, retraining, deployment."""
