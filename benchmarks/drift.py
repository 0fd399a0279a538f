"""Drift checks of 20 columns between a hundred thousand rows and a million, against other libraries.

Evidently, NannyML and alibi-detect need library versions that conflict with each other and with ours. So each peer has
its own environment, made once from `drift_peers/<peer>.txt` in the folder `DRIFT_PEERS` (default: the user's cache).
`drift_peers/with_<peer>.py` runs there and prints its figures.
"""

import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from benchmarks.environments import QUIET, PeerError, cache, environment_of, output_of
from benchmarks.harness import Claim, Result, run_process
from benchmarks.page import shown

COLUMNS, REFERENCE_ROWS, BATCH_ROWS = 20, 100_000, 1_000_000
SHIFTS = (0.002, 0.005, 0.01, 0.02, 0.05)  # shifts of the first columns, in standard deviations
REPEATS, LONG = 3, 60.0  # a peer that takes more CPU seconds than this is run once
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
"""Target of the check's speed, as a multiple of the peer's."""
SORTS = {
    "as NumPy chooses": {},
    "without AVX-512": {"NPY_DISABLE_CPU_FEATURES": "X86_V4"},
    "without AVX-512 and AVX2": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3"},
}
"""NumPy's sorts, with the environment that forces each."""
QUICK = 5.0  # CPU seconds of a check: peers that take longer run once, with the sort that NumPy chooses


@dataclass(frozen=True)
class Figures:
    """Medians of a peer: CPU seconds, MiB above the data, and each column's results (None if it has none)."""

    fit: float
    check: float
    peak: float
    imports: float
    runs: int
    statistics: Sequence[float] | None
    p_values: Sequence[float] | None


def measure() -> Result:
    """Run every peer on the same files, one process after another."""
    results: dict[str, Figures] = {}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_columns(folder)
        for peer in NAMES:
            try:
                results[peer] = _figures(peer, folder)
            except PeerError as error:
                failed[peer] = str(error)
        sorts = _sorts(results, folder)
    if not {OURS, SCIPY} <= results.keys():
        raise RuntimeError("; ".join(failed.values()))
    return Result(
        title="Drift checks",
        about=(
            f"{COLUMNS} columns of normally distributed numbers without ties, {len(SHIFTS)} of them shifted: a "
            f"reference of {REFERENCE_ROWS:,} rows and a batch of {BATCH_ROWS:,}, the same files for all, with the "
            "Kolmogorov-Smirnov test for every column. Times are the CPU time (user and system) of the check alone, in "
            f"the second of two calls in a process, median of {REPEATS} processes. Imports, reading and the fit to the "
            "reference are excluded. Peers have one thread, as we have, and those that are not our dependencies have "
            "their own environment. Targets are shares of the peer's time in the same run."
        ),
        claims=_claims(results),
        tables=[
            ("Each on its own", _table(results)),
            ("The check with each of NumPy's sorts, and a column's count in both ways", sorts),
        ],
        notes=[*_notes(results), *(f"Not measured: {NAMES[peer]}. {reason}" for peer, reason in failed.items())],
    )


def _claims(results: Mapping[str, Figures]) -> list[Claim]:
    ours = results[OURS]
    check, fitting = [], []
    for peer, times in TIMES.items():
        if peer in results:
            theirs, name = results[peer], NAMES[peer]
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
    scipy = results[SCIPY]
    memory = Claim(
        "memory beyond the data, fit included", ours.peak, "MiB", 100.0, peer=NAMES[SCIPY], peer_measured=scipy.peak
    )
    apart, p_apart = _apart(ours.statistics, scipy.statistics), _apart(ours.p_values, scipy.p_values)
    assert apart is not None
    assert p_apart is not None
    differences = [
        Claim("largest difference from SciPy's statistic", apart, target=0.0),
        Claim("largest difference from SciPy's p-value", p_apart, target=1e-9),
    ]
    started = [
        Claim(
            f"`import {IMPORTS[OURS]}`",
            ours.imports,
            "s",
            1.0,
            peer=f"`import {IMPORTS[peer]}`",
            peer_measured=results[peer].imports,
        )
        for peer in TIMES
        if peer in results
    ]
    return [*check, *fitting, memory, *differences, *started]


