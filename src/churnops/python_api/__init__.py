"""The functions and classes of `import churnops`, for notebooks and programs.

Each does the same as the command of its name and returns the result instead of printing it. `docs/python.md` is their
page; its examples and those of the docstrings run in `tests/loop/test_python_api.py`.
"""
