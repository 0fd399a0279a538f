"""The Models page: deployments, challengers, retraining runs and rollback."""
