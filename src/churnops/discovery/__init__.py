"""Find out what a customer table holds, and write a `config.yaml` for it.

`survey` counts, `kinds` decides what a column is, `leaks` finds columns that contain the outcome, and `config_text`
writes the decisions down.
"""
