"""Rules of single settings: type, range and form, checked on the value as written, before any conversion.

Every setting has a rule as metadata of its type: `port: Annotated[int, Whole(1, 65535)]`. pydantic alone would accept
`"8000"`, `8000.0` and `true` as integers.
"""

import ipaddress
import math
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from churnops.address import is_object_address, split_address

_CONTROL = ("Cc", "Cs", "Zl", "Zp")  # Unicode categories


@dataclass(frozen=True)
class Rule:
    """Allowed values of a setting. `words` completes the sentence "must be …"."""

    @property
    def words(self) -> str:
        """The allowed values in words."""
        raise NotImplementedError

    def allows(self, value: object) -> bool:
        """Whether a value read from YAML is allowed."""
        raise NotImplementedError

    def _check(self, value: Any) -> Any:
        if not self.allows(value):
            raise ValueError(f"must be {self.words}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Return pydantic's schema for the type, with this rule checked before pydantic's own validation."""
        return core_schema.no_info_before_validator_function(self._check, handler(source))


@dataclass(frozen=True)
class Flag(Rule):
    """A boolean.

    >>> Flag().allows(True), Flag().allows("yes"), Flag().allows(1)
    (True, False, False)
    """

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return "true or false"

    def allows(self, value: object) -> bool:
        """Whether a value is a boolean."""
        return isinstance(value, bool)


@dataclass(frozen=True)
class Whole(Rule):
    """An integer from `low` to `high`.

    >>> Whole(1, 9).allows(9), Whole(1, 9).allows(9.0), Whole(1, 9).allows(True), Whole(1, 9).words
    (True, False, False, 'a whole number from 1 to 9')
    """

    low: int
    high: int

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return f"a whole number from {self.low} to {self.high}"

    def allows(self, value: object) -> bool:
        """Whether a value is an integer in the range."""
        return type(value) is int and self.low <= value <= self.high


@dataclass(frozen=True)
class Number(Rule):
    """A number from `low` to `high`.

    Attributes
    ----------
    unit
        Unit in words, such as "days".
    or_zero
        Whether 0 is allowed too, although it is below `low`; 0 means "off".
    or_null
        Whether null is allowed too.
    or_word
        A word that is allowed too; empty: none.
    """

    low: float
    high: float
    unit: str = ""
    or_zero: bool = False
    or_null: bool = False
    or_word: str = ""

    @property
    def words(self) -> str:
        """The allowed values in words."""
        unit = f" {self.unit}" if self.unit else ""
        also = (", or 0" if self.or_zero else "") + (", or null" if self.or_null else "")
        also += f", or {self.or_word}" if self.or_word else ""
        return f"a number from {_digits(self.low)} to {_digits(self.high)}{unit}{also}"

    def allows(self, value: object) -> bool:
        """Whether a value is a finite number in the range."""
        if value is None:
            return self.or_null
        if self.or_word and value == self.or_word:
            return True
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return self.low <= value <= self.high or (self.or_zero and value == 0)


def _digits(number: float) -> str:
    if number == 0 or 1e-6 <= abs(number) < 1e15:
        return f"{number:.9f}".rstrip("0").rstrip(".")
    return f"{number:g}"


@dataclass(frozen=True)
class Text(Rule):
    """Text of a given form: `low` to `high` characters, none of them a control character.

    Attributes
    ----------
    description
        The form in words.
    form
        Function that returns whether a text has the form; None: any text.
    or_empty
        Whether an empty text is allowed, regardless of `low` and `form`.
    lines
        Whether more than one line is allowed.
    """

    description: str
    low: int
    high: int
    form: Callable[[str], object] | None = None
    or_empty: bool = False
    lines: bool = False

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return f"{self.description}, {self.low} to {self.high:,} characters{', or empty' if self.or_empty else ''}"

    def allows(self, value: object) -> bool:
        """Whether a value is a text of this form."""
        if not isinstance(value, str):
            return False
        if not value:
            return self.or_empty or self.low == 0
        shown = value.replace("\n", "").replace("\t", "") if self.lines else value
        if not self.low <= len(value) <= self.high or any(unicodedata.category(c) in _CONTROL for c in shown):
            return False
        return self.form is None or bool(self.form(value))


@dataclass(frozen=True)
class Items(Rule):
    """A list of `low` to `high` items that differ; the items have their own rule."""

    low: int
    high: int

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return f"a list of {self.low} to {self.high:,} different items"

    def allows(self, value: object) -> bool:
        """Whether a value is a list of that length without repeated texts."""
        if not isinstance(value, list | tuple) or not self.low <= len(value) <= self.high:
            return False
        names = [item for item in value if isinstance(item, str)]
        return len(set(names)) == len(names)


@dataclass(frozen=True)
class Entries(Rule):
    """A mapping of `low` to `high` entries; names and values have their own rules."""

    low: int
    high: int

    @property
    def words(self) -> str:
        """The allowed values in words."""
        return f"a mapping of {self.low} to {self.high:,} entries"

    def allows(self, value: object) -> bool:
        """Whether a value is a mapping of that size."""
        return isinstance(value, Mapping) and self.low <= len(value) <= self.high


def is_path(text: str) -> bool:
    """Whether a text is a path of the file system, without `~`, and not an address.

    >>> [is_path(text) for text in ("data/raw", "../data", "/var/x", "~/data", "s3://bucket/x", " x", "a" * 256)]
    [True, True, True, False, False, False, False]
    """
    parts = text.split("/")
    return (
        text == text.strip()
        and "://" not in text
        and not text.startswith(("~", "file:"))
        and all(len(part.encode()) <= 255 for part in parts)
    )


def is_host(text: str) -> bool:
    """Whether a text is an IP address or a host name.

    >>> [is_host(text) for text in ("::", "127.0.0.1", "localhost", "a b", "http://x", "host:80", "256.0.0.1")]
    [True, True, True, False, False, False, False]
    """
    try:
        ipaddress.ip_address(text)
    except ValueError:
        name = r"[A-Za-z0-9]([A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
        return bool(re.fullmatch(rf"{name}(\.{name})*", text)) and not re.fullmatch(r"[\d.]+", text)
    return True


def is_web_address(text: str) -> bool:
    """Whether a text is an http or https address without user, query and fragment."""
    try:
        split_address(text)
    except ValueError:
        return False
    return True


def is_origin(text: str) -> bool:
    """Whether a text is the origin of web pages as browsers send it: without path, and without the usual port.

    >>> origins = ("https://crm.example.org", "http://localhost:3000", "https://x/", "https://x:443", "https://X", "*")
    >>> [is_origin(origin) for origin in origins]
    [True, True, False, False, False, False]
    """
    try:
        parts = split_address(text)
    except ValueError:
        return False
    usual = {"http": 80, "https": 443}[parts.scheme]
    written = text == f"{parts.scheme}://{parts.netloc}".lower() and not text.endswith(":")
    return written and parts.port != usual and is_host(parts.hostname or "")


def is_root_path(text: str) -> bool:
    """Whether a text is an absolute path of a URL, without a slash at its end.

    >>> [is_root_path(text) for text in ("/churn", "/a/b-2", "churn", "/churn/", "/a//b", "/a?b")]
    [True, True, False, False, False, False]
    """
    return re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text) is not None


