"""Measure one peer in its own process and environment. Needs only NumPy and Linux.

A peer has four functions, the parameters of `run`. Columns are a mapping of names to float64 arrays. `read` converts
them to the peer's form. This conversion is not counted, and neither are imports.
"""

import json
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[np.float64]]
Figures = tuple[Sequence[float] | None, Sequence[float] | None]
"""Statistics and p-values of each column; None if the peer has none."""


def run(
    read: Callable[[Columns], Any],
    fit: Callable[[Any], Any],
    check: Callable[[Any, Any], Any],
    figures: Callable[[Any], Figures],
) -> None:
    """Print the cost of fitting the reference and checking the batch, as JSON; the command line names their folder.

    Both are called twice. CPU seconds are those of the second call, after late compilation and imports. Memory is the
    peak of both above that of the process with its imports and the data.
    """
    reference, batch = (read(_columns(Path(sys.argv[1]) / f"{part}.npy")) for part in ("reference", "batch"))
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    before = _memory("VmRSS")
    for _ in range(2):
        started = _cpu()
        fitted = fit(reference)
        ready = _cpu()
        result = check(fitted, batch)
        done = _cpu()
    statistics, p_values = figures(result)
    answer = {
        "fit": ready - started,
        "check": done - ready,
        "peak": _memory("VmHWM") - before,
        "statistics": None if statistics is None else [float(value) for value in statistics],
        "p_values": None if p_values is None else [float(value) for value in p_values],
    }
    print("\n" + json.dumps(answer))


def _columns(path: Path) -> Columns:
    return {f"column_{place:02}": values for place, values in enumerate(np.load(path))}


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _memory(name: str) -> float:
    """Return a figure of the process, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024
