"""Plain arrays in an `.npz` file: written in one canonical way, and audited while they are read."""

import io
import zipfile
from collections.abc import Mapping
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from churnops.errors import BundleError

END = 22  # bytes of a zip file's end record without a comment
ZIP64_END = 20  # bytes before END, if a second end record counts more than 65,535 entries
MAX_ENTRY = 64  # limit of a directory entry's bytes without its name: 46, `.npy` and some spare


def write_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the arrays as an uncompressed `.npz` file; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = io.BytesIO()
            npy.write_array(member, np.ascontiguousarray(arrays[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())  # dated 1980-01-01 by default
    return buffer.getvalue()


def read_arrays(data: bytes, expected: Mapping[str, Any], file: str) -> dict[str, NDArray[Any]]:
    """Read one-dimensional arrays of exactly the expected names and types.

    Raises
    ------
    BundleError
        If the file is not an archive, or a name, type, shape or length differs.
    """
    _check_directory(data, expected, file)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if sorted(members) != sorted(f"{name}.npy" for name in expected) or len(archive.infolist()) != len(members):
                raise BundleError(f"{file} does not hold exactly the arrays of a bundle")
            if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
                raise BundleError(f"{file} is compressed; a bundle has only uncompressed files")
            if sum(info.compress_size for info in members.values()) > len(data):
                raise BundleError(f"{file} holds arrays that overlap")
            return {
                name: _parse(archive.read(f"{name}.npy"), np.dtype(t), f"{file}: {name}")
                for name, t in expected.items()
            }
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise BundleError(f"{file} is not a readable archive ({error})") from None


def _check_directory(data: bytes, expected: Mapping[str, Any], file: str) -> None:
    """Refuse an archive with more entries than expected, because `zipfile` reads the whole directory."""
    end = data[-END:]
    if end[:4] != b"PK\5\6":
        raise BundleError(f"{file} is not a readable archive (its end record is missing or has a comment)")
    entries, length = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little")
    longest = sum(MAX_ENTRY + len(name) for name in expected)
    if entries != len(expected) or length > longest or data[-END - ZIP64_END : -END][:4] == b"PK\6\7":
        raise BundleError(f"{file} does not hold exactly the arrays of a bundle")


def _parse(data: bytes, dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    """Parse one `.npy` member; the length that its header claims must agree with its bytes."""
    member = io.BytesIO(data)
    try:
        if npy.read_magic(member) != (1, 0):
            raise BundleError(f"{where} is not a plain array")
        shape, fortran_order, actual = npy.read_array_header_1_0(member)
    except (ValueError, SyntaxError, TokenError):  # NumPy parses the header as Python's literals
        raise BundleError(f"{where} is not a plain array") from None
    length = len(data) - member.tell()
    if actual != dtype or fortran_order or len(shape) != 1 or shape[0] * dtype.itemsize != length:
        raise BundleError(f"{where} has the wrong type or length")
    return np.frombuffer(data, dtype=dtype, offset=member.tell()).copy()
