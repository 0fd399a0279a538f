"""More than one process: folders of customers scored, explained and counted, and a search, by Dask's workers.

`SCALE_MILLIONS` (default "1,4") has the sizes of the folders in millions of rows, `SCALE_SEARCH_ROWS` (default 30000)
the rows of the table that is searched, `SCALE_PEER_ROWS` (default 20000) those that the peer explains.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
from tests.support.projects import write_project

from benchmarks.harness import ROOT, Claim, Result, Usage, run_process
from benchmarks.init import customers
from benchmarks.product import Project, prepare
from benchmarks.scale_peer import Peer, fit_peer
from benchmarks.sizes import narrowed
from churnops.data.read import table_paths
from churnops.model import Bundle
from churnops.training.train import train_models

MILLION = 1_000_000
GROUP = 250_000  # rows of a row group
MILLIONS = tuple(int(part) for part in os.environ.get("SCALE_MILLIONS", "1,4").split(","))
SEARCH_ROWS, SEARCH_COLUMNS = int(os.environ.get("SCALE_SEARCH_ROWS", "30000")), 40
PEER_ROWS = int(os.environ.get("SCALE_PEER_ROWS", "20000"))
SPARE_BYTES = 5 * 2**30  # space left free on the disk
ONE, TWO = "local:1", "local:2"

# Counts a folder, and writes the hash of the counts.
_COUNT = """
import sys
from pathlib import Path
from churnops.model.deployed import require_deployed
from churnops.monitoring.folder import batch_from_folder
if __name__ == "__main__":
    models = Path("models")
    batch = batch_from_folder(Path(sys.argv[1]), require_deployed(models), models, address=sys.argv[2])
    Path("counts").write_text(batch.sha256)
"""
# Searches the hyperparameters of a table as `churnops run` does, and writes the seconds and a hash of the result.
_SEARCH = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    + """
import hashlib, json, time
from pathlib import Path
from benchmarks.product import Project, prepare
from churnops.cluster import open_workers
from churnops.settings import load_settings
from churnops.training.bundle_maker import BundleMaker
from churnops.training.candidate_searches import search_winner
from churnops.training.plan import main_plan
if __name__ == "__main__":
    settings = load_settings(Path("config.yaml"), environment={}).changed("cluster", {"address": sys.argv[1]})
    settings = settings.changed("training", {"threads": 1})
    prepared, features = prepare(Project(settings).raw, settings)
    with open_workers(settings.cluster.address, 1):
        started = time.perf_counter()
        family, search = search_winner(BundleMaker(prepared, features.build, settings), main_plan(prepared, settings))
        seconds = time.perf_counter() - started
    digest = hashlib.sha256(search.out_of_fold.tobytes() + json.dumps([family, search.best.params]).encode())
    Path("searched.json").write_text(json.dumps([seconds, digest.hexdigest()]))
"""
)


@dataclass(frozen=True)
class _Sizes:
    """Bytes of a million rows: of the input, and of the result with explanations."""

    given: int
    written: int

    def fits(self, folder: Path, millions: int) -> bool:
        """Whether the disk has room for a folder of this size and its result."""
        needed = 1.2 * millions * (self.given + self.written)
        return shutil.disk_usage(folder).free > needed + SPARE_BYTES


def measure() -> Result:
    """Deploy a boosted model, and score, explain and count folders of customers by one and by two workers."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle, peer = deploy(folder)
        sizes = _first_million(folder)
        table = [("rows", "workers", "seconds", "CPU seconds", "rows a second", "peak MiB of a process")]
        used: dict[tuple[str, int, bool], Usage] = {}
        for millions in MILLIONS:
            with _folder(folder, millions, sizes) as source:
                if source is None:
                    table.append((f"{millions} million", "the disk is too small", "", "", "", ""))
                    continue
                for workers, explain in ((ONE, True), (TWO, True), (TWO, False)):
                    used[workers, millions, explain] = usage = _predict(folder, source, workers, explain=explain)
                    table.append(_row(millions, workers, usage, explain=explain))
        claims = [*_scaling(used), *_against_peer(used, peer, folder), *_counts(folder, sizes), *_search(folder)]
    return Result(
        title="More than one process",
        about=(
            "`churnops predict FOLDER OUT --explain`, with its start and that of its workers, on Parquet files of a "
            f"million rows of the telecom table's columns, each column drawn by itself; {bundle.algorithm} on "
            f"{len(bundle.selected)} features. Workers are processes of this machine with one thread each. Rates are "
            "those of the rows between the smallest and the largest folder, so without the start."
        ),
        claims=claims,
        tables=[("By size and workers", table)],
        notes=[
            f"The peer is `dask.dataframe`: `read_parquet`, `map_partitions` and `to_parquet` on {PEER_ROWS:,} rows (a "
            "million without explanations), two workers of one thread: scikit-learn's pipeline with the same "
            "hyperparameters, `predict_proba`, `shap.TreeExplainer` and the six largest contributions. Its start does "
            "not count.",
        ],
    )


