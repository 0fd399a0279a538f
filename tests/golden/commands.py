"""Golden answers of the commands and their files."""

import json
import sqlite3
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import polars as pl

from tests.golden.project import GoldenProject

SHOWN_ROWS = 5


def help_texts(project: GoldenProject) -> None:
    """Record `--help` of every command."""
    from churnops.cli import main

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        project.run(*path, "--help")
        for name, inner in sorted(getattr(command, "commands", {}).items()):
            walk(inner, (*path, name))

    walk(main, ())


def commands(project: GoldenProject) -> None:
    """Record answers of commands without training: settings, keys, predictions, simulation, models."""
    project.run("version", "--json")
    project.run("config", "check")
    project.run("config", "check", "--json")
    project.run("keys", "list")
    project.run("keys", "list", "--json")
    project.run("keys", "add", "billing", "--scope", "predict", "--scope", "label", "--json")
    project.run("keys", "add", "billing", "--scope", "predict")
    project.run("keys", "add", "other", "--scope", "everything")
    project.run("keys", "revoke", "billing")
    project.run("keys", "revoke", "nobody")
    _predictions(project)
    _simulations(project)
    project.run("models")
    project.run("models", "--json")
    project.run("rollback", "--reason", " ")
    project.run("rollback", "--to", "9")
    project.run("rollback", "--reason", "a test", "--json")
    project.run("promote", "2", "--reason", "a test", "--json")
    project.run("promote", "9", "--reason", "a test")
    project.run("promote", "2", "--reason", "a test", "--force", "--json", name="promote by force")
    project.run("models", "prune", "--keep", "1", "--json")
    project.run("models", "--json", name="models afterwards")


def _predictions(project: GoldenProject) -> None:
    """Score a file in each format, with and without reasons, and invalid files."""
    project.run("predict", "batches/later.csv", "scored.csv", "--json")
    project.record("scored.csv", _table(project.root / "scored.csv"))
    project.run("predict", "batches/later.csv", "scored.csv")
    project.run("predict", "batches/later.csv", "scored.csv", "--force")
    project.run("predict", "batches/later.csv", "explained.parquet", "--explain", "--json")
    project.record("explained.parquet", _table(project.root / "explained.parquet"))
    project.run("predict", "batches/without-columns.csv", "none.csv")
    project.run("predict", "batches/nothing.csv", "none.csv", "--json")
    broken = (project.root / "batches/later.csv").read_text().splitlines()[:3]
    (project.root / "broken.csv").write_text("\n".join([*broken, broken[1].replace("No", "maybe")]) + "\n")
    project.run("predict", "broken.csv", "none.csv")
    project.run("predict", "broken.csv", "none.xlsx")


def _simulations(project: GoldenProject) -> None:
    """Simulate customers with each kind of change."""
    project.run("simulate", "same.csv", "--rows", "20", "--json")
    project.record("same.csv", _table(project.root / "same.csv"))
    shift = ("--covariate", "0.5", "--column", "total_day_minutes", "--concept", "0.5", "--prior", "0.3")
    project.run("simulate", "shifted.parquet", "--rows", "20", "--seed", "7", *shift)
    project.record("shifted.parquet", _table(project.root / "shifted.parquet"))
    project.run("simulate", "recipe.csv", "--rows", "20", "--recipe", "--json")
    project.run("simulate", "recipe.csv", "--rows", "20", "--recipe")
    project.run("simulate", "none.csv", "--column", "shoe_size", "--covariate", "1")


def cycles(project: GoldenProject) -> None:
    """Record monitoring cycles, their files, and the journal's rows afterwards."""
    project.run("rollback", "--reason", "a test")  # to the model whose predictions have outcomes
    until = ("--until", "2026-11-20T00:00:00", "--window", "60d")
    project.run("monitor", *until)
    project.run("monitor", *until, "--json")
    project.run("monitor", "--batch", "batches/later.csv", "--no-retrain", "--json")
    _newest_report(project, "monitor --batch")
    project.run("monitor", "--simulate", "--seed", "7", "--json")
    _newest_report(project, "monitor --simulate")
    project.run("monitor", "--batch", "batches/without-columns.csv")
    project.run("monitor", "--batch", "batches/nothing.csv")
    project.run("monitor", "--simulate", "--batch", "batches/later.csv")
    project.run("monitor", "--experiment", "none")
    _journal(project, "looks", "cycles", "alerts", "deliveries")


def fits(project: GoldenProject) -> None:
    """Record answers, files and rows of the main job and a retraining, without the numbers of their fits."""
    retrained = project.run("retrain", "--batch", "batches/later.csv", "--json", fitted=True)
    summary = json.loads(Path(retrained["summary"]).read_text())
    project.record("retraining summary", summary, fitted=True)
    # With the fixture's seed, the processor would decide whether every bit of the model is that of version 1.
    project.run("run", "--json", fitted=True, CHURNOPS_RANDOM_STATE="7")
    _evaluation(project)
    project.run("models", "--json", fitted=True)
    _journal(project, "decisions", "deployments", fitted=True)


def _evaluation(project: GoldenProject) -> None:
    """Record the files of the newest run of the main job."""
    files = sorted(project.root.glob("mlartifacts/**/evaluation_results.json"), key=lambda path: path.stat().st_mtime)
    project.record("evaluation_results.json", json.loads(files[-1].read_text()), fitted=True)
    for name in ("evaluation.html", "confusion_matrix.html"):
        project.record(name, _html_text(files[-1].with_name(name)), fitted=True)
    selected = sorted(project.root.glob("mlartifacts/**/selected_features.json"), key=lambda path: path.stat().st_mtime)
    project.record("selected_features.json", json.loads(selected[-1].read_text()), fitted=True)


def _newest_report(project: GoldenProject, name: str) -> None:
    newest = max((project.root / "monitoring").glob("monitoring_report_*.json"))
    project.record(f"{name}: page", _html_text(newest.with_suffix(".html")))
    batch = newest.with_name(newest.name.replace("monitoring_report", "production_batch")).with_suffix(".csv")
    project.record(f"{name}: production batch", _table(batch))


def _table(path: Path) -> dict[str, Any]:
    """Return the types, row count and first rows of a table."""
    table = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
    return {
        "columns": {name: str(kind) for name, kind in table.schema.items()},
        "rows": table.height,
        "first": [json.dumps(row) for row in table.head(SHOWN_ROWS).to_dicts()],
    }


def _journal(project: GoldenProject, *tables: str, fitted: bool = False) -> None:
    """Record rows of the journal, including those of the fixture."""
    with closing(sqlite3.connect(project.root / "journal.db")) as connection:
        connection.row_factory = sqlite3.Row
        for table in tables:
            rows = [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY id")]
            project.record(f"journal: {table}", rows, fitted=fitted)


class _Text(HTMLParser):
    """Collects the text of a page outside styles and scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._hidden += tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        if data.strip() and not self._hidden:
            self.lines.append(" ".join(data.split()))


def _html_text(path: Path) -> list[str]:
    parser = _Text()
    parser.feed(path.read_text())
    return parser.lines
