"""Approval of models that answer customers, by an API key."""

from churnops.errors import RegistryError
from churnops.journal.keys import KeyStore, verify
from churnops.settings import ENV_APPROVAL_KEY, Settings


def approver_of(settings: Settings, keys: KeyStore) -> str | None:
    """Return the name of the API key that approves a model; None if the settings ask for no approval.

    Raises
    ------
    RegistryError
        If there is no such key, it is revoked, or it lacks the scope `admin`.
    """
    if not settings.registry.approval:
        return None
    key = verify(settings.registry.approval_key, keys.active())
    if key is None or "admin" not in key.scopes:
        raise RegistryError(
            f"registry.approval asks for an API key with the scope admin in {ENV_APPROVAL_KEY}: "
            "`churnops keys add NAME --scope admin` makes one"
        )
    return key.name
