"""Profiles as bytes: small, without executable content, bound to their reference, and refused if damaged.

Most cells are empty, so only the others are written. The bytes hold, for each column of the reference in the order of
names, the number of rows without a value, the number of written cells, their positions and their counts.
"""

import hashlib
import zlib

import numpy as np
from numpy.typing import NDArray

from churnops.data.profile import ColumnProfile, Profile
from churnops.errors import DataError

_FORMAT = b"churnops-profile-1\n"
_HASH_BYTES = 16


def pack_profile(profile: Profile) -> bytes:
    """Return a batch's profile as bytes.

    Examples
    --------
    >>> reference = {"calls": ColumnProfile.fit(np.array([1.0, 2.0, 3.0]))}
    >>> batch = {"calls": reference["calls"].count(np.array([2.0, 2.0, np.nan]))}
    >>> again = unpack_profile(pack_profile(batch), reference)["calls"]
    >>> again.counts, again.missing
    (array([0, 0, 0, 2, 0, 0, 0]), 1)
    """
    parts = []
    for _, column in sorted(profile.items()):
        cells = np.flatnonzero(column.counts)
        head = np.array([column.missing, cells.size], "<i8")
        parts += [head, cells.astype("<u4"), column.counts[cells].astype("<i8")]
    return _FORMAT + _identity(profile) + zlib.compress(b"".join(part.tobytes() for part in parts))


def unpack_profile(data: bytes, reference: Profile) -> dict[str, ColumnProfile]:
    """Return a profile that `pack_profile` wrote, counted in the cells of `reference`.

    Raises
    ------
    DataError
        If the bytes are not a valid profile, or were counted in the cells of another reference.
    """
    body = len(_FORMAT) + _HASH_BYTES
    if not data.startswith(_FORMAT):
        raise DataError("this is not a profile in a format that this version of churnops reads")
    if data[len(_FORMAT) : body] != _identity(reference):
        raise DataError("the profile was counted in the cells of another reference")
    reader = _Reader(_decompress(data[body:], _max_bytes(reference)))
    columns = {name: reader.column(column) for name, column in sorted(reference.items())}
    reader.end()
    return {name: columns[name] for name in reference}


def _max_bytes(reference: Profile) -> int:
    return 1 + sum(16 + 12 * column.counts.size for column in reference.values())  # zlib takes 0 as no limit


def _identity(profile: Profile) -> bytes:
    digest = hashlib.sha256()
    for name, column in sorted(profile.items()):
        digest.update(f"{name}\n{column.points.size}\n".encode() + column.points.astype("<f8").tobytes())
    return digest.digest()[:_HASH_BYTES]


def _decompress(data: bytes, limit: int) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        text = decompressor.decompress(data, limit)
    except zlib.error:
        raise DataError("the profile is damaged") from None
    if not decompressor.eof or decompressor.unused_data:
        raise DataError("the profile is damaged: it does not end where it should")
    return text


class _Reader:
    """Reads columns from untrusted bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def column(self, reference: ColumnProfile) -> ColumnProfile:
        missing, size = (int(number) for number in self._take("<i8", 2))
        if missing < 0 or not 0 <= size <= reference.counts.size:
            raise DataError("the profile is damaged: a count is out of range")
        cells, filled = self._take("<u4", size).astype(np.int64), self._take("<i8", size)
        if (np.diff(cells, prepend=-1) <= 0).any() or (cells >= reference.counts.size).any() or (filled <= 0).any():
            raise DataError("the profile is damaged: a cell is out of range")
        if float(filled.sum(dtype=np.float64)) + missing > 2.0**62:
            raise DataError("the profile is damaged: it has more rows than a profile can have")
        counts = np.zeros_like(reference.counts)
        counts[cells] = filled
        return ColumnProfile(reference.points, counts, missing)

    def end(self) -> None:
        if self._at != len(self._data):
            raise DataError("the profile is damaged: it does not end where it should")

    def _take(self, kind: str, size: int) -> NDArray[np.int64]:
        stop = self._at + size * np.dtype(kind).itemsize
        if stop > len(self._data):
            raise DataError("the profile is damaged: it ends too early")
        taken = np.frombuffer(self._data[self._at : stop], kind)
        self._at = stop
        return taken
