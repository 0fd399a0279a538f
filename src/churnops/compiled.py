"""Compile a loop with Numba for given types, and keep the machine code on disk where that is possible."""

from collections.abc import Callable
from typing import Any

from numba import njit


def compiled(signature: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile for one signature, as text or as Numba's types; the compiled code lets other threads run.

    The cache lies beside the source or in the user's cache folder. Where neither can be written (a read-only
    container), the loop is compiled at every start.
    """

    def compile_with_cache(function: Callable[..., Any]) -> Any:
        try:
            return njit(signature, cache=True, nogil=True)(function)
        except RuntimeError:  # "cannot cache function: no locator available"
            return njit(signature, nogil=True)(function)

    return compile_with_cache
