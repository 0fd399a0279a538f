"""Channels of alerts: addresses that Apprise sends to, in bounded time and without revealing their secrets."""

import logging
import re
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import pbkdf2_hmac
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Literal
from urllib.parse import unquote

from churnops.traces import span

Kind = Literal["critical", "warning", "info", "good"]

_ERROR_LENGTH = 200
_THREAD = "alert to "


@dataclass(frozen=True)
class Message:
    """A message to send. `subject` names the incident that a later message of the kind `good` ends."""

    subject: str
    kind: Kind
    title: str
    body: str


class Channel:
    """One address of Apprise.

    Parameters
    ----------
    url : str
        The address. `label`, `repr` and errors show its scheme only.

    Examples
    --------
    >>> Channel("slack://TokenA/TokenB/TokenC")
    Channel(slack#dfd74c)
    """

    def __init__(self, url: str) -> None:
        self._url = url
        scheme = re.match(r"[a-z][a-z0-9+.-]{0,30}(?=://)", url, re.IGNORECASE)
        # A hash distinguishes addresses of one scheme. The hash is slow, because a fast one helps to guess passwords.
        digest = pbkdf2_hmac("sha256", url.encode("utf-8", "replace"), b"churnops", 50_000).hex()
        self.label = f"{scheme[0].lower() if scheme else 'unknown'}#{digest[:6]}"

    def __repr__(self) -> str:
        return f"Channel({self.label})"

    @cached_property
    def problem(self) -> str | None:
        """Reason why the address cannot work, if it is known without sending; None otherwise."""
        apprise = _apprise()
        if apprise is None:
            return "Apprise is not installed: pip install 'churnops[alerts]'"
        try:
            known = self._plugin(apprise) is not None
        except Exception:  # a plugin may raise anything for a wrong address
            known = False
        return (
            None
            if known
            else "Apprise does not accept this address: its scheme is unknown, or a part is missing or wrong"
        )

    def send(self, message: Message, timeout: float) -> str | None:
        """Send a message once, within `timeout` seconds; return the error, or None.

        A message whose time ran out may still arrive.
        """
        answer: SimpleQueue[str | None] = SimpleQueue()

        def run() -> None:
            try:
                answer.put(self._send(message, timeout))
            except Exception as error:  # a plugin may raise anything, and alerts must not break the work they report
                answer.put(f"Apprise failed: {type(error).__name__}")

        # A daemon, unlike a pool's threads: a thread that hangs must not keep the process from ending.
        Thread(target=run, name=f"{_THREAD}{self.label}", daemon=True).start()
        try:
            return answer.get(timeout=timeout)
        except Empty:
            return f"no answer within {timeout:.3g} s"

    def _send(self, message: Message, timeout: float) -> str | None:
        if self.problem is not None:
            return self.problem
        apprise = _apprise()
        plugin = self._plugin(apprise)
        # Nobody waits longer than `timeout`. The socket's limit only ends the thread afterwards.
        plugin.socket_connect_timeout = plugin.socket_read_timeout = timeout + 1.0
        _name_incident(plugin, message.subject)
        service = apprise.Apprise(asset=plugin.asset)
        service.add(plugin)
        kinds = {"critical": "FAILURE", "warning": "WARNING", "info": "INFO", "good": "SUCCESS"}
        result = service.notify(
            body=message.body,
            title=message.title,
            body_format=apprise.NotifyFormat.TEXT,
            notify_type=apprise.NotifyType[kinds[message.kind]],
        )
        if result:
            return None
        log = "; ".join(entry.message for entry in result.logs())
        return without_secrets(log, self._url)[:_ERROR_LENGTH] or "the message was not accepted"

    def _plugin(self, apprise: Any) -> Any:
        return apprise.Apprise.instantiate(self._url, asset=_asset(apprise))


def deliver(
    messages: Mapping[Channel, Sequence[Message]], attempts: int, timeout: float
) -> dict[Channel, list[list[str | None]]]:
    """Send messages to all channels at once, and to each channel in order.

    A channel has `attempts` tries for each message, with short pauses, and `attempts` times `timeout` seconds for all
    its messages. Messages beyond that time are not tried. A channel with a `problem` has one try.

    Returns
    -------
    dict
        For each channel, a list for each message: the errors of its failed tries, then None if the message arrived.
    """
    if not messages:
        return {}
    tries = {channel: attempts if channel.problem is None else 1 for channel in messages}
    with ThreadPoolExecutor(len(messages)) as pool:
        results = [
            pool.submit(copy_context().run, _send_in_time, channel, some, tries[channel], timeout)  # with its span
            for channel, some in messages.items()
        ]
        return {channel: result.result() for channel, result in zip(messages, results, strict=True)}


def without_secrets(text: str, url: str) -> str:
    """Return a text on one line, with every part of an address except its scheme hidden.

    >>> without_secrets("cannot log in to mail.example.org with hunter2", "mailto://ann:hunter2@mail.example.org")
    'cannot log in to *** with ***'
    """
    rest = url.partition("://")[2] or url
    parts = {part for form in (rest, unquote(rest)) for part in re.split(r"[\s:/@?&=,;#]+", form) if len(part) > 2}
    for part in sorted(parts, key=len, reverse=True):
        pattern = re.escape(part) if len(part) > 5 else rf"(?<!\w){re.escape(part)}(?!\w)"  # "ann" is in "cannot"
        text = re.sub(pattern, "***", text, flags=re.IGNORECASE)
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _send_in_time(
    channel: Channel, messages: Sequence[Message], attempts: int, timeout: float
) -> list[list[str | None]]:
    deadline = time.monotonic() + attempts * timeout
    outcomes: list[list[str | None]] = []
    with span("send alerts", {"churnops.channel": channel.label}):
        for message in messages:
            errors: list[str | None] = []
            while len(errors) < attempts and (left := deadline - time.monotonic()) > 0:
                errors.append(channel.send(message, min(timeout, left)))
                if errors[-1] is None:
                    break
                if len(errors) < attempts:
                    pause = min(0.5 * 2 ** (len(errors) - 1), timeout / 2, deadline - time.monotonic())
                    time.sleep(max(pause, 0.0))
            outcomes.append(errors)
    return outcomes


@cache
def _apprise() -> Any:
    """Return the silenced library, or None if it is not installed."""
    try:
        # The first address loads the plugins, some of which cause deprecation warnings.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import apprise

            apprise.Apprise.instantiate("json://localhost")
    except ImportError:
        return None
    # Log lines about sending may contain an address. Errors are taken from Apprise's results instead.
    logger = logging.getLogger("apprise")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logging.getLogger("urllib3.connectionpool").addFilter(lambda record: not _is_ours(record.threadName))
    return apprise


def _is_ours(thread: str | None) -> bool:
    return thread is not None and thread.startswith(_THREAD)


def _asset(apprise: Any) -> Any:
    return apprise.AppriseAsset(
        app_id="churnops",
        app_desc="churnops",
        app_url="",
        image_url_mask="",
        image_url_logo="",  # no pictures from other servers
        http_redirects=False,  # a redirect must not send a message elsewhere
        async_mode=False,
        service_timeout=0,  # `Channel.send` has the limit
    )


def _name_incident(plugin: Any, subject: str) -> None:
    """Give each subject an incident of its own in services such as PagerDuty, and let a recovery end it."""
    actions = plugin.template_args.get("action", {})
    if hasattr(plugin, "dedup") and "map" in actions.get("values", ()):
        plugin.dedup = f"{plugin.dedup or 'churnops'}-{subject}"
        if plugin.action == actions["default"]:
            plugin.action = "map"
