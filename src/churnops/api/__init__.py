"""The HTTP service: explained predictions, outcomes that arrive later, health and metrics, on the deployed Bundle.

`main.py` is the application, `served.py` the model under it, `customers.py` reads what clients send, `routes/` has the
paths, `predict.py` the fast path of `POST /predict`, and `guard.py` stands in front of every request.
"""
