"""The Monitoring page: whether the deployed model can still be believed."""
