"""The page of `tables`: claims, and figures of every method on every table."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks.harness import Claim, Result
from benchmarks.page import shown
from benchmarks.table_files import TABLES

OURS, MEAN, AUTOGLUON = "churnops", "mean", "autogluon"
NAMES = {
    OURS: "churnops",
    "logistic": "logistic regression",
    "lightgbm": "LightGBM, well-set",
    "lightgbm_default": "LightGBM, defaults",
    "xgboost": "XGBoost, well-set",
    "xgboost_default": "XGBoost, defaults",
    "catboost": "CatBoost, 1,000 trees",
    "ebm": "EBM",
    MEAN: "mean of five",
    AUTOGLUON: "AutoGluon, 60 CPU s",
}
LOG_LOSS, ROC_AUC = "log_loss", "roc_auc"
LIMITS = {LOG_LOSS: 0.002, ROC_AUC: 0.003}
"""Largest difference to the worse from the best single peer."""
TITLES = {LOG_LOSS: "log loss", ROC_AUC: "ROC-AUC"}
LARGE = 10_000  # tables of this many rows are judged by the difference itself
Document = dict[str, Any]
"""Figures of the methods on a table, and differences (ours minus the peer's)."""
Figures = Mapping[str, float]


def result_of(documents: Mapping[str, Document]) -> Result:
    ranks = _mean_ranks(documents)
    return Result(
        title="Public tables",
        about=(
            "`churnops init` and `churnops run` without edits on public tables with two outcomes. The list of "
            "tables was fixed before the first measurement. Each table is split into five stratified folds: a model "
            "is trained on four parts and scores the fifth. Log loss is the mean of all rows, ROC-AUC the mean of "
            "the folds. A peer gets typed columns without the id, and unreadable cells as missing; churnops gets "
            "the file. Each has one thread. The best single peer is the best of all peers except their mean. A claim "
            "is the difference to this peer, positive if churnops is worse. Tables of 10,000 rows and more are judged "
            "by the difference itself, smaller ones by the lower end of its 95 % interval, from paired rows (for "
            "ROC-AUC with the variance of DeLong et al., 1988)."
        ),
        claims=[
            *_scored_claims(documents),
            *_rank_claims(ranks),
            *(claim for name, document in documents.items() for claim in _claims(name, document)),
        ],
        tables=[
            ("Tables", _list()),
            *(_matrices(documents, ranks) if documents else []),
        ],
        notes=[
            "Well-set means: a rate of 0.05, and the number of trees and leaves (or depth) by cross-validation with "
            "early stopping on the training rows. The mean of five is the mean probability of logistic regression, "
            "LightGBM and XGBoost (both well-set), CatBoost and EBM, and its time their sum. AutoGluon has the "
            "preset `medium_quality`. Its limit of 60 seconds a fold counts CPU time. EBM has its defaults, but "
            "four outer bags instead of 14 on tables of 12,500 rows and more, to stay within 30 CPU minutes a "
            "table.",
            "Scores of peers are kept, and used again until their script, their environment or the table changes.",
            *(f"Failed: {reason}" for document in documents.values() for reason in document["failed"]),
        ],
    )


def _scored_claims(documents: Mapping[str, Document]) -> list[Claim]:
    """Return the share of tables that churnops scored."""
    if not documents:
        return []
    share = sum(OURS in document["methods"] for document in documents.values()) / len(documents)
    return [Claim(f"share of the {len(documents)} tables that churnops scored", share, target=1.0, at_least=True)]


def _claims(name: str, document: Document) -> list[Claim]:
    """Return how much worse we are than the best single peer, in log loss and ROC-AUC."""
    claims = []
    for metric, limit in LIMITS.items():
        peers = [peer for peer in document["differences"] if peer != MEAN]
        if not peers:
            continue
        best = min(peers, key=lambda peer: _cost(document["methods"][peer], metric))
        low, value, high = _worse(document, best, metric)
        judged = value if TABLES[name].rows >= LARGE else low
        title = f"{name}: {TITLES[metric]} worse than the best single peer's"
        claims.append(Claim(title, judged, target=limit, peer=NAMES[best], low=low, high=high))
    return claims


def _worse(document: Document, peer: str, metric: str) -> tuple[float, float, float]:
    """Return how much worse we are than a peer, between the ends of its interval; negative if better."""
    difference = document["differences"][peer][metric]
    low, value, high = (difference[key] for key in ("low", "value", "high"))
    return (low, value, high) if metric == LOG_LOSS else (-high, -value, -low)


def _cost(figures: Figures, metric: str) -> float:
    """Return a figure of which the smallest is best."""
    return -figures[metric] if metric == ROC_AUC else figures[metric]


def _mean_ranks(documents: Mapping[str, Document]) -> dict[str, dict[str, float]]:
    """Return the mean rank of each method for each metric, over the tables on which every method was measured."""
    whole = [document["methods"] for document in documents.values() if document["methods"].keys() == NAMES.keys()]
    if not whole:
        return {}
    ranks = {}
    for metric in LIMITS:
        places = [rankdata([_cost(methods[name], metric) for name in NAMES]) for methods in whole]
        ranks[metric] = dict(zip(NAMES, np.mean(places, axis=0).tolist(), strict=True))
    return ranks


def _rank_claims(ranks: Mapping[str, Mapping[str, float]]) -> list[Claim]:
    claims = []
    for metric, means in ranks.items():
        best = min((name for name in means if name != OURS), key=lambda name: means[name])
        title = f"mean rank of {TITLES[metric]}"
        claims.append(
            Claim(title, means[OURS], target=round(means[best], 4), peer=NAMES[best], peer_measured=means[best])
        )
    return claims


def _list() -> list[tuple[str, ...]]:
    header = (
        "table",
        "customers",
        "file",
        "package",
        "licence of the package",
        "of the data",
        "rows",
        "outcome",
        "share",
    )
    rows = [header]
    for name, table in TABLES.items():
        rows.append(
            (
                name,
                table.about,
                f"`{table.file.rpartition('/')[2]}`",
                f"{table.package} {table.version}",
                table.package_licence,
                table.data_licence,
                f"{table.rows:,}",
                f"`{table.target}` is `{table.positive}`",
                f"{table.rate:.1%}",
            )
        )
    return rows


def _matrices(
    documents: Mapping[str, Document], ranks: Mapping[str, Mapping[str, float]]
) -> list[tuple[str, list[tuple[str, ...]]]]:
    return [
        *(
            (f"{TITLES[metric]}{', and the mean of the ranks' if ranks else ''}", _matrix(documents, metric, ranks))
            for metric in LIMITS
        ),
        ("CPU seconds for five folds, fit and scores, with imports", _matrix(documents, "cpu")),
        ("churnops minus peer, with 95 % interval", _differences(documents)),
    ]


def _matrix(
    documents: Mapping[str, Document], metric: str, ranks: Mapping[str, Mapping[str, float]] | None = None
) -> list[tuple[str, ...]]:
    """Return a figure of every method on every table; the best is bold."""
    rows: list[tuple[str, ...]] = [("", *NAMES.values())]
    for name, document in documents.items():
        methods = document["methods"]
        best = min(_cost(figures, metric) for figures in methods.values())
        cells = []
        for method in NAMES:
            if method not in methods:
                cells.append("")
            elif metric == "cpu":
                cells.append(shown(methods[method][metric], "s"))
            else:
                cell = f"{methods[method][metric]:.4f}"
                cells.append(f"**{cell}**" if _cost(methods[method], metric) == best else cell)
        rows.append((name, *cells))
    if ranks:
        rows.append(("mean rank", *(f"{ranks[metric][method]:.2f}" for method in NAMES)))
    return rows


def _differences(documents: Mapping[str, Document]) -> list[tuple[str, ...]]:
    peers = [peer for peer in NAMES if peer != OURS]
    rows: list[tuple[str, ...]] = [("table", "metric", *(NAMES[peer] for peer in peers))]
    for name, document in documents.items():
        for metric in LIMITS:
            cells = [
                "{value:+.4f} [{low:+.4f}, {high:+.4f}]".format(**document["differences"][peer][metric])
                if peer in document["differences"]
                else ""
                for peer in peers
            ]
            rows.append((name, TITLES[metric], *cells))
    return rows
