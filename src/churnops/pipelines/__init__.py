"""Steps put in order, thin: the main job, monitoring, retraining, deployment, scoring of files."""
