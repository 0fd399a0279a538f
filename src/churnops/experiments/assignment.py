"""Assignment of customers to the arms of a split.

A customer's arm depends on nothing but the experiment's id, its share and the customer's id. So the API, files, batch
folders, clusters and replicas assign the same arm without asking each other.
"""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from churnops.schema import is_blank

Arm = Literal["champion", "challenger"]

_PLACES = 2.0**-53  # the digits of a double


def draw(experiment: int, customer_id: str) -> float:
    """Return a customer's place in an experiment, uniform in [0, 1) over customers.

    It is the first 53 bits of BLAKE2b (RFC 7693) of the id in UTF-8, keyed with the experiment's id, as a fraction. The
    key makes the places of two experiments independent.

    >>> round(draw(1, "C-1"), 6), round(draw(2, "C-1"), 6)
    (0.656027, 0.322943)
    """
    return (int.from_bytes(_digest(_key(experiment), customer_id), "big") >> 11) * _PLACES


@lru_cache(maxsize=1024)  # an answer asks twice
def arm_of(experiment: int, share: float, customer_id: str | None) -> Arm:
    """Return the arm of a customer: the challenger's with a place below `share`, in [0, 1].

    A customer without an id, or with a blank one, is the champion's: the same customer could not be recognized again.

    >>> arm_of(1, 0.7, "C-1"), arm_of(1, 0.7, None)
    ('challenger', 'champion')
    """
    if customer_id is None or is_blank(customer_id):
        return "champion"
    return "challenger" if draw(experiment, customer_id) < share else "champion"


def challengers(experiment: int, share: float, customer_ids: Iterable[str | None]) -> NDArray[np.bool_]:
    """Return whether each customer is the challenger's: `arm_of` for many customers, shape (n,).

    >>> challengers(1, 0.65, ["C-1", None, "C-2"]).tolist()
    [False, False, True]
    """
    ids = list(customer_ids)
    key = _key(experiment)
    digests = b"".join([_digest(key, id_ or "") for id_ in ids])
    places = (np.frombuffer(digests, dtype=">u8") >> np.uint64(11)) * _PLACES
    named = np.fromiter((id_ is not None and not is_blank(id_) for id_ in ids), np.bool_, len(ids))
    return (places < share) & named


def _key(experiment: int) -> bytes:
    return b"churnops split %d" % experiment


def _digest(key: bytes, customer_id: str) -> bytes:
    return blake2b(customer_id.encode("utf-8", "surrogatepass"), digest_size=8, key=key).digest()
