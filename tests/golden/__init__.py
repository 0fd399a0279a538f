"""Golden answers: answers of commands, API and files to fixed inputs in a copy of the fixture project.

A change without an intended effect leaves `answers/` unchanged. A commit that changes answers on purpose contains them,
written by `python -m tests.golden --write`.
"""