def is_link(text: str) -> bool:
    """Whether a text is safe as a link in a page: http or https, without user and markup.

    >>> [is_link(text) for text in ("https://grafana/d/x?orgId=1#churn", "javascript:alert(1)", "//host", "http://u@h/")]
    [True, False, False, False]
    """
    return is_web_address(re.split("[?#]", text, maxsplit=1)[0]) and not re.search(r"""[\s<>"'`\\]""", text)


def is_journal_url(text: str) -> bool:
    """Whether a text is the address of a database that the journal can use.

    >>> urls = ("sqlite:///journal.db", "postgresql+psycopg://ann@db/churn", "mysql://db/churn", "sqlite:///~/journal.db")
    >>> [is_journal_url(url) for url in urls]
    [True, True, False, False]
    """
    if match := re.match(r"sqlite(?:\+pysqlite)?://(?:/([^?]*)|$)", text):
        file = match[1]
        return not file or file == ":memory:" or file.startswith("file:") or is_path(file)
    try:
        parts = urlsplit(text)
        return parts.scheme == "postgresql+psycopg" and parts.port != 0 and text.startswith("postgresql+psycopg://")
    except ValueError:  # the port is not a number
        return False


def is_cluster(text: str) -> bool:
    """Whether a text is `local:` and a number of workers, or the address of a Dask scheduler.

    >>> texts = ("local:2", "tcp://dask:8786", "tls://10.0.0.5:8786", "local:0", "tcp://dask", "dask:8786")
    >>> [is_cluster(text) for text in texts]
    [True, True, True, False, False, False]
    """
    if re.fullmatch(r"local:[1-9]\d{0,2}", text):
        return True
    match = re.fullmatch(r"(?:tcp|tls)://(\[[^]]*\]|[^:/]+):(\d{1,5})", text)
    return match is not None and is_host(match[1].strip("[]")) and 0 < int(match[2]) < 65536


