"""Golden answers: what commands, API and files answer for fixed inputs in a copy of the fixture project.

A change that is to change nothing leaves `answers/` as it is. Where an answer changes on purpose, the same commit holds
the answers written again by `python -m tests.golden --write`.
"""
