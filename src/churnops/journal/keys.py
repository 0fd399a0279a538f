"""API keys and their permissions. Only a hash of each key is kept."""

import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import Engine, insert, select, update

from churnops.errors import JournalError
from churnops.journal.database import answering, exclusive
from churnops.journal.key_record import KeyRecord
from churnops.journal.tables import api_keys, microseconds, moment

SCOPES = ("predict", "label", "features", "metrics", "admin")
"""Permissions of a key: predictions, labels, metrics, and administration, which includes the other three."""

_NO_KEY = "0" * 64


@dataclass(frozen=True)
class ApiKey:
    """A key without its secret. `scopes` are its permissions; a key with `admin` has all of them."""

    id: str
    name: str
    scopes: frozenset[str]
    created_at: datetime
    revoked_at: datetime | None
    token_sha256: str = field(repr=False)


class KeyStore:
    """Makes and revokes API keys. Safe for several processes: every call is one transaction.

    Parameters
    ----------
    record : KeyRecord or None
        File that records that keys exist. None for a reader.
    """

    def __init__(self, engine: Engine, record: KeyRecord | None = None) -> None:
        self._engine = engine
        self._record = record

    def add(self, name: str, scopes: Iterable[str]) -> str:
        """Make a key and return its token, which is not stored.

        Raises
        ------
        JournalError
            If the name is not 1 to 64 printable characters or belongs to an active key, if there is no scope or an
            unknown one, or if the record of keys cannot be written.
        """
        wanted = set(scopes)
        if not (1 <= len(name) <= 64 and name.isprintable() and name == name.strip()):
            raise JournalError(f"a key's name must be 1 to 64 printable characters, not {name[:80]!r}")
        if not wanted or not wanted <= set(SCOPES):
            raise JournalError(f"a key's scopes must be one or more of {', '.join(SCOPES)}, not {sorted(wanted)}")
        key_id = secrets.token_hex(6)
        token = f"churnops_{key_id}_{secrets.token_urlsafe(32)}"
        row = {
            "id": key_id,
            "name": name,
            "scopes": " ".join(s for s in SCOPES if s in wanted),
            "token_sha256": _digest(token),
            "created_at": microseconds(datetime.now(UTC)),
        }
        active = select(api_keys.c.id).where(api_keys.c.name == name, api_keys.c.revoked_at.is_(None))
        with answering(), exclusive(self._engine) as connection:
            if connection.execute(active).first() is not None:
                raise JournalError(f"an active key is called '{name}': choose another name, or revoke that key first")
            connection.execute(insert(api_keys).values(row))
            self._write_record()  # before the key is committed
        return token

    def were_made(self) -> bool:
        """Return whether a key was ever made, according to the journal or the record beside the models.

        Raises
        ------
        JournalError
            If the database does not answer.
        """
        if self._record is not None and self._record.exists():
            return True
        with answering(), self._engine.connect() as connection:
            return connection.execute(select(api_keys.c.id).limit(1)).first() is not None

    def record(self, *, made: bool = False) -> None:
        """Write the record of existing keys if it is missing: an older churnops made the keys, or the file was lost.

        Nothing is written if the record's folder is gone: a project that was moved must not reappear at its old place.

        Parameters
        ----------
        made
            Whether keys are known to exist. If not, the journal is read.

        Raises
        ------
        JournalError
            If the record cannot be written, or the database does not answer.
        """
        if self._record is None or self._record.exists():
            return
        if (made or self.were_made()) and self._record.path.parent.is_dir():
            self._write_record()

    def _write_record(self) -> None:
        if self._record is not None:
            try:
                self._record.write()
            except OSError as error:
                raise JournalError(
                    f"{self._record.path} cannot be written ({error.strerror}): the file records that keys exist, "
                    "in case the journal is lost"
                ) from None

    def list(self) -> Sequence[ApiKey]:
        """Return every key, including revoked ones, oldest first."""
        query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
        with answering(), self._engine.connect() as connection:
            return [_key(row) for row in connection.execute(query).mappings()]

    def revoke(self, id_or_name: str) -> ApiKey:
        """Revoke a key by its id, or an active key by its name. Revoking an id twice changes nothing.

        Raises
        ------
        JournalError
            If there is no such key.
        """
        table = api_keys.c
        active_name = (table.name == id_or_name) & table.revoked_at.is_(None)
        query = select(api_keys).where((table.id == id_or_name) | active_name)
        with answering(), exclusive(self._engine) as connection:
            rows = connection.execute(query).mappings().all()
            # An id wins over a name that looks like one.
            row = next((row for row in rows if row["id"] == id_or_name), rows[0] if rows else None)
            if row is None:
                raise JournalError(f"no active key has the name or id '{id_or_name}': see `churnops keys list`")
            if row["revoked_at"] is not None:
                return _key(row)
            now = microseconds(datetime.now(UTC))
            connection.execute(update(api_keys).where(table.id == row["id"]).values(revoked_at=now))
        return _key({**row, "revoked_at": now})

    def active(self) -> Mapping[str, ApiKey]:
        """Return the keys that are not revoked, by id, for `verify`."""
        query = select(api_keys).where(api_keys.c.revoked_at.is_(None))
        with answering(), self._engine.connect() as connection:
            return {row["id"]: _key(row) for row in connection.execute(query).mappings()}


def verify(token: str, active: Mapping[str, ApiKey]) -> ApiKey | None:
    """Return the active key of a token, or None.

    The hash is also computed and compared for an unknown id, so the time does not depend on the id or the secret.
    """
    _, _, rest = token.partition("_")
    key = active.get(rest.partition("_")[0])
    same = hmac.compare_digest(_digest(token), key.token_sha256 if key else _NO_KEY)
    return key if same else None


def _digest(token: str) -> str:
    # One round of SHA-256 is enough for 2**256 possible secrets; a slow password hash would delay each request.
    return sha256(token.encode("utf-8", "replace")).hexdigest()


def _key(row: Mapping[Any, Any]) -> ApiKey:
    scopes = frozenset(row["scopes"].split())
    revoked = row["revoked_at"]
    return ApiKey(
        id=row["id"],
        name=row["name"],
        scopes=frozenset(SCOPES) if "admin" in scopes else scopes,
        created_at=moment(row["created_at"]),
        revoked_at=None if revoked is None else moment(revoked),
        token_sha256=row["token_sha256"],
    )
