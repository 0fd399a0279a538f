"""The fast path of `POST /predict`: an ASGI application in front of the framework.

An ordinary route takes 1.8 times as long: FastAPI and its middleware need about as much time as the work on a customer
(reading, scoring, explaining and recording).
"""

from collections.abc import Mapping

from fastapi import FastAPI
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from churnops.api.body import read_body
from churnops.api.customers import NamedCustomer
from churnops.api.online import Customer, Stored, columns_of, stored_rows, with_times
from churnops.api.predictions import of_model, unknown_levels
from churnops.api.problems import Problem
from churnops.api.service import Service
from churnops.api.strict_json import parse_json
from churnops.traces import span

MAX_CUSTOMER_BYTES = 64 * 1024


class Predict:
    """ASGI application of `POST /predict`: scores and explains one customer, and records the answer before sending."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] != "POST":
            raise Problem(405, "method-not-allowed", "this path accepts POST only", headers={"Allow": "POST"})
        service: Service = self._app.state.service
        state = scope["state"]
        state["client"] = service.access.admit(scope, "predict")
        body = await read_body(scope, receive, MAX_CUSTOMER_BYTES, service.settings.api.timeout_seconds)
        served = service.model.require()
        state["model_version"] = served.version
        with span("check"):
            document = parse_json(body, served.form.max_values)
            customer: Customer = served.form.named(document) or served.form.read(document)
        stored: Mapping[str, Stored] = {}
        if isinstance(customer, NamedCustomer):
            stored = await stored_rows(service, receive, [customer], numbered=False)
        record, row = columns_of(served.form, customer, stored)
        answers, rows = service.split.answer(served, [record], state["client"].key)
        with_times(answers, [row])
        state["model_version"] = answers[0]["model_version"]  # in a split, maybe the challenger's
        await service.recorder.record(rows)
        service.recorder.count_unknown(unknown_levels(answers))
        if service.live is not None and of_model(served, rows):
            service.live.add_one(served, record, rows[0].churn_probability)
        content = to_json(answers[0])
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})
