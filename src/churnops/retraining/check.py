"""Check of a deployment: the running API must answer with the new model and with its probabilities."""

import json
import time
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator

from churnops.client import Client, NoReply, Reply
from churnops.data.read import decode
from churnops.errors import SettingsError
from churnops.model import Bundle
from churnops.settings import ENV_CHECK_KEY
from churnops.wire import HealthAnswer, ProbeAnswer

PROBE, READY = "/predict/probe", "/health/ready"
AGREEMENTS = 5  # right answers in a row, each over a new connection, because the API may have several workers
PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 10.0  # limit for one answer
MAX_ANSWER_BYTES = 2**20  # 32 customers take some KB
_LARGEST = 1e300

Status = Literal["passed", "failed", "not reached"]


@dataclass(frozen=True)
class Check:
    """Result of a check.

    Attributes
    ----------
    status
        `passed`: the API and the model give the same scores. `failed`: the earlier model should be restored. `not
        reached`: the API gave no answer, which is not the model's fault.
    reason
        One sentence.
    rows
        Customers compared in each request; 0 if none.
    seconds
        Duration of the check.
    """

    status: Status
    reason: str
    rows: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self)


def _bounded(number: Any) -> Any:
    return min(max(number, -_LARGEST), _LARGEST) if type(number) is int else number


class _Probed(ProbeAnswer):
    """Answer to one probe row. A number outside [0, 1] is accepted here, and fails the comparison."""

    churn_probability: Annotated[float, BeforeValidator(_bounded)]  # a JSON integer may be larger than any float


@dataclass(frozen=True)
class _ProbeOutcome:
    """Outcome of one request, with a reason.

    `agrees`, `differs`: the deployed model answered, rightly or not. `other`: another model or an error; this can still
    change. `silent`: no answer, or not from churnops. `later`: too many requests. `closed`: the API refuses the key.
    """

    kind: Literal["agrees", "differs", "other", "silent", "later", "closed"]
    text: str


def check_deployment(bundle: Bundle, url: str, *, key: str = "", seconds: float, tolerance: float = 1e-9) -> Check:
    """Compare the API's answers with the bundle's own, for the probe rows of a deployed bundle.

    The rows go to `POST /predict/probe`, which records and counts nothing, over a new connection each time. The check
    passes after five answers in a row with the bundle's version and probabilities; at the time limit, one such answer
    is enough, if it is the last. A wrong probability fails the check at once. At the time limit the check fails if the
    API last answered with another model or an error, or became silent after a first answer. A refused key ends the
    check at once as `not reached`.

    No exception is raised: the result contains the reason. Redirects and proxies are not followed. Workers that get
    none of the five requests stay unchecked.

    Parameters
    ----------
    bundle
        The deployed model.
    url
        Address of the API, such as `http://127.0.0.1:8000`, with its path if it has one.
    key
        API key with the scope `admin`; empty for none. The result never contains the key.
    seconds
        Time limit. The last request may exceed it by min(`seconds`, 10) seconds; a request for the reason of a failure
        may take 10 more.
    tolerance
        Largest allowed difference of a probability, because another machine's libraries may round differently.

    Examples
    --------
    >>> settings.retraining.check_url                                                      # doctest: +SKIP
    'http://127.0.0.1:8000'
    >>> check_deployment(bundle, settings.retraining.check_url, seconds=20).reason         # doctest: +SKIP
    'http://127.0.0.1:8000 answers as random_forest-dcf010f86dc4 does: 32 probe rows, 5 times'
    """
    started = time.monotonic()
    deadline = started + seconds
    expected = bundle.predict(bundle.probes).probability.tolist()
    rows = len(expected)

    def check(status: Status, reason: str, compared: int = 0) -> Check:
        return Check(status, reason, compared, round(time.monotonic() - started, 3))

    try:
        api = Client(url, key, setting="retraining.check_url", variable=ENV_CHECK_KEY)
    except SettingsError as error:
        return check("not reached", str(error))
    body = _customers(bundle)
    agreed = compared = 0
    answered = False
    last: _ProbeOutcome | None = None
    while True:
        reply = _ask(api, PROBE, min(seconds, ANSWER_SECONDS), body)
        answer = _judge(reply, bundle.version_name, expected, tolerance)
        if answer.kind != "later":
            last = answer
            agreed = agreed + 1 if answer.kind == "agrees" else 0
            compared = rows if answer.kind in ("agrees", "differs") else compared
            answered = answered or answer.kind in ("agrees", "other")
        over = time.monotonic() + PAUSE_SECONDS >= deadline
        if agreed == AGREEMENTS or (agreed and over):
            return check("passed", f"{url} {last.text if last else ''}: {rows} probe rows, {_times(agreed)}", rows)
        if answer.kind == "differs":
            return check("failed", f"{url} {answer.text}", rows)
        if answer.kind == "closed":
            return check("not reached", f"{url} {answer.text}", compared)
        if over:
            break
        time.sleep(PAUSE_SECONDS)
    last = last or answer
    why = f"{url} {last.text}, after {seconds:g} seconds"
    if not answered:
        return check("not reached", why, compared)
    return check("failed", why + (_refusal(api) if last.kind == "other" else ""), compared)


