"""Batch scoring: `churnops predict --explain` on a million customers, in its own process."""

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from benchmarks.harness import ROOT, Claim, Result, Usage, run_process
from benchmarks.product import Project, prepare
from churnops.data.read import encode, table_paths
from churnops.data.validate import check_customers
from churnops.model import Bundle
from churnops.training.candidates import CANDIDATES
from churnops.training.train import train_models

ROWS = 1_000_000
PEER_ROWS = 5_000
CHURNOPS = str(Path(sys.executable).with_name("churnops"))


def measure() -> Result:
    """Train the main job's models, deploy the winner in a new folder, and score the same rows in four ways."""
    project = Project.default()
    settings = project.settings
    prepared, features = prepare(project.raw, settings)
    trained = train_models(prepared, features, settings)
    winner = trained.models[trained.winner]
    fitted = CANDIDATES[trained.winner].fit(
        winner.search.best.params,
        features.build(prepared.imputer(prepared.columns))[~prepared.held_out],
        prepared.outcome[~prepared.held_out],
        settings.random_state,
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "config.yaml", folder)
        trained.refit.save(folder / "models/versions/a")
        (folder / "models/production").symlink_to("versions/a")
        _write_customers(folder, [settings.path(path) for path in settings.data.raw])
        run_process([CHURNOPS, "predict", "few.csv", "few-scored.csv", "--explain"], folder=folder)  # compiles
        peer = _usual_way(folder / "few.csv", folder / "peer.csv", fitted, winner.bundle) / PEER_ROWS * ROWS
        claims, table = [], [("from, to", "seconds", "CPU seconds", "rows a second", "peak MiB", "MB read, written")]
        for source, target, explain in (
            ("csv", "csv", True),
            ("parquet", "parquet", True),
            ("csv", "csv", False),
            ("parquet", "parquet", False),
        ):
            given, written = folder / f"many.{source}", folder / f"scored.{target}"
            command = [CHURNOPS, "predict", given.name, written.name, *(["--explain"] if explain else []), "--force"]
            used = run_process(command, folder=folder)
            label = f"{source.upper().replace('PARQUET', 'Parquet')}{', explained' if explain else ''}"
            table.append(_row(label, used, given, written))
            if explain:
                claims += [
                    Claim(f"{label}, a million rows", used.wall, "s", 90, peer="pandas and shap", peer_measured=peer),
                    Claim(f"{label}, peak memory", used.peak, "MiB", 600),
                ]
    return Result(
        title="Batch scoring",
        about=(
            f"The process `churnops predict`, with its start, on {ROWS:,} customers: rows of `data/raw`, drawn with "
            f"replacement, with 5 % noise on minutes and charges; the main job's {trained.winner} on all cores."
        ),
        claims=claims,
        tables=[("The same rows, with and without explanations", table)],
        notes=[
            "The peer is the usual code: `pandas.read_csv`, the feature matrix, `predict_proba`, `shap.TreeExplainer`, "
            f"the six largest contributions, `to_csv`, on {PEER_ROWS:,} of the same rows in one thread. Its time is "
            "scaled to a million rows, without the start of the process.",
        ],
    )


def _write_customers(folder: Path, sources: list[Path]) -> None:
    """Write `many.csv`, `many.parquet` and, with its first rows, `few.csv`."""
    known = pl.concat(pl.read_csv(path) for path in table_paths(sources))
    rng = np.random.default_rng(0)
    drawn = known[rng.integers(known.height, size=ROWS)]
    noisy = [
        pl.Series(name, (drawn[name].to_numpy() * rng.normal(1, 0.05, ROWS)).clip(0, float(known[name].max())).round(2))  # type: ignore[arg-type]
        for name, dtype in known.schema.items()
        if dtype.is_float()
    ]
    drawn = drawn.with_columns(noisy)
    drawn.write_csv(folder / "many.csv")
    drawn.write_parquet(folder / "many.parquet")
    drawn.head(PEER_ROWS).write_csv(folder / "few.csv")


def _usual_way(source: Path, target: Path, fitted: Any, bundle: Bundle) -> float:
    """Return the seconds that pandas, the model's library and shap take for `source`."""
    import pandas as pd
    import shap

    explainer = shap.TreeExplainer(fitted)
    began = time.perf_counter()
    frame = pd.read_csv(source)
    matrix = _matrix(frame, bundle)
    frame["churn_probability"] = fitted.predict_proba(matrix)[:, 1]
    values = np.asarray(explainer.shap_values(matrix, check_additivity=False))
    values = values[..., 1] if values.ndim == 3 else values
    names = np.array(bundle.selected)
    largest = np.argsort(-np.abs(values), axis=1)[:, :6]
    frame["top_shap_features"] = [
        [{"feature": names[place], "shap_value": row[place]} for place in places]
        for places, row in zip(largest, values, strict=True)
    ]
    frame.to_csv(target, index=False)
    return time.perf_counter() - began


def _matrix(frame: Any, bundle: Bundle) -> NDArray[np.float64]:
    """Build the feature matrix as the bundle does, since the peers' own way is not compared."""
    customers = check_customers(pl.from_pandas(frame), bundle.schema, "peer")
    return bundle.matrix(bundle.imputer(encode(customers, bundle.schema)))


def _row(label: str, used: Usage, given: Path, written: Path) -> tuple[str, ...]:
    sizes = f"{given.stat().st_size / 1e6:,.0f}, {written.stat().st_size / 1e6:,.0f}"
    return label, f"{used.wall:.1f}", f"{used.cpu:.1f}", f"{ROWS / used.wall:,.0f}", f"{used.peak:.0f}", sizes
