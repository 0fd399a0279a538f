"""Decisions on scores: whom to contact, beside the model and changed without training.

`policy` holds the decision policy, `in_force` reads and sets it, `profit` computes expected profit.
"""
