"""The document `production.json` in an object store, which decides which model is deployed: conditional writes."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from churnops.errors import RegistryError, StoreError
from churnops.objects import ConditionError, ObjectStore, Stored
from churnops.registry.place import FOLDER_NAME, OvertakenError

PRODUCTION = "production.json"
MAX_BYTES = 2**16

_FolderName = Annotated[str, StringConstraints(pattern=f"^{FOLDER_NAME}$")]
_Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class ProductionDocument(BaseModel):
    """The document `production.json`. `folder` is None before the first deployment is complete.

    `turn` differs each time the document is written, so that its etag differs too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    turn: Annotated[str, StringConstraints(pattern="^[0-9a-f]{16}$")]
    folder: _FolderName | None = None
    version: int | None = None
    content_sha256: _Sha256 | None = None
    previous: _FolderName | None = None


class ProductionObject:
    """The document in a store, as this process has last read or written it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._seen: Stored | None = None

    @property
    def etag(self) -> str | None:
        """Etag of the document that was last seen; None if there was none."""
        return self._seen.etag if self._seen else None

    @property
    def document(self) -> ProductionDocument | None:
        """The document that was last seen; None if there was none.

        Raises
        ------
        RegistryError
            If another program wrote it.
        """
        if self._seen is None:
            return None
        try:
            return ProductionDocument.model_validate_json(self._seen.data)
        except ValidationError:
            raise RegistryError(f"{self._store.address}/{PRODUCTION} was not written by this churnops") from None

    def read(self) -> ProductionDocument | None:
        """Read the document, without a transfer if it is unchanged. Raises as `document`, and `StoreError`."""
        self._seen = self._store.read(PRODUCTION, self._seen, max_bytes=MAX_BYTES)
        return self.document

    def write(self, document: ProductionDocument) -> None:
        """Replace the document that was last seen.

        Raises
        ------
        OvertakenError
            If another process has replaced it meanwhile.
        StoreError
            If the store does not answer.
        """
        data = (document.model_dump_json(indent=1) + "\n").encode()
        try:
            if self._seen is None:
                self._seen = self._store.create(PRODUCTION, data)
            else:
                self._seen = self._store.replace(PRODUCTION, data, self._seen)
        except StoreError as error:
            # A write whose answer was lost may be complete; obstore's repetition of it is then refused.
            try:
                written = self._store.read(PRODUCTION, max_bytes=MAX_BYTES)
            except StoreError:
                unknown = "whether the version is deployed is not known: repeat the command"
                raise StoreError(f"{error}; {unknown}") from None
            if written is not None and written.data == data:
                self._seen = written
            elif isinstance(error, ConditionError):
                raise OvertakenError(
                    "another machine has deployed meanwhile, so this command changed nothing: repeat it"
                ) from None
            else:
                raise
