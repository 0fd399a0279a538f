"""The Monitoring page: whether the deployed model is still reliable."""
