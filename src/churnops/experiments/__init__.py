"""Experiments: a challenger against the deployed model on live customers.

A shadow scores customers whom the deployed model answers; a split lets the challenger answer some of them. Both may be
looked at every day: their evidence holds at all looks together.
"""
