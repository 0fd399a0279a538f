"""Errors for users. A message is a line (or one per broken rule): the given value, the allowed ones, the next step."""

import re
from collections.abc import Mapping
from typing import Any

_KINDS = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "an object of names and values",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "mapping_type": "an object of names and values",
    "model_type": "an object of names and values",
    "string_type": "a text",
    "string_unicode": "Unicode text",
    "tuple_type": "a list",
}
"""Pydantic's names of types in JSON, in plain words."""


class ChurnopsError(Exception):
    """Base of all errors caused by input or environment, as opposed to defects.

    A command prints the message without a traceback and exits with `exit_code`. `artifacts` (file name to text), such
    as a validation report, are tracked with the failed step.
    """

    exit_code = 2

    def __init__(self, message: str, *, artifacts: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.artifacts: Mapping[str, str] = artifacts or {}


class SettingsError(ChurnopsError):
    """`config.yaml` is unreadable, or a setting or `CHURNOPS_*` variable is missing, unknown or out of range."""


class NoProjectError(SettingsError):
    """There is no config file in this folder or above."""


class ExpressionError(ChurnopsError):
    """A feature expression is not in the language of `churnops.features.expressions`."""


class DataError(ChurnopsError):
    """A table cannot be read or breaks the Schema."""


class BundleError(ChurnopsError):
    """A bundle is damaged, forged or of an unsupported protocol, and refused as a whole."""


class RegistryError(ChurnopsError):
    """The state of the model registry or the deployment folder does not allow the request."""


class JournalError(ChurnopsError):
    """The journal's database cannot be opened, read or written, or does not allow the request."""


class PolicyError(ChurnopsError):
    """A decision policy is not valid, does not exist, or lacks a number that is needed."""


class CallListError(ChurnopsError):
    """A call list cannot be made: there is nobody to list, its name is taken, or the request is not valid."""


class ClusterError(ChurnopsError):
    """The cluster at `cluster.address` does not answer, or cannot run this version of churnops."""


class StoreError(ChurnopsError):
    """An object store does not answer, refuses the request, or lacks the object."""


class UnknownPrediction(ChurnopsError):  # noqa: N818  (a verdict on the input)
    """A label names a prediction that is not in the journal. `index` is the label's position in the input."""

    def __init__(self, index: int, prediction_id: str) -> None:
        super().__init__(f"label {index}: prediction {prediction_id[:80]!r} is not in the journal")
        self.index = index
        self.prediction_id = prediction_id


def redact(text: str) -> str:
    """Hide user and password in the addresses of a text.

    >>> redact("cannot open postgresql://ann:secret@db/churn")
    'cannot open postgresql://***@db/churn'
    """
    return re.sub(r"://[^/\s]*@", "://***@", text)


def first_line(error: Exception, limit: int = 200) -> str:
    r"""Return the first line of a library's error, without passwords and cut to `limit` characters.

    >>> first_line(ValueError("no answer from https://ann:secret@mlflow:5000\nTraceback …"))
    'no answer from https://***@mlflow:5000'
    """
    return redact(str(error).strip().partition("\n")[0])[:limit]


def broken_rule(error: Mapping[str, Any]) -> str:
    """Return the rule of an error of pydantic in plain words, without the value.

    >>> broken_rule({"type": "tuple_type", "msg": "Input should be a valid tuple"})
    'must be a list'
    >>> broken_rule({"type": "less_than", "msg": "Input should be less than 1"})
    'must be less than 1'
    """
    if error["type"] in _KINDS:
        return f"must be {_KINDS[error['type']]}"
    if error["type"] == "string_pattern_mismatch" and r"\x1f" in error["msg"]:
        return "must have no control characters"
    rule = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    return re.sub(r"^(String|Tuple|List|Dictionary) should have", "must have", rule)


def reason_of(error: Exception) -> str:
    """Return a one-line reason for people; anything but a `ChurnopsError` or `OSError` is a defect.

    >>> reason_of(DataError("churn.csv is empty"))
    'churn.csv is empty'
    >>> reason_of(KeyError("rows"))
    'a defect: KeyError'
    """
    if isinstance(error, ChurnopsError | OSError):
        return first_line(error, 300)
    return f"a defect: {type(error).__name__}"
