"""The HTTP service: explained predictions by the deployed Bundle, outcomes that arrive later, health and metrics.

`main.py` makes the application, `served.py` holds the deployed model, and `customers.py` checks customers. The paths
are in `routes/`; `predict.py` is the fast path of `POST /predict`. Every request passes through `guard.py`.
"""
