"""Checks of `deploy/terraform` against the types that the providers published."""
