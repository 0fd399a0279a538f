"""Workers for tasks: the threads of this process (`workers`), or the processes of a Dask cluster (`dask_workers`).

A task is a pure function of its arguments, so it may run anywhere, twice, or again after its worker was killed.
Algorithms are written once, for `Workers`.
"""

from churnops.cluster.library_threads import one_library_thread
from churnops.cluster.workers import Workers, completed, open_workers

__all__ = ["Workers", "completed", "one_library_thread", "open_workers"]
