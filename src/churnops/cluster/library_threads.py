"""Threads of the libraries below NumPy and scikit-learn."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_library_thread() -> Iterator[None]:
    """Let BLAS and OpenMP use one thread in this process until the block ends.

    Sums of BLAS depend on its number of threads: with one, a fit is the same on a machine with any number of cores.
    Tasks run side by side instead. Blocks of several threads at once would end one another's limit.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
