"""Whether the running API answers with a model that was just deployed, and as the model itself does."""

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
AGREEMENTS = 5  # answers in a row, each over a connection of its own: several workers may answer
PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 10.0  # for one answer
MAX_ANSWER_BYTES = 2**20  # 32 customers have some KB
_MOST = 1e300

Status = Literal["passed", "failed", "not reached"]


@dataclass(frozen=True)
class Check:
    """What the running API said of a deployed model.

    Attributes
    ----------
    status
        `passed`: it answers as the model does. `failed`: the model before it should come back. `not reached`: nobody
        who can tell was asked, which is no fault of the model's.
    reason
        One sentence.
    rows
        Customers whose answers were compared, in each of the requests; 0 if none was.
    seconds
        That the check took.
    """

    status: Status
    reason: str
    rows: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return asdict(self)


def _bounded(number: Any) -> Any:
    return min(max(number, -_MOST), _MOST) if type(number) is int else number


class _Probed(ProbeAnswer):
    """The answer to one probe row; a number that is no probability is not refused, but differs."""

    churn_probability: Annotated[float, BeforeValidator(_bounded)]  # an integer of JSON may be larger than any float


@dataclass(frozen=True)
class _ProbeOutcome:
    """What one request came to, in words.

    `agrees` and `differs` are about the deployed model's own answers. `other` is an answer of the API that may yet
    become right. `silent` is none, or none of the API's. `later` says nothing about any model. `closed`: the API is
    there, and does not let us ask.
    """

    kind: Literal["agrees", "differs", "other", "silent", "later", "closed"]
    text: str


def check_deployment(bundle: Bundle, url: str, *, key: str = "", seconds: float, most: float = 1e-9) -> Check:
    """Ask the API at `url` until it answers the probe rows of a deployed bundle as the bundle does.

    The rows are sent to `POST /predict/probe`, which records and counts nothing, over a new connection each time; five
    answers in a row must come from this version and have its probabilities (fewer, if it is so slow that the time is
    over). A number that differs is a failure at once. Whatever else may pass (another model still answers, the rows are
    refused, an error) is one after `seconds`, and so is silence after the API answered once.

    Nothing is raised: what goes wrong is the answer. Redirects and proxies are not followed. Of several workers, those
    that none of the five meets are not checked.

    Parameters
    ----------
    bundle
        In production, by what the caller knows.
    url
        Of the API, such as `http://127.0.0.1:8000`; a path is kept.
    key
        An API key with the scope `admin`; empty for none. It is nowhere in the result.
    seconds
        That the API has. A request that is under way then may take as long again, but 10 seconds at most.
    most
        By which a probability may differ: the same arithmetic, but libraries of other machines may round otherwise.

    Examples
    --------
    >>> settings.retraining.check_url                                                      # doctest: +SKIP
    'http://127.0.0.1:8000'
    >>> check_deployment(bundle, settings.retraining.check_url, seconds=20).reason         # doctest: +SKIP
    'http://127.0.0.1:8000 answers with random_forest-dcf010f86dc4, and as it does: 32 probe rows, 5 times'
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
    answered = False  # by the API, in whatever way
    last: _ProbeOutcome | None = None  # that says something
    while True:
        reply = _ask(api, PROBE, min(seconds, ANSWER_SECONDS), body)
        answer = _judge(reply, bundle.version_name, expected, most)
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
    """Return the probe rows as the API takes customers."""
    rows = len(next(iter(bundle.probes.values())))
    table = decode(bundle.probes, np.full(rows, np.nan), bundle.schema).drop(bundle.schema.target.name)
    return json.dumps(table.to_dicts()).encode()


def _ask(api: Client, path: str, seconds: float, body: bytes | None = None) -> Reply | str:
    """Return the reply, or in words why there is none."""
    try:
        return api.ask(path, seconds=seconds, body=body, most=MAX_ANSWER_BYTES)
    except NoReply as error:
        return str(error)


def _refusal(api: Client) -> str:
    """Return what the API says of a deployment that it refuses, if it does."""
    reply = _ask(api, READY, ANSWER_SECONDS)
    health = reply.read(HealthAnswer) if isinstance(reply, Reply) else None
    return f": {_line(health.warnings[0], 200)}" if health and health.warnings else ""


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _judge(reply: Reply | str, version: str, expected: list[float], most: float) -> _ProbeOutcome:
    """Say what a reply means for the deployed version, which scores the probe rows as `expected`."""
    if isinstance(reply, str):
        return _ProbeOutcome("silent", reply)
    status = reply.status
    if status in (401, 403):
        return _ProbeOutcome("closed", f"wants a key with the scope admin in {ENV_CHECK_KEY} (status {status})")
    if status == 429:
        return _ProbeOutcome("later", "is asked too often (status 429): see api.rate_limit")
    if status == 200 and (answers := reply.read(list[_Probed])):
        return _compare(answers, version, expected, most)
    problem = reply.problem()
    if status in (404, 405) or problem is None:
        return _ProbeOutcome("silent", f"does not answer as the API of churnops does (status {status} at {PROBE})")
    # The problem's own words name fields and rules, never what was sent.
    return _ProbeOutcome("other", f"does not answer the probe rows (status {status}): {_line(problem.detail, 200)}")


def _compare(answers: list[_Probed], version: str, expected: list[float], most: float) -> _ProbeOutcome:
    others = sorted({answer.model_version for answer in answers} - {version})
    if others:
        return _ProbeOutcome("other", f"answers with {_line(others[0], 80)}, not with {version}")
    if len(answers) != len(expected):
        return _ProbeOutcome("differs", f"answers {len(answers)} customers with {version}, asked for {len(expected)}")
    worst = max(range(len(expected)), key=lambda row: _distance(answers[row].churn_probability, expected[row]))
    found, wanted = answers[worst].churn_probability, expected[worst]
    if _distance(found, wanted) <= most:
        return _ProbeOutcome("agrees", f"answers with {version}, and as it does")
    return _ProbeOutcome("differs", f"gives {found:.12g} for probe row {worst + 1}, and {version} itself {wanted:.12g}")


def _distance(found: float, expected: float) -> float:
    return abs(found - expected) if isfinite(found) else float("inf")


def _line(text: str, most: int) -> str:
    """Return what a server said as one harmless line."""
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= most else shown[: most - 1] + "…"