def deploy(folder: Path) -> tuple[Bundle, Peer]:
    """Train boosted trees on the repository's table, and deploy them in a new project."""
    project = Project.default()
    settings = project.settings.changed("training", {"families": ["xgboost"], "trials": {"xgboost": 3}})
    trained = train_models(*prepare(project.raw, settings), settings)
    write_project(folder)
    trained.refit.save(folder / "models/versions/a")
    (folder / "models/production").symlink_to("versions/a")
    known = pl.concat(pl.read_csv(path) for path in table_paths([settings.path(path) for path in settings.data.raw]))
    known.drop("Churn").write_parquet(folder / "known.parquet")
    return trained.refit, fit_peer(known, trained.models["xgboost"].search.best.params, settings.random_state)


def write_customers(target: Path, known: pl.DataFrame, number: int) -> None:
    """Write a million customers: each column has values of the known customers, drawn by themselves."""
    rng = np.random.default_rng(number)
    drawn = [column.gather(rng.integers(known.height, size=MILLION)) for column in known.get_columns()]
    pl.DataFrame(drawn).write_parquet(target, row_group_size=GROUP)


def _first_million(folder: Path) -> _Sizes:
    """Write and score a first million rows, which also compiles; return their sizes."""
    (folder / "first").mkdir()
    write_customers(folder / "first/0.parquet", pl.read_parquet(folder / "known.parquet"), 0)
    _predict(folder, folder / "first", TWO, explain=True, keep=True)
    written = sum(path.stat().st_size for path in (folder / "scored").iterdir())
    shutil.rmtree(folder / "scored")
    return _Sizes((folder / "first/0.parquet").stat().st_size, written)


@contextmanager
def _folder(folder: Path, millions: int, sizes: _Sizes) -> Iterator[Path | None]:
    """Write a folder of a size, and remove it after the block; None if the disk has no room for it."""
    target = folder / "many"
    if not sizes.fits(folder, millions):
        yield None
        return
    target.mkdir()
    known = pl.read_parquet(folder / "known.parquet")
    for number in range(millions):
        write_customers(target / f"{number:04d}.parquet", known, number)
    yield target
    shutil.rmtree(target)


def _predict(folder: Path, source: Path, workers: str, *, explain: bool, keep: bool = False) -> Usage:
    command = [sys.executable, "-m", "churnops.cli", "predict", source.name, "scored", *["--explain"] * explain]
    with _address(workers):
        usage = run_process(command, folder=folder)
    if not keep:
        shutil.rmtree(folder / "scored")
    return usage


@contextmanager
def _address(workers: str) -> Iterator[None]:
    os.environ["CHURNOPS_CLUSTER__ADDRESS"] = workers
    try:
        yield
    finally:
        del os.environ["CHURNOPS_CLUSTER__ADDRESS"]


def _row(millions: int, workers: str, usage: Usage, *, explain: bool) -> tuple[str, ...]:
    return (
        f"{millions} million{', explained' if explain else ''}",
        workers.removeprefix("local:"),
        f"{usage.wall:.1f}",
        f"{usage.cpu:.1f}",
        f"{millions * MILLION / usage.wall:,.0f}",
        f"{usage.peak:.0f}",
    )


