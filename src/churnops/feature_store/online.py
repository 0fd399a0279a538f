"""Rows of customers from Feast's feature server (`feast serve`), over HTTP."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from pydantic import BaseModel

from churnops.client import Client, NoReply
from churnops.errors import ChurnopsError
from churnops.feature_store.repository import SERVICE

PART = 500
"""Number of customers in one question."""
SECONDS = 5.0  # for one answer
MAX_BYTES = 16 * 2**20  # of one answer
PRESENT = "PRESENT"
ABSENT = ("NOT_FOUND", "OUTSIDE_MAX_AGE")


class FeatureStoreError(ChurnopsError):
    """Feast's feature server does not answer, or refuses the request."""


class FeastRow(NamedTuple):
    """Known features of a customer by name, and the time from which they hold."""

    at: datetime
    record: dict[str, Any]


class _Metadata(BaseModel):
    feature_names: list[str]


class _ServedColumn(BaseModel):
    values: list[Any]
    statuses: list[str]
    event_timestamps: list[datetime]


class _ServedColumns(BaseModel):
    """Answer of `POST /get-online-features`: a result for each name, with a value for each customer."""

    metadata: _Metadata
    results: list[_ServedColumn]

    def fits(self, customers: int) -> bool:
        """Whether there is a value of each feature for each customer."""
        lists = (each for r in self.results for each in (r.values, r.statuses, r.event_timestamps))
        return len(self.results) == len(self.metadata.feature_names) and all(len(v) == customers for v in lists)


class FeastRows:
    """Newest rows of customers in Feast's online store.

    Safe for several threads at once.

    Parameters
    ----------
    url
        Address of the feature server.
    identifier
        Name of the column of kind `id`, which is Feast's join key.
    """

    def __init__(self, url: str, identifier: str) -> None:
        self._client = Client(url, "", setting="features.feast_url", variable="")
        self._url = url
        self._identifier = identifier

    def rows(self, customers: Sequence[str]) -> dict[str, FeastRow]:
        """Return the newest rows of customers, by id; customers without a current row are left out.

        Raises
        ------
        FeatureStoreError
            If the server does not answer in time, or not with features.
        """
        rows: dict[str, FeastRow] = {}
        for start in range(0, len(customers), PART):
            part = customers[start : start + PART]
            rows |= self._rows(part, self._ask(part))
        return rows

    def _ask(self, customers: Sequence[str]) -> _ServedColumns:
        question = {"feature_service": SERVICE, "entities": {self._identifier: list(customers)}}
        body = json.dumps(question).encode()
        try:
            reply = self._client.ask("/get-online-features", seconds=SECONDS, body=body, max_bytes=MAX_BYTES)
        except NoReply as error:
            raise FeatureStoreError(f"Feast's feature server at {self._url} {error}") from None
        answer = reply.read(_ServedColumns) if reply.status == 200 else None
        if answer is None or not answer.fits(len(customers)):
            raise FeatureStoreError(
                f"Feast's feature server at {self._url} has no features of the service '{SERVICE}' (status "
                f"{reply.status}): run `feast apply` and `feast materialize`"
            )
        return answer

    def _rows(self, customers: Sequence[str], answer: _ServedColumns) -> dict[str, FeastRow]:
        named = dict(zip(answer.metadata.feature_names, answer.results, strict=True))
        named.pop(self._identifier, None)
        rows = {}
        for place, customer in enumerate(customers):
            held = {name: feature for name, feature in named.items() if feature.statuses[place] not in ABSENT}
            if held:
                at = max(feature.event_timestamps[place] for feature in held.values())
                known = {name: f.values[place] for name, f in held.items() if f.statuses[place] == PRESENT}
                rows[customer] = FeastRow(at, known)
        return rows
