"""Profiles of Parquet folders of any size: constant memory, time linear in rows."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.harness import Claim, Result, Usage, run_process
from churnops.data.packing import unpack_profile
from churnops.data.profile import fit_profile

COLUMNS = 20
REFERENCE_ROWS = 100_000
FILE_ROWS = 1_000_000
MILLIONS = tuple(int(part) for part in os.environ.get("PROFILES_MILLIONS", "1,10,100").split(","))
SPARE_BYTES = 5 * 2**30  # space left free on the disk

# Reads a folder, counts it and writes the profile. Its resources are measured from outside.
_PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from churnops.data.packing import pack_profile
from churnops.data.profile import fit_profile
from churnops.data.profile_files import profile_parquet
reference = fit_profile({f"c{i}": column for i, column in enumerate(np.load(sys.argv[1]))})
Path(sys.argv[3]).write_bytes(pack_profile(profile_parquet([Path(sys.argv[2])], reference)))
"""


def measure() -> Result:
    """Write folders of 1, 10 and 100 million rows, as far as the disk allows, and profile each in its own process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rng = np.random.default_rng(1)
        rows = np.round(rng.normal(50.0, 20.0, (COLUMNS, REFERENCE_ROWS)), 2)
        np.save(folder / "reference.npy", rows)
        reference = fit_profile({f"c{i}": column for i, column in enumerate(rows)})
        run_process([sys.executable, "-c", _PROGRAM, *_arguments(folder, _write(folder / "0", 1, rng))])  # compiles
        table = [("rows", "seconds", "CPU seconds", "million rows a CPU second", "peak MiB", "GB on disk")]
        used = {}
        for millions in MILLIONS:
            target = _write(folder / str(millions), millions, rng)
            if target is None:
                table.append((f"{millions} million", "the disk is too small", "", "", "", ""))
                continue
            arguments = _arguments(folder, target)
            used[millions] = usage = run_process([sys.executable, "-c", _PROGRAM, *arguments])
            counted = unpack_profile(Path(arguments[-1]).read_bytes(), reference)
            assert all(column.rows == millions * FILE_ROWS for column in counted.values()), "a row is not counted"
            size = sum(path.stat().st_size for path in target.iterdir()) / 1e9
            speed = millions / usage.cpu
            table.append(
                (
                    f"{millions} million",
                    f"{usage.wall:.1f}",
                    f"{usage.cpu:.1f}",
                    f"{speed:.2f}",
                    f"{usage.peak:.0f}",
                    f"{size:.2f}",
                )
            )
            shutil.rmtree(target)
    largest = max(used)
    return Result(
        title="Profiles of huge tables",
        about=(
            f"`profile_parquet` on files with a million rows and {COLUMNS} columns each (float64, two decimals), "
            f"against a reference of {REFERENCE_ROWS:,} rows, in its own process, with its start and the fit of the "
            "reference. A check asserts that every row is counted."
        ),
        claims=[
            Claim(f"{largest} million rows, peak memory", used[largest].peak, "MiB", 1024),
            *_linear(used),
            Claim(f"{largest} million rows", used[largest].wall, "s"),
        ],
        tables=[("By rows", table)],
    )


def _linear(used: Mapping[int, Usage]) -> list[Claim]:
    """Return the CPU seconds for each further million rows in the last step; the step before is the peer."""
    steps = [(a, b, (used[b].cpu - used[a].cpu) / (b - a)) for a, b in pairwise(sorted(used))]
    if not steps:
        return []
    start, end, last = steps[-1]
    name = f"CPU seconds for each further million rows, between {start} and {end} million rows"
    if len(steps) == 1:
        return [Claim(name, last, "s")]
    start, end, before = steps[-2]
    return [Claim(name, last, "s", peer=f"between {start} and {end} million rows", peer_measured=before)]


def _arguments(folder: Path, target: Path | None) -> list[str]:
    assert target is not None, "a million rows fit on every disk"
    return [str(folder / "reference.npy"), str(target), str(folder / "counted")]


def _write(target: Path, millions: int, rng: np.random.Generator) -> Path | None:
    """Write a file a million rows; None if the disk has no room for them."""
    if shutil.disk_usage(target.parent).free < millions * FILE_ROWS * COLUMNS * 8 + SPARE_BYTES:
        return None
    target.mkdir()
    for part in range(millions):
        columns = {f"c{i}": np.round(rng.normal(50.0 + 0.1 * i, 20.0, FILE_ROWS), 2) for i in range(COLUMNS)}
        pq.write_table(pa.table(columns), target / f"{part:03d}.parquet", compression="lz4")
    return target


if __name__ == "__main__":
    print(json.dumps(measure().to_json(), indent=1))
