"""Decisions on scores: whom to contact, beside the model and changed without training.

`policy` holds the decision policy, `in_force` reads and sets it, `profit` computes expected profit. `what_if` searches
the smallest change that brings a customer below the threshold.
"""
