"""`churnops init` and `churnops run` without edits on public tables, against other libraries on the same folds.

The tables are in `table_files.py`. Peers run in environments of their own, made once from `tables_peers/*.txt` in the
folder `TABLES_CACHE` (default: the user's cache). Their scores stay there and are used again until their script, the
table or the environment changes. `tables_peers/results.json` keeps the figures of all tables.
"""

import ast
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import polars as pl

from benchmarks.environments import QUIET, PeerError, environment_of, last_line
from benchmarks.harness import ROOT, Result, run_process
from benchmarks.paired import Scores, auc_difference, loss_difference, losses, roc_auc
from benchmarks.table_figures import AUTOGLUON, LOG_LOSS, MEAN, NAMES, OURS, ROC_AUC, Document, result_of
from benchmarks.table_files import FOLDS, PEERS, TABLES, Table, folder

MEASURED = [name for name in NAMES if name not in (OURS, MEAN)]
AVERAGED = ("logistic", "lightgbm", "xgboost", "catboost", "ebm")
RESULTS = PEERS / "results.json"


def measure(*names: str) -> Result:
    """Measure churnops on the named tables, or all, with the peers that have no scores yet."""
    documents: dict[str, Document] = _read()
    for name in names or TABLES:
        table = TABLES[name]
        table.write()
        measured, failed = {}, []
        for method in (*MEASURED, OURS):
            try:
                measured[method] = _our_scores(table) if method == OURS else measure_peer(table, method)
            except (PeerError, RuntimeError) as error:
                reason = last_line(str(error).rpartition(" exited with ")[2])
                failed.append(f"{NAMES[method]} on {name}: {reason}")
        documents[name] = _document(table, measured) | {"failed": failed}
        RESULTS.write_text(json.dumps(documents, indent=1) + "\n", encoding="utf-8")
    return result_of({name: documents[name] for name in TABLES if name in documents})


def measure_peer(table: Table, peer: str) -> tuple[Scores, float]:
    """Return the scores of a peer and its CPU seconds for five folds; run it if there are none.

    Raises
    ------
    PeerError
        If it could not be installed.
    RuntimeError
        If it failed.
    """
    requirements, script = PEERS / f"{_environment(peer)}.txt", PEERS / f"with_{peer}.py"
    parts = [requirements.read_text(encoding="utf-8"), _code(script), _code(PEERS / "frame.py"), table.digest]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    kept = table.folder / f"{peer}-{digest}.npz"
    if not kept.exists():
        python = environment_of(requirements, folder(), NAMES[peer])
        quiet = ["env", *(f"{name}={value}" for name, value in QUIET.items())]
        with tempfile.TemporaryDirectory() as name:
            scores = Path(name) / "scores.npz"
            used = run_process([*quiet, python, str(script), str(table.folder), str(scores)])
            _keep(kept, _folds(scores), used.cpu)
    with np.load(kept) as content:
        return [content[f"fold_{fold}"] for fold in range(FOLDS)], float(content["cpu"])


def _environment(peer: str) -> str:
    """Return the name of a peer's environment: AutoGluon pins older versions of the other libraries."""
    return AUTOGLUON if peer == AUTOGLUON else "models"


def _code(path: Path) -> str:
    """Return a script's code without comments, docstrings and layout, which change no score."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return ast.dump(tree)


def _folds(path: Path) -> Scores:
    with np.load(path) as content:
        return [content[str(fold)] for fold in range(FOLDS)]


def _keep(path: Path, scores: Scores, cpu: float) -> None:
    """Write scores so that an interruption leaves none."""
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, cpu=cpu, **{f"fold_{fold}": values for fold, values in enumerate(scores)})
    part.replace(path)


def _our_scores(table: Table) -> tuple[Scores, float]:
    """Return our scores of the validation rows, and the CPU seconds of `init`, `run` and `predict` for five folds.

    Raises
    ------
    RuntimeError
        If a command failed.
    """
    scores, used = [], 0.0
    for fold in range(FOLDS):
        with tempfile.TemporaryDirectory() as name:
            project = Path(name)
            for part in ("train", "valid"):
                shutil.copy(table.file_of(part, fold), project / f"{part}.csv")
            for words in (("init", "train.csv", "--target", table.target), ("run",), ("predict", "valid.csv", "s.csv")):
                used += run_process(_churnops(*words), folder=project).cpu
            answer = pl.read_csv(project / "s.csv", columns=["churn_probability"])
            scores.append(answer["churn_probability"].to_numpy())
    return scores, used


def _churnops(*words: str) -> Sequence[str]:
    variables = {**QUIET, "PYTHONPATH": str(ROOT / "src")}
    return [
        "env",
        *(f"{name}={value}" for name, value in variables.items()),
        sys.executable,
        "-m",
        "churnops.cli",
        *words,
    ]


def _document(table: Table, measured: Mapping[str, tuple[Scores, float]]) -> Document:
    """Return the figures of a table: each method's, and ours minus each peer's with its interval."""
    outcomes = table.outcomes
    scores = {name: values for name, (values, _) in measured.items()}
    cpu = {name: seconds for name, (_, seconds) in measured.items()}
    if all(peer in scores for peer in AVERAGED):
        scores[MEAN] = [np.mean([scores[peer][fold] for peer in AVERAGED], axis=0) for fold in range(FOLDS)]
        cpu[MEAN] = sum(cpu[peer] for peer in AVERAGED)
    methods = {
        name: {
            LOG_LOSS: float(losses(outcomes, values).mean()),
            ROC_AUC: roc_auc(outcomes, values),
            "cpu": cpu[name],
        }
        for name, values in scores.items()
    }
    differences = {
        name: {
            LOG_LOSS: asdict(loss_difference(outcomes, scores[OURS], values)),
            ROC_AUC: asdict(auc_difference(outcomes, scores[OURS], values)),
        }
        for name, values in scores.items()
        if name != OURS and OURS in scores
    }
    return {"methods": methods, "differences": differences}


def _read() -> dict[str, Document]:
    if not RESULTS.exists():
        return {}
    documents: dict[str, Document] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return documents
