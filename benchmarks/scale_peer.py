"""The usual way to score a data set on Dask: `map_partitions` of a library's pipeline, and shap."""

import logging
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


@dataclass(frozen=True)
class Peer:
    """A fitted pipeline of scikit-learn, whose last step is XGBoost's classifier."""

    pipeline: Any

    def rate(self, folder: Path, rows: int, *, explain: bool) -> float:
        """Return the rows a second of two workers, for the first rows of a Parquet folder."""
        import dask.dataframe as dd
        from distributed import Client, LocalCluster

        with tempfile.TemporaryDirectory() as name:
            source, target = Path(name, "in"), Path(name, "out")
            source.mkdir()
            table = pl.read_parquet(folder).head(rows)
            for part in range(4):
                table.slice(part * rows // 4, rows // 4).write_parquet(source / f"{part}.parquet")
            options = {"host": "127.0.0.1", "dashboard_address": None, "silence_logs": logging.ERROR}
            cluster = LocalCluster(n_workers=2, threads_per_worker=1, **options)
            with cluster, Client(cluster):
                frame = dd.read_parquet(str(source))
                first = pl.read_parquet(source / "0.parquet").head(10).to_pandas()
                scored = frame.map_partitions(
                    _scored, self.pipeline, explain, meta=_scored(first, self.pipeline, explain)
                )
                scored.to_parquet(str(target))  # imports, and compiles
                shutil.rmtree(target)
                started = time.perf_counter()
                scored.to_parquet(str(target))
                return rows / (time.perf_counter() - started)


def fit_peer(known: pl.DataFrame, params: Mapping[str, Any], seed: int) -> Peer:
    """Fit the pipeline to the known customers, whose outcome is `Churn`."""
    from sklearn.compose import make_column_transformer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OrdinalEncoder
    from xgboost import XGBClassifier

    frame = known.to_pandas()
    outcome, inputs = frame["Churn"].astype(int), frame.drop(columns="Churn")
    texts = [name for name in inputs.columns if inputs[name].dtype.kind not in "ifb"]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((encoder, texts), remainder="passthrough")
    model = XGBClassifier(**params, n_jobs=1, random_state=seed)
    return Peer(make_pipeline(columns, model).fit(inputs, outcome))


def _scored(frame: Any, pipeline: Any, explain: bool) -> Any:
    """Add scores, and the names and values of the six largest contributions."""
    frame = frame.copy()
    frame["churn_probability"] = pipeline.predict_proba(frame)[:, 1]
    if explain:
        import shap

        matrix = pipeline[:-1].transform(frame.drop(columns="churn_probability"))
        values = shap.TreeExplainer(pipeline[-1]).shap_values(matrix)
        largest = np.argsort(-np.abs(values), axis=1)[:, :6]
        names = np.array(pipeline[:-1].get_feature_names_out())
        for place in range(6):
            frame[f"feature_{place}"] = names[largest[:, place]]
            frame[f"value_{place}"] = np.take_along_axis(values, largest[:, [place]], axis=1)[:, 0]
    return frame
