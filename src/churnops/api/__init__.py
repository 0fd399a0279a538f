"""The HTTP service: explained predictions, outcomes that arrive later, health and metrics, on the deployed Bundle.

`main.py` is the application, `served.py` the model under it, `customers.py` reads what clients send,
`predictions.py` and `uploads.py` answer, `guard.py` stands in front of every request.
"""
