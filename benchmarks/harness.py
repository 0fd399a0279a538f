"""Claims and results, and measurement of time, CPU and memory."""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Claim:
    """One figure: the measured value, its target if there is one, and a peer's value, measured or quoted.

    The target is an upper limit of `measured`; with `at_least`, a lower one.
    """

    name: str
    measured: float
    unit: str = ""
    target: float | None = None
    at_least: bool = False
    peer: str = ""
    peer_measured: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def target_text(self) -> str:
        """The target for people; empty if there is none."""
        return "" if self.target is None else f"{'≥' if self.at_least else '≤'} {self.target:g} {self.unit}".strip()

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if self.target is None:
            return None
        return self.measured >= self.target if self.at_least else self.measured <= self.target

    @property
    def ratio(self) -> float | None:
        """Ours divided by the peer's; None without a peer."""
        return self.measured / self.peer_measured if self.peer_measured else None

    def to_json(self) -> dict[str, Any]:
        """Return the fields and the values derived from them."""
        return asdict(self) | {"met": self.met, "ratio": self.ratio}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Claim":
        """Return the claim that `to_json` wrote."""
        return cls(**{field.name: document[field.name] for field in fields(cls)})


@dataclass(frozen=True)
class Result:
    """Result of a benchmark: claims, further tables (caption, header and rows of text), and notes."""

    title: str
    about: str
    claims: Sequence[Claim]
    tables: Sequence[tuple[str, Sequence[Sequence[str]]]] = ()
    notes: Sequence[str] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return asdict(self) | {"claims": [claim.to_json() for claim in self.claims]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Result":
        """Return the result that `to_json` wrote."""
        known = {field.name: document[field.name] for field in fields(cls)}
        return cls(**known | {"claims": [Claim.from_json(claim) for claim in known["claims"]]})


def median_seconds(function: Callable[[], object], *, repeats: int = 7, calls: int = 1) -> float:
    """Return the median wall time of a call over `repeats` blocks of `calls`, after one call to warm up."""
    function()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        for _ in range(calls):
            function()
        taken.append((time.perf_counter() - started) / calls)
    return statistics.median(taken)


@dataclass(frozen=True)
class Usage:
    """Resources of a process: wall and CPU (user + system) seconds, and peak resident memory in MiB."""

    wall: float
    cpu: float
    peak: float


# Started from a small process, since Linux counts the parent's memory into a process's peak.
_LAUNCHER = """
import json, os, subprocess, sys, time
started = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
errors = process.stderr.read().decode()
_, status, used = os.wait4(process.pid, 0)
wall = time.perf_counter() - started
code = os.waitstatus_to_exitcode(status)
print(json.dumps([wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, code, errors]))
"""


def run_process(command: Sequence[str], *, folder: Path = ROOT) -> Usage:
    """Run a command in `folder` and return its resources, with those of its children.

    Raises
    ------
    RuntimeError
        If it failed, with the end of its errors.
    """
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, *command]
    answer = subprocess.run(launcher, cwd=folder, capture_output=True, text=True, check=True).stdout
    wall, cpu, peak, code, errors = json.loads(answer)
    if code != 0:
        raise RuntimeError(f"{' '.join(command)} exited with {code}: {errors.strip()[-500:]}")
    return Usage(wall, cpu, peak)


def median_usage(runs: Sequence[Usage]) -> Usage:
    """Return the median of each figure."""
    return Usage(*(statistics.median(getattr(run, field.name) for run in runs) for field in fields(Usage)))
