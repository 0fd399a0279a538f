"""Drift of 20 columns between a hundred thousand rows and a million, against what others use for it.

Evidently, NannyML and alibi-detect want libraries that exclude each other and ours. So each has an environment of its
own, made once from `drift_peers/<peer>.txt` in the folder that `DRIFT_PEERS` names (default: the user's cache), and
`drift_peers/with_<peer>.py`, which runs there and prints what it took.
"""

import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Claim, Result, run_process
from benchmarks.page import shown

COLUMNS, REFERENCE_ROWS, BATCH_ROWS = 20, 100_000, 1_000_000
SHIFTS = (0.002, 0.005, 0.01, 0.02, 0.05)  # of the first columns' means, in standard deviations
REPEATS, LONG = 3, 60.0  # a peer whose process takes more CPU seconds than this is run once
SCRIPTS = Path(__file__).parent / "drift_peers"
OURS, SCIPY, EVIDENTLY, NANNYML, ALIBI = "churnops", "scipy", "evidently", "nannyml", "alibi_detect"
NAMES = {
    OURS: "churnops",
    SCIPY: "scipy.stats.ks_2samp",
    EVIDENTLY: "Evidently",
    NANNYML: "NannyML",
    ALIBI: "alibi-detect",
}
IMPORTS = {
    OURS: "churnops.monitoring",
    SCIPY: "scipy.stats",
    EVIDENTLY: "evidently",
    NANNYML: "nannyml",
    ALIBI: "alibi_detect.cd",
}
TIMES = {EVIDENTLY: 20, SCIPY: 2, ALIBI: 2, NANNYML: 1}
"""How many times as fast as a peer the check shall be."""
# One thread each; and no figures sent to the makers.
QUIET = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
) | {"DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}


class PeerError(Exception):
    """A peer could not be installed or run; says why in one line."""


@dataclass(frozen=True)
class Figures:
    """Medians of one peer: CPU seconds, MiB above the data, and what it says of each column (None: it does not)."""

    fit: float
    check: float
    peak: float
    imports: float
    runs: int
    statistics: Sequence[float] | None
    p_values: Sequence[float] | None


def measure() -> Result:
    """Run everybody on the same files, one process after another."""
    found: dict[str, Figures] = {}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_columns(folder)
        for peer in NAMES:
            try:
                found[peer] = _figures(peer, folder)
            except PeerError as error:
                failed[peer] = str(error)
    if not {OURS, SCIPY} <= found.keys():
        raise RuntimeError("; ".join(failed.values()))
    return Result(
        title="Drift checks",
        about=(
            f"{COLUMNS} columns of normally distributed numbers, no two alike, {len(SHIFTS)} of them shifted: a "
            f"reference of {REFERENCE_ROWS:,} rows, a batch of {BATCH_ROWS:,}, the same files for all, the "
            "Kolmogorov-Smirnov test for every column. CPU (user and system) of the check alone, "
            f"the second of two calls in a process, median of {REPEATS} processes; imports and reading are not in it, "
            "and neither is what is fitted once to the reference. Peers have one thread, as we do, and those that are "
            "not our dependencies an environment of their own. Targets are shares of the peer's time in the same run."
        ),
        claims=_claims(found),
        tables=[("Each on its own", _table(found))],
        notes=[*_notes(found), *(f"Not measured: {NAMES[peer]}. {reason}" for peer, reason in failed.items())],
    )


def _claims(found: Mapping[str, Figures]) -> list[Claim]:
    ours = found[OURS]
    check, fitting = [], []
    for peer, times in TIMES.items():
        if peer in found:
            theirs, name = found[peer], NAMES[peer]
            target = float(f"{theirs.check / times:.3g}")
            check.append(Claim("check of the batch", ours.check, "s", target, peer=name, peer_measured=theirs.check))
            fitting.append(
                Claim(
                    "fit of the reference and check",
                    ours.fit + ours.check,
                    "s",
                    peer=name,
                    peer_measured=theirs.fit + theirs.check,
                )
            )
    scipy = found[SCIPY]
    memory = Claim(
        "memory beyond the data, fit included", ours.peak, "MiB", 100.0, peer=NAMES[SCIPY], peer_measured=scipy.peak
    )
    apart, p_apart = _apart(ours.statistics, scipy.statistics), _apart(ours.p_values, scipy.p_values)
    assert apart is not None  # both tell both
    assert p_apart is not None
    differences = [
        Claim("largest difference to SciPy's statistic", apart, target=0.0),
        Claim("largest difference to SciPy's p-value", p_apart, target=1e-9),
    ]
    started = [
        Claim(
            f"`import {IMPORTS[OURS]}`",
            ours.imports,
            "s",
            1.0,
            peer=f"`import {IMPORTS[peer]}`",
            peer_measured=found[peer].imports,
        )
        for peer in TIMES
        if peer in found
    ]
    return [*check, *fitting, memory, *differences, *started]


def _table(found: Mapping[str, Figures]) -> list[tuple[str, ...]]:
    """Return what each took, ours among them, and how far what it says is from SciPy's."""
    rows: list[tuple[str, ...]] = [
        (
            "",
            "fit",
            "check",
            "memory beyond the data",
            "import",
            "runs",
            "statistic, from SciPy's",
            "p-value, from SciPy's",
        )
    ]
    for peer, figures in found.items():
        apart = [
            _apart(mine, theirs)
            for mine, theirs in (
                (figures.statistics, found[SCIPY].statistics),
                (figures.p_values, found[SCIPY].p_values),
            )
        ]
        rows.append(
            (
                NAMES[peer],
                shown(figures.fit, "s") if figures.fit >= 1e-3 else "none",
                shown(figures.check, "s"),
                shown(figures.peak, "MiB"),
                shown(figures.imports, "s"),
                str(figures.runs),
                *("not told" if value is None else shown(value) for value in apart),
            )
        )
    return rows


def _notes(found: Mapping[str, Figures]) -> list[str]:
    notes = [
        "Our fit is what a bundle stores once, at training time; a check counts the batch in its cells and needs the "
        "reference's rows no more. SciPy, Evidently and alibi-detect need them, and sort both again at every check.",
        "Memory is the peak of both calls above what the process has with its imports and the data, so what is "
        "compiled, or imported when first used, is in it.",
    ]
    if EVIDENTLY in found:
        notes.append(
            "Evidently also makes the figures of its report, which cannot be switched off; no HTML is rendered."
        )
    if NANNYML in found:
        notes.append(
            "NannyML counts in 10,000 bins of equal width, which is what it does for references of 10,000 rows and "
            "more: hence a statistic that is near the true one. It also puts chunks and thresholds together."
        )
    return notes


def _apart(ours: Sequence[float] | None, theirs: Sequence[float] | None) -> float | None:
    """Return the largest difference; None where one of them tells none."""
    if ours is None or theirs is None:
        return None
    return float(np.abs(np.subtract(ours, theirs)).max())


def _write_columns(folder: Path) -> None:
    random = np.random.default_rng(0)
    for part, rows in (("reference", REFERENCE_ROWS), ("batch", BATCH_ROWS)):
        values = random.normal(size=(COLUMNS, rows))
        if part == "batch":
            values[: len(SHIFTS)] += np.array(SHIFTS)[:, None]
        np.save(folder / f"{part}.npy", values)


def _figures(peer: str, folder: Path) -> Figures:
    """Run one peer, `REPEATS` times or, if it takes long, once."""
    python = sys.executable if peer in (OURS, SCIPY) else _environment(peer)
    answers: list[dict[str, Any]] = []
    while len(answers) < REPEATS:
        answers.append(_run(peer, python, folder))
        if answers[0]["fit"] + answers[0]["check"] > LONG:
            break
    quiet = ["env", *(f"{name}={value}" for name, value in QUIET.items())]
    command = [*quiet, python, "-W", "ignore", "-c", f"import {IMPORTS[peer]}"]
    imports = [run_process(command, folder=folder).cpu for _ in range(REPEATS + 1)][1:]
    median = {name: statistics.median(answer[name] for answer in answers) for name in ("fit", "check", "peak")}
    last = answers[-1]
    return Figures(
        **median,
        imports=statistics.median(imports),
        runs=len(answers),
        statistics=last["statistics"],
        p_values=last["p_values"],
    )


def _run(peer: str, python: str, folder: Path) -> dict[str, Any]:
    command = [python, "-W", "ignore", str(SCRIPTS / f"with_{peer}.py"), str(folder)]
    said = _said(command, f"{NAMES[peer]} does not run")
    answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    return answer


def _environment(peer: str) -> str:
    """Return the Python of a peer's environment, made if there is none for these versions."""
    wanted = SCRIPTS / f"{peer}.txt"
    digest = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("DRIFT_PEERS") or cache / "churnops" / "drift_peers") / f"{peer}-{digest}"
    python, complete = folder / "bin" / "python", folder / "complete"
    if not complete.exists():  # one that was broken off is made again
        shutil.rmtree(folder, ignore_errors=True)
        reason = f"{NAMES[peer]} cannot be installed"
        _said([sys.executable, "-m", "venv", str(folder)], reason)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)]
        _said(install, reason)
        complete.touch()
    return str(python)


def _said(command: Sequence[str], reason: str) -> str:
    """Return what a command printed.

    Raises
    ------
    PeerError
        If it failed, with the last line of what it said.
    """
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | QUIET)
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "it says nothing").splitlines()
        last = re.sub(r"(\w+:/)?/\S+", "…", lines[-1])  # no path or address of this machine's goes to the page
        raise PeerError(f"{reason}: {last} (exit code {done.returncode})")
    return done.stdout
