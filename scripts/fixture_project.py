"""Make a fixture project, or compare two versions of the code on one: see CONTRIBUTING.md.

    python -m scripts.fixture_project make FOLDER [--source COMMIT_FOLDER/src]
    python -m scripts.fixture_project compare COMMIT [--project tests/fixtures/project-1]

`make` runs the product's commands and its API: train, serve, label, monitor, retrain, roll back. It works in `HOME`, so
that no path in the project names a folder of this machine, and moves the result to FOLDER. `compare` scores the
recorded customers with the code of COMMIT and with the code of this folder, and fails unless all answers have the same
bytes.
"""

import argparse
import csv
import hashlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml
from tests.support.fixture_project import ACTIVE_TOKEN, HOME, REVOKED_TOKEN, VERSION_FOLDERS, copy_project
from tests.support.parts import find_part
from tests.support.postgres import private_cluster
from tests.support.processes import free_port
from tests.support.projects import LATER, RAW
from tests.support.sinks import listening

ROOT: Final = Path(__file__).resolve().parents[1]
CHURNOPS: Final = (
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'churnops'; from churnops.cli import main; main()",  # MLflow records argv[0]
)
DAY: Final = 86_400 * 10**6
"""A day in microseconds."""
ANSWERED: Final = 30
"""Number of customers whose answers are recorded."""


class Product:
    """Commands and API of churnops in one project, with the code of one `src` folder."""

    def __init__(self, root: Path, source: Path) -> None:
        self.root = root
        self._environment = {**os.environ, "PYTHONPATH": str(source), "MLFLOW_DISABLE_TELEMETRY": "true"}

    def run(self, *arguments: str, code: int = 0, **variables: str) -> dict[str, Any]:
        """Run a command with `--json`; return its document, empty if there is none."""
        done = subprocess.run(
            [*CHURNOPS, *arguments, "--json"],
            cwd=self.root,
            env=self._environment | variables,
            capture_output=True,
            text=True,
        )
        print(f"churnops {' '.join(arguments)}: exit code {done.returncode}")
        if done.returncode != code:
            raise SystemExit(done.stdout + done.stderr)
        document: dict[str, Any] = json.loads(done.stdout) if done.stdout.startswith("{") else {}
        return document

    @contextmanager
    def serving(self) -> Iterator["Client"]:
        """Serve the project until the block ends."""
        port = free_port()
        command = [*CHURNOPS, "serve", "--port", str(port)]
        log = tempfile.TemporaryFile()  # noqa: SIM115
        with log, subprocess.Popen(command, cwd=self.root, env=self._environment, stdout=log, stderr=log) as process:
            try:
                client = Client(f"http://127.0.0.1:{port}")
                while not client.ready():
                    if process.poll() is not None:
                        log.seek(0)
                        raise SystemExit(log.read().decode())
                yield client
            finally:
                process.terminate()
                process.wait(timeout=60)


class Client:
    """A client with the fixture's active key."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ready(self) -> bool:
        """Return whether the service answers; wait a moment if not."""
        with suppress(OSError):
            return bool(self.ask("/health/ready"))
        time.sleep(0.2)
        return False

    def ask(self, path: str, body: Any = None, kind: str = "application/json") -> bytes:
        """Send a GET request, or a POST request if there is a body; return the bytes of the answer."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"X-API-Key": ACTIVE_TOKEN, "Content-Type": kind}
        with urllib.request.urlopen(urllib.request.Request(self._address + path, data, headers), timeout=60) as answer:
            content: bytes = answer.read()
        return content


def customers(rows: Sequence[Mapping[str, str]], first: int) -> list[dict[str, Any]]:
    """Return rows of the public table as bodies of the API, with made-up ids."""
    texts = {"State", "Area code", "International plan", "Voice mail plan"}
    return [
        {"customer_id": f"C-{first + number}"}
        | {name: value if name in texts else float(value) for name, value in row.items() if name != "Churn"}
        for number, row in enumerate(rows)
    ]


def make(folder: Path, source: Path) -> None:
    """Make the project in `HOME`, and move it to `folder`."""
    if HOME.exists() or folder.exists():
        raise SystemExit(f"{HOME} and {folder} must not exist")
    later = _write_inputs(source)
    product = Product(HOME, source)
    product.run("run")
    _make_keys(product)
    _answer_and_label(product, later)
    _monitor_and_retrain(product)
    _deploy_and_record(product, later[:ANSWERED])
    _strip(source)
    _dump_to_postgresql(source)
    shutil.move(HOME, folder)