def _rate(used: Mapping[tuple[str, int, bool], Usage], workers: str, *, explain: bool) -> float:
    """Return rows a second between the smallest and the largest folder; with a single one, of that one."""
    sizes = sorted(millions for at, millions, explained in used if at == workers and explained == explain)
    small, large = sizes[0], sizes[-1]
    if small == large:
        return large * MILLION / used[workers, large, explain].wall
    seconds = used[workers, large, explain].wall - used[workers, small, explain].wall
    return (large - small) * MILLION / seconds


def _scaling(used: Mapping[tuple[str, int, bool], Usage]) -> Iterator[Claim]:
    one, two = (_rate(used, workers, explain=True) for workers in (ONE, TWO))
    largest = max(millions for _, millions, _ in used)
    peak = max(usage.peak for usage in used.values())
    yield Claim("scored and explained by one worker", one, "rows/s")
    yield Claim("scored and explained by two workers", two, "rows/s", peer="one worker", peer_measured=one)
    yield Claim("two workers: rate in proportion to one worker", two / one, "×", 1.7, at_least=True)
    yield Claim(f"{largest} million rows: peak memory of a process", peak, "MiB", 600)
    sizes = sorted({millions for _, millions, _ in used})
    steps = [(a, b, (used[TWO, b, True].cpu - used[TWO, a, True].cpu) / (b - a)) for a, b in pairwise(sizes) if b > a]
    for start, end, seconds in steps:
        name = f"CPU seconds for each further million rows, explained, between {start} and {end} million"
        yield Claim(name, seconds, "s", peer="the first step", peer_measured=steps[0][2])


def _against_peer(used: Mapping[tuple[str, int, bool], Usage], peer: Peer, folder: Path) -> Iterator[Claim]:
    for explain, name, target in ((True, "Dask with shap", 10), (False, "Dask with scikit-learn's pipeline", 1)):
        ours = _rate(used, TWO, explain=explain)
        theirs = peer.rate(folder / "first", PEER_ROWS if explain else MILLION, explain=explain)
        what = "scored and explained" if explain else "scored"
        yield Claim(f"{what}: in proportion to the peer", ours / theirs, "×", target, at_least=True)
        yield Claim(f"{what} by two workers", ours, "rows/s", peer=name, peer_measured=theirs)


def _counts(folder: Path, sizes: _Sizes) -> Iterator[Claim]:
    """Count a folder in one process and by two workers, and assert that the counts are equal."""
    millions = max((each for each in MILLIONS if sizes.fits(folder, each)), default=MILLIONS[0])
    counts = set()
    with _folder(folder, millions, sizes) as source:
        assert source is not None, "the smallest folder fits on every disk"
        for workers in ("", TWO):
            usage = run_process([sys.executable, "-c", _COUNT, source.name, workers], folder=folder)
            counts.add((folder / "counts").read_text())
            place = "two workers" if workers else "one process with threads"
            yield Claim(f"{millions} million rows counted by {place}", millions * MILLION / usage.wall, "rows/s")
    yield Claim("different counts of one process and of two workers", float(len(counts) - 1), "", 0)


def _search(folder: Path) -> Sequence[Claim]:
    """Search the table of `churnops init` by one thread and by two workers."""
    project = folder / "search"
    project.mkdir()
    narrowed(customers(SEARCH_ROWS), SEARCH_COLUMNS).write_csv(project / "customers.csv")
    run_process([sys.executable, "-m", "churnops.cli", "init", "customers.csv", "--target", "churned"], folder=project)
    results: list[tuple[float, str]] = []
    for workers in ("", TWO):
        run_process([sys.executable, "-c", _SEARCH, workers], folder=project)
        seconds, digest = json.loads((project / "searched.json").read_text())
        results.append((seconds, digest))
    (one, first), (two, second) = results
    size = f"{SEARCH_ROWS:,} × {SEARCH_COLUMNS}"
    return [
        Claim(f"search of {size} by two workers", two, "s", peer="one thread", peer_measured=one),
        Claim(f"search of {size}: two workers in proportion to one thread", one / two, "×", 1.5, at_least=True),
        Claim("different results of one thread and of two workers", float(first != second), "", 0),
    ]


if __name__ == "__main__":
    print(json.dumps(measure().to_json(), indent=1))