def is_store_uri(text: str) -> bool:
    """Whether a text is the address of an MLflow store. A folder is not one: MLflow refuses it.

    >>> [is_store_uri(uri) for uri in ("sqlite:///mlflow.db", "https://mlflow:5000", "databricks", "mlruns", "ftp://x")]
    [True, True, True, False, False]
    """
    if re.fullmatch(r"databricks(-uc)?(://[\w.-]+)?", text):
        return True
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    if parts.scheme in ("http", "https"):
        return bool(parts.hostname) and port != 0
    return bool(re.match(r"(sqlite|postgresql|mysql|mssql)(\+\w+)?://", text))


def is_channel(text: str) -> bool:
    """Whether a text looks like an Apprise address."""
    return bool(re.match(r"[a-z][a-z0-9+.-]*://\S", text, re.IGNORECASE))


DAY = 86_400.0
MAX_DAYS = 36_500
"""Longest duration in days: a hundred years. A date plus a few such durations is still a valid date."""


def days(*, or_zero: bool = False) -> Number:
    """Return the rule of a duration in days: from one second to a hundred years."""
    return Number(1.2e-5, MAX_DAYS, "days", or_zero=or_zero)  # one second, rounded up


def seconds(low: float, high: float) -> Number:
    """Return the rule of a duration in seconds."""
    return Number(low, high, "seconds")


def path() -> Text:
    """Return the rule of a path."""
    return Text("a path without ~ and ://", 1, 1024, is_path)


def path_or_address() -> Text:
    """Return the rule of a path or the address of an object store."""
    form = "a path without ~ and ://, or an address such as s3://bucket/prefix, az:// or gs://"
    return Text(form, 1, 1024, lambda text: is_path(text) or is_object_address(text))


def share(low: float = 0.0, high: float = 1.0) -> Number:
    """Return the rule of a share or probability."""
    assert 0.0 <= low < high <= 1.0
    assert math.isfinite(low)
    return Number(low, high)


HOST = Text("an IP address or a host name", 1, 253, is_host)
ROOT_PATH = Text("a path such as /churn", 2, 200, is_root_path, or_empty=True)
WEB_ADDRESS = Text("an address such as http://127.0.0.1:8000, without user, password, ? and #", 8, 2000, is_web_address)
NO_OR_WEB_ADDRESS = Text(WEB_ADDRESS.description, 8, 2000, is_web_address, or_empty=True)
LINK = Text("an http or https address without user and password", 8, 300, is_link, or_empty=True)
ORIGIN = Text("an origin such as https://crm.example.org, without path and usual port", 8, 300, is_origin)
JOURNAL_URL = Text("sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME", 9, 2000, is_journal_url)
CLUSTER = Text("local:N, tcp://HOST:PORT or tls://HOST:PORT", 7, 300, is_cluster, or_empty=True)
STORE_URI = Text("a sqlite, postgresql, mysql, mssql, http, https or databricks address", 10, 2000, is_store_uri)
CHANNEL = Text("an Apprise address such as slack://…", 4, 2000, is_channel)
KEY = Text("an API key", 1, 200, str.isascii, or_empty=True)
LABEL = Text("a label without control characters", 0, 100)
UNIT = Text("a unit without control characters", 0, 30)
WHY = Text("a text without control characters", 0, 200)
DESCRIPTION = Text("text", 0, 2000, lines=True)
EXPRESSION = Text("an expression", 1, 1000, lines=True)