def _write_inputs(source: Path) -> list[dict[str, str]]:
    """Write config.yaml, the tables and the batches; return the rows of later customers."""
    HOME.mkdir(parents=True)
    document = yaml.safe_load((source / "churnops/default_config.yaml").read_text())
    document["data"]["batches"] = {"crm": "batches/reversed.csv"}  # only declared sources cause a retraining
    document["training"] |= {"families": ["logistic_regression"], "trials": {"xgboost": 1}, "folds": 3}
    document["evaluation"]["bootstrap_replicates"] = 100
    document["monitoring"]["window_days"] = 3650
    document["alerts"] |= {"attempts": 1, "timeout_seconds": 5}
    document["retraining"] |= {"families": ["xgboost"], "min_new_labels": 100, "history_days": 36500}
    (HOME / "config.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    for path, part, count in ((RAW[0], "raw", 400), (RAW[1], "raw", 200), (LATER, "production", 250)):
        (HOME / "data" / part).mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines(keepends=True)[: count + 1]
        (HOME / "data" / part / path.name).write_text("".join(lines))
    with LATER.open(newline="") as file:
        later = list(csv.DictReader(file))
    (HOME / "batches").mkdir()
    _write_csv(HOME / "batches/reversed.csv", [_reversed(row) for row in later[300:900]])
    _write_csv(HOME / "batches/later.csv", later[1000:1300])
    _write_csv(HOME / "batches/without-columns.csv", [{"State": row["State"]} for row in later[:5]])
    return later


def _reversed(row: Mapping[str, str]) -> dict[str, str]:
    """Let customers with a high bill stay, and those with a low one leave."""
    prices = {"day": 0.17, "eve": 0.085, "night": 0.045, "intl": 0.27}
    bill = sum(float(row[f"Total {part} minutes"]) * price for part, price in prices.items())
    changes = row["Voice mail plan"] == "No" and not 48 <= bill <= 74
    return {**row, "Churn": str(bill < 48)} if changes else dict(row)


def _write_csv(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _make_keys(product: Product) -> None:
    """Make an active and a revoked key with the tests' tokens."""
    for name, token in (("fixture", ACTIVE_TOKEN), ("gone", REVOKED_TOKEN)):
        product.run("keys", "add", name, "--scope", "admin")
        kept = (token.split("_")[1], hashlib.sha256(token.encode()).hexdigest(), name)
        _change("UPDATE api_keys SET id = ?, token_sha256 = ? WHERE name = ?", kept)
    product.run("keys", "revoke", "gone")


def _change(statement: str, values: Sequence[Any] = ()) -> None:
    with closing(sqlite3.connect(HOME / "journal.db")) as connection, connection:
        connection.execute(statement, values)


def _answer_and_label(product: Product, later: Sequence[Mapping[str, str]]) -> None:
    """Score 130 customers with the first model through each path, dated forty days ago, and send most outcomes."""
    bodies = customers(later[:130], 1)
    with product.serving() as client:
        answers = [json.loads(client.ask("/predict", body)) for body in bodies[:20]]
        answers += json.loads(client.ask("/predict/batch", bodies[20:80]))
        lines = "".join(json.dumps(body) + "\n" for body in bodies[80:]).encode()
        uploaded = client.ask("/predict/batch", lines, "application/x-ndjson")
        answers += [json.loads(line) for line in uploaded.splitlines()]
    _change("UPDATE predictions SET at = at - ?", (40 * DAY,))
    with closing(sqlite3.connect(HOME / "journal.db")) as connection:
        at = dict(connection.execute("SELECT id, at FROM predictions"))
    outcomes = []
    for number, (answer, row) in enumerate(zip(answers, later, strict=False)):
        churned = row["Churn"] == "True"
        days = 1 if churned else 31
        who = {"prediction_id": answer["prediction_id"]}
        if number >= 100:
            who = {"customer_id": bodies[number]["customer_id"]}
        when = (at[answer["prediction_id"]] + days * DAY) / 10**6
        outcomes.append(who | {"churned": churned, "outcome_at": _iso(when)})
    with product.serving() as client:
        client.ask("/labels", outcomes[:122])
        client.ask("/labels", outcomes[0])  # a repetition
        client.ask("/labels", [outcome | {"churned": not outcome["churned"]} for outcome in outcomes[80:120:10]])
        client.ask("/labels", outcomes[80])  # and back again


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _monitor_and_retrain(product: Product) -> None:
    """Run cycles that fail, finish and only report; retrain to a second model, and to a third that stays challenger."""
    with listening() as working, listening(status=500) as broken:
        channels = {"CHURNOPS_ALERTS__URLS": json.dumps([working.url, broken.url])}
        product.run("monitor", **channels)
        product.run("monitor", "--simulate", "--seed", "7", **channels)
        product.run("monitor", "--batch", "batches/without-columns.csv", code=2, **channels)
        product.run("monitor", "--window", "60d", "--until", _iso(time.time() - 86_400 * 20)[:19], **channels)
        cooldown = {"CHURNOPS_RETRAINING__RETRAINING_COOLDOWN_DAYS": "5"}
        product.run("monitor", "--batch", "batches/reversed.csv", **channels, **cooldown)
        product.run("monitor", "--batch", "batches/reversed.csv", **channels)
    other = {"CHURNOPS_RETRAINING__FAMILIES": "[random_forest]", "CHURNOPS_RETRAINING__MIN_IMPROVEMENT": "0.9"}
    product.run("retrain", "--batch", "batches/later.csv", "--reason", "the tariff changed", **other)


def _deploy_and_record(product: Product, later: Sequence[Mapping[str, str]]) -> None:
    """Roll back and promote the second model again; record the answers of each."""
    recorded = {}
    bodies = customers(later, 1001)
    product.run("rollback", "--reason", "complaints since noon")
    for version in ("1", "2"):
        with product.serving() as client:
            answers = [json.loads(client.ask("/predict", body)) for body in bodies]
        for answer in answers:
            del answer["prediction_id"]
        recorded[version] = answers
        if version == "1":
            product.run("promote", "2", "--reason", "it was not the model", "--force")
    document = {"customers": bodies, "answers": recorded}
    (HOME / "answers.json").write_text(json.dumps(document) + "\n")


def _strip(source: Path) -> None:
    """Delete files of runs without a registered version, and this machine's paths; shrink the databases."""
    with closing(sqlite3.connect(HOME / "mlflow.db")) as connection:
        registered = {source for (source,) in connection.execute("SELECT source FROM model_versions")}
    kept = {Path(source.removeprefix("file://")) for source in registered}
    for path in sorted((HOME / "mlartifacts").rglob("*"), reverse=True):
        if path.is_dir():
            with suppress(OSError):
                path.rmdir()
        elif not kept & set(path.parents):
            path.unlink()
    for path in (HOME / "mlartifacts").rglob("MLmodel"):
        text = path.read_text().replace(str(source), "/srv/churnops/src")
        path.write_text(re.sub(rf"{tempfile.gettempdir()}/[^/\s]+", "/srv/temporary", text))
    (HOME / "models/.lock").unlink(missing_ok=True)
    for name in ("journal.db", "mlflow.db"):
        with closing(sqlite3.connect(HOME / name)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")
            if name == "mlflow.db":  # each of a hundred mostly empty tables and indexes takes a page
                connection.execute("PRAGMA page_size=512")
            connection.execute("VACUUM")


def _dump_to_postgresql(source: Path) -> None:
    """Write journal.sql, the same journal as a dump of PostgreSQL."""
    program = (
        "import sys; from sqlalchemy import *; from churnops.journal import open_database\n"
        "from churnops.journal.tables import metadata\n"
        "old, new = open_database(sys.argv[1]), open_database(sys.argv[2])\n"
        "with old.connect() as a, new.begin() as b:\n"
        "    for table in metadata.sorted_tables:\n"
        "        rows = [dict(row) for row in a.execute(select(table)).mappings()]\n"
        "        if rows: b.execute(insert(table), rows)\n"
        "        if 'id' in table.c and isinstance(table.c.id.type, Integer):\n"
        "            b.execute(text(f\"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), max(id)) "
        'FROM {table.name} HAVING max(id) > 0"))\n'
    )
    pg_dump = Path(str(find_part("postgresql"))).resolve().with_name("pg_dump")
    with private_cluster() as cluster:
        urls = [f"sqlite:///{HOME}/journal.db", cluster.url]
        environment = {**os.environ, "PYTHONPATH": str(source)}
        subprocess.run([sys.executable, "-c", program, *urls], check=True, env=environment)
        address = cluster.url.replace("+psycopg", "")
        dump = [str(pg_dump), "--no-owner", "--no-privileges", "--file", str(HOME / "journal.sql"), address]
        subprocess.run(dump, check=True)
    for rest in HOME.glob("journal.db-*"):
        rest.unlink()


def compare(commit: str, project: Path) -> None:
    """Score the recorded customers with two versions of the code; fail unless all bytes are the same."""
    with tempfile.TemporaryDirectory(prefix="churnops-compare-") as name:
        tree, folder = Path(name, "tree"), Path(name, "project")
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", str(tree), commit], check=True)
        try:
            before = _answers(copy_project(folder, project), tree / "src")
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)
        shutil.rmtree(folder)
        after = _answers(copy_project(folder, project), ROOT / "src")
    different = [number for number, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    if different:
        first = different[0]
        raise SystemExit(f"{len(different)} answers differ; the first:\n{before[first]!r}\n{after[first]!r}")
    print(f"{len(before)} answers are the same, bit for bit")


def _answers(root: Path, source: Path) -> list[dict[str, Any]]:
    """Return the answers of each deployed version. A JSON number is read with the bits that were written."""
    bodies = json.loads((root / "answers.json").read_text())["customers"]
    answers = []
    for name in sorted(path.name for path in (root / VERSION_FOLDERS).iterdir()):
        link = root / "models/production"
        link.unlink()
        link.symlink_to(f"versions/{name}")
        with Product(root, source).serving() as client:
            replies = [json.loads(client.ask("/predict", body)) for body in bodies]
        answers += [{key: item for key, item in reply.items() if key != "prediction_id"} for reply in replies]
    return answers


def main() -> None:
    """Run the command of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    making = commands.add_parser("make")
    making.add_argument("folder", type=Path)
    making.add_argument("--source", type=Path, default=ROOT / "src")
    comparing = commands.add_parser("compare")
    comparing.add_argument("commit")
    comparing.add_argument("--project", type=Path, default=ROOT / "tests/fixtures/project-1")
    arguments = parser.parse_args()
    if arguments.command == "make":
        make(arguments.folder, arguments.source.resolve())
    else:
        compare(arguments.commit, arguments.project)


if __name__ == "__main__":
    main()
