"""Compile loops with Numba for given types, and cache the machine code on disk if possible."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function for one signature, given as text or Numba types; the code runs without the GIL.

    The cache is beside the source or in the user's cache folder. If neither is writable (a read-only container), every
    start compiles the function again.
    """

    def compile_with_cache(function: Callable[..., Any]) -> Any:
        try:
            return njit(signature, cache=True, nogil=True)(function)
        except RuntimeError:  # "cannot cache function: no locator available"
            return njit(signature, nogil=True)(function)

    return compile_with_cache


def entry(function: Any) -> Callable[..., Any]:
    """Return the machine code of a function made by `compiled`, without Numba's look-up of the arguments' types.

    The look-up takes 6 µs for two tuples of arrays. Use it only if the arguments certainly have the right types.
    """
    [signature] = function.signatures
    code: Callable[..., Any] = function.overloads[signature].entry_point
    return code
