"""Webhook of the registry: a signed request for each version that enters a state."""

import hmac
import json
from datetime import UTC, datetime

from churnops.client import Client
from churnops.errors import RegistryError
from churnops.project import Project
from churnops.registry.registry import State
from churnops.settings import ENV_WEBHOOK_SECRET

SECONDS = 5.0
"""Limit for one request; the deployment waits for it."""
NO_WEBHOOK = "registry.webhook was not told"
"""Consequence of a failure, for a warning."""
SIGNATURE = "X-Churnops-Signature"


def send_state(project: Project, version: int, state: State, reason: str, by: str | None = None) -> None:
    """Send the state that a version has entered to `registry.webhook`, once; do nothing without an address.

    The header `X-Churnops-Signature` is `sha256=` and the HMAC-SHA256 of the body with the secret, if there is one.

    Raises
    ------
    ChurnopsError
        If the receiver does not answer with a status from 200 to 299.
    """
    options = project.settings.registry
    if not options.webhook:
        return
    document = {
        "schema_version": 1,
        "model": options.model_name,
        "version": version,
        "state": state,
        "reason": reason,
        "by": by,
        "at": datetime.now(UTC).isoformat(),
    }
    body, secret = json.dumps(document).encode(), options.webhook_secret
    signature = {SIGNATURE: f"sha256={hmac.new(secret.encode(), body, 'sha256').hexdigest()}"} if secret else {}
    receiver = Client(options.webhook, "", setting="registry.webhook", variable=ENV_WEBHOOK_SECRET)
    reply = receiver.ask("", seconds=SECONDS, body=body, signature=signature)
    if not 200 <= reply.status < 300:
        raise RegistryError(f"it answered with status {reply.status}")


def send_production(project: Project) -> None:
    """Send the state of the version that was deployed or restored last; see `send_state`."""
    last = project.folder.answered()[-1]
    send_state(project, last.version, "production", last.reason, last.by)