def _customers(bundle: Bundle) -> bytes:
    """Return the probe rows as a request body."""
    rows = len(next(iter(bundle.probes.values())))
    table = decode(bundle.probes, np.full(rows, np.nan), bundle.schema).drop(bundle.schema.target.name)
    return json.dumps(table.to_dicts()).encode()


def _ask(api: Client, path: str, seconds: float, body: bytes | None = None) -> Reply | str:
    """Return the reply, or the reason for its absence."""
    try:
        return api.ask(path, seconds=seconds, body=body, max_bytes=MAX_ANSWER_BYTES)
    except NoReply as error:
        return str(error)


def _refusal(api: Client) -> str:
    """Return the API's warning about a deployment that it refuses; empty if there is none."""
    reply = _ask(api, READY, ANSWER_SECONDS)
    health = reply.read(HealthAnswer) if isinstance(reply, Reply) else None
    return f": {_line(health.warnings[0], 200)}" if health and health.warnings else ""


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _judge(reply: Reply | str, version: str, expected: list[float], tolerance: float) -> _ProbeOutcome:
    """Classify a reply, given the probabilities that the deployed version itself computes."""
    if isinstance(reply, str):
        return _ProbeOutcome("silent", reply)
    status = reply.status
    if status in (401, 403):
        return _ProbeOutcome("closed", f"needs a key with the scope admin in {ENV_CHECK_KEY} (status {status})")
    if status == 429:
        return _ProbeOutcome("later", "gets too many requests (status 429): see api.rate_limit")
    if status == 200 and (answers := reply.read(list[_Probed])):
        return _compare(answers, version, expected, tolerance)
    problem = reply.problem()
    if status in (404, 405) or problem is None:
        return _ProbeOutcome("silent", f"is not the API of churnops (status {status} at {PROBE})")
    # The detail names fields and rules, never the values sent.
    return _ProbeOutcome("other", f"does not answer the probe rows (status {status}): {_line(problem.detail, 200)}")


def _compare(answers: list[_Probed], version: str, expected: list[float], tolerance: float) -> _ProbeOutcome:
    others = sorted({answer.model_version for answer in answers} - {version})
    if others:
        return _ProbeOutcome("other", f"answers with {_line(others[0], 80)}, not with {version}")
    if len(answers) != len(expected):
        return _ProbeOutcome("differs", f"gives {len(answers)} answers with {version} for {len(expected)} probe rows")
    worst = max(range(len(expected)), key=lambda row: _distance(answers[row].churn_probability, expected[row]))
    actual, wanted = answers[worst].churn_probability, expected[worst]
    if _distance(actual, wanted) <= tolerance:
        return _ProbeOutcome("agrees", f"answers as {version} does")
    return _ProbeOutcome(
        "differs",
        f"answers {actual:.12g} for probe row {worst + 1}, but the model {version} itself gives {wanted:.12g}",
    )


def _distance(actual: float, expected: float) -> float:
    return abs(actual - expected) if isfinite(actual) else float("inf")


def _line(text: str, limit: int) -> str:
    """Return a server's text as one printable line."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