def _table(results: Mapping[str, Figures]) -> list[tuple[str, ...]]:
    """Return each peer's figures, with ours, and the largest difference of its results from SciPy's."""
    rows: list[tuple[str, ...]] = [
        (
            "",
            "fit",
            "check",
            "memory beyond the data",
            "import",
            "runs",
            "statistic: difference from SciPy's",
            "p-value: difference from SciPy's",
        )
    ]
    for peer, figures in results.items():
        apart = [
            _apart(ours, theirs)
            for ours, theirs in (
                (figures.statistics, results[SCIPY].statistics),
                (figures.p_values, results[SCIPY].p_values),
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
                *("none" if value is None else shown(value) for value in apart),
            )
        )
    return rows


def _sorts(results: Mapping[str, Figures], folder: Path) -> list[tuple[str, ...]]:
    """Return, for each of NumPy's sorts, the time of both ways of counting, of our check, and of the peers' checks."""
    peers = [peer for peer in results if peer != OURS]
    rows: list[tuple[str, ...]] = [
        ("sort", "by sorting", "by index", "chosen", NAMES[OURS], *(NAMES[peer] for peer in peers))
    ]
    for name, environment in SORTS.items():
        counting = _answer([sys.executable, str(SCRIPTS / "counting.py"), str(folder)], NAMES[OURS], environment)
        ours = _check(OURS, results, folder, environment)
        checks = [_check(peer, results, folder, environment) for peer in peers]
        rows.append(
            (
                name,
                *(shown(counting[way], "s") for way in ("sorting", "index")),
                counting["chosen"],
                shown(ours, "s"),
                *(f"{shown(check, 's')}, {check / ours:.3g} times ours" for check in checks),
            )
        )
    return rows


def _check(peer: str, results: Mapping[str, Figures], folder: Path, environment: Mapping[str, str]) -> float:
    """Return the CPU seconds of a peer's check with a sort; those of its own sort if it is slow."""
    if not environment or results[peer].check > QUICK:
        return results[peer].check
    python = sys.executable if peer in (OURS, SCIPY) else _environment(peer)
    return statistics.median(float(_run(peer, python, folder, environment)["check"]) for _ in range(REPEATS))


def _notes(results: Mapping[str, Figures]) -> list[str]:
    notes = [
        "A bundle stores our fit once, when it is trained. A check counts the batch in the cells of the fit and does "
        "not need the reference's rows. SciPy, Evidently and alibi-detect need them, and sort both at every check.",
        "A count by sorting takes as long as NumPy's sort, which depends on the processor. A count by an index of "
        "buckets does not. Both give the same counts, so a process measures once which is faster.",
        "Memory is the peak during both calls, minus the memory of the process before them, when the imports and the "
        "data are loaded. It includes code that is compiled or imported at the first use.",
    ]
    if EVIDENTLY in results:
        notes.append(
            "Evidently also makes the figures of its report, which cannot be switched off. No HTML is rendered."
        )
    if NANNYML in results:
        notes.append(
            "NannyML counts in 10,000 bins of equal width, its default for references of 10,000 rows and more, so its "
            "statistic is approximate. Its time includes chunks and thresholds."
        )
    return notes


def _apart(ours: Sequence[float] | None, theirs: Sequence[float] | None) -> float | None:
    """Return the largest difference; None if one has no results."""
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
    """Run a peer `REPEATS` times, or once if it is slow."""
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


def _run(peer: str, python: str, folder: Path, environment: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    command = [python, "-W", "ignore", str(SCRIPTS / f"with_{peer}.py"), str(folder)]
    return _answer(command, NAMES[peer], environment)


def _answer(command: Sequence[str], name: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the figures that a script prints last."""
    answer: dict[str, Any] = json.loads(output_of(command, f"{name} does not run", environment).splitlines()[-1])
    return answer


def _environment(peer: str) -> str:
    """Return the Python of a peer's environment."""
    return environment_of(SCRIPTS / f"{peer}.txt", cache("DRIFT_PEERS", "drift_peers"), NAMES[peer])
