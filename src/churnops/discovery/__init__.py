"""Find out what a customer table holds, and write a `config.yaml` for it.

`survey` counts (with `facts` and `counts`), `kinds` decides what a column is (with `described`, `naming` and `levels`),
`target` finds the outcome, `leaks` finds columns that contain it, and `config_text` writes the decisions down.
"""
