"""Make a project with months of history: `python scripts/big_project.py FOLDER`.

By default it has 100 monitoring reports, a million predictions with outcomes, alerts, decisions, retraining summaries
and deployments. The main job trains the models, and the winner scores simulated customers. Times, ids and retraining
summaries are made up. Benchmarks and tests of the dashboard use the project.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import yaml
from sqlalchemy import Engine, insert, update

from churnops.alerting.alarms import alarms
from churnops.api.customers import CustomerForm
from churnops.data.profile import count_profile
from churnops.data.read import decode
from churnops.data.simulate import Drift
from churnops.journal import DeploymentLog, open_database
from churnops.journal.alerts import Alert, AlertLog, Notice, Try
from churnops.journal.cycles import Cycle, CycleLog
from churnops.journal.decisions import DecisionLog, RecordedDecision
from churnops.journal.layouts import Layout, pack_reasons
from churnops.journal.predictions import PredictionRow, write_predictions
from churnops.journal.tables import cycles, deployments, labels, microseconds, moment
from churnops.model import Bundle
from churnops.model.reference import SCORE
from churnops.monitoring import ModelMonitor
from churnops.monitoring.batch import Batch, Window
from churnops.monitoring.collect import batch_from_columns
from churnops.monitoring.page import report_page
from churnops.pipelines.run_all import run_all
from churnops.pipelines.simulate import simulate_customers
from churnops.registry import DeploymentFolder
from churnops.registry.place import Place
from churnops.retraining.gate import decide
from churnops.retraining.policy import Permission
from churnops.retraining.summary import RetrainingSummary, Status
from churnops.settings import LIVE, Settings, default_config, load_settings

ROOT: Final = Path(__file__).resolve().parents[1]
DAYS: Final = 120
POOL: Final = 3_000
"""Number of different input rows among the predictions."""
BATCH: Final = 600
"""Number of customers in a report's batch."""
CHUNK: Final = 20_000
"""Number of predictions written at a time."""
KNOWN: Final = 0.85
"""Share of known outcomes among the predictions that are three days older than the horizon; a retraining needs 80 %."""
RETRAININGS: Final = 20
DAY: Final = 86_400 * 10**6
"""A day in microseconds."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
CHANNELS: Final = ("mail to retention@example.org", "chat")


def main() -> None:
    """Make the project in the folder of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--reports", type=int, default=100)
    parser.add_argument("--predictions", type=int, default=1_000_000)
    arguments = parser.parse_args()
    make(arguments.folder, reports=arguments.reports, predictions=arguments.predictions)


def make(folder: Path, *, reports: int, predictions: int) -> Settings:
    """Run the main job on the repository's data in a new folder, and add a history."""
    document = yaml.safe_load(default_config())
    for name in ("raw", "production"):
        document["data"][name] = [str(ROOT / path) for path in document["data"][name]]
    folder.mkdir(parents=True)
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    settings = load_settings(path, environment={})
    run_all(settings)
    fill(settings, reports=reports, predictions=predictions)
    return settings


def fill(settings: Settings, *, reports: int, predictions: int, seed: int = 42) -> None:
    """Add a history of `DAYS` days to a project whose main job has run."""
    engine = open_database(settings.database_url(settings.journal.url), durability="process")
    try:
        bundle = Bundle.load(settings.models / "production")
        now = datetime.now(UTC)
        others = _deploy(settings, engine, bundle, now)
        _monitor(settings, engine, bundle, reports, now, seed)
        _decide(settings, engine, bundle, others, now)
        _predict(settings, engine, bundle, predictions, now, np.random.default_rng(seed))
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.exec_driver_sql("COMMIT")
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        engine.dispose()


def _deploy(settings: Settings, engine: Engine, bundle: Bundle, now: datetime) -> list[Bundle]:
    """Deploy every candidate of the main job for a time, then the winner again; return the others."""
    log = DeploymentLog(engine)
    folder = DeploymentFolder(Place(settings.models), log, lambda content_sha256: None)
    first = folder.current()
    folders = settings.root.glob("mlartifacts/models/*/artifacts/artifacts/bundle")
    others = {other.content_sha256: other for other in map(Bundle.load, sorted(folders))}
    others.pop(bundle.content_sha256, None)
    with folder.locked():
        for version, other in enumerate(others.values(), 2):
            folder.deploy(other, version, f"ROC-AUC is {version / 100:.2f} higher on new customers", "operations")
        folder.rollback(first, "its predictions were worse than in the evaluation", "operations")
    events = log.history()
    with engine.begin() as connection:
        for number, deployed in enumerate(events):
            at = now - timedelta(days=DAYS * (1 - number / len(events)))
            rows = (deployments.c.id == deployed.id) | (deployments.c.intent == deployed.id)
            connection.execute(update(deployments).where(rows).values(at=at))
    return list(others.values())


def _monitor(settings: Settings, engine: Engine, bundle: Bundle, count: int, now: datetime, seed: int) -> None:
    """Write evenly spaced reports and failed cycles; customers drift in the last quarter, and outcomes at the end."""
    log, alert_log = CycleLog(engine), AlertLog(engine)
    monitor = ModelMonitor(settings, log)
    folder = settings.path(settings.monitoring.directory)
    folder.mkdir(parents=True, exist_ok=True)
    with engine.begin() as connection:  # the main job wrote the first report
        connection.execute(update(cycles).values(at=microseconds(now - timedelta(days=DAYS))))
    for number in range(count):
        at = now - timedelta(days=DAYS) * (1 - (number + 1) / count) - timedelta(minutes=30)
        if number % 20 == 10:
            reason = {"error": "the journal's database does not answer"}
            log.record(Cycle(at - timedelta(hours=1), None, False, "failed", None, reason))
        share = number / count
        drift = Drift(covariate=max(share - 0.75, 0) * 4, concept=0.3 if share > 0.9 else 0.0)
        window = (at - timedelta(days=settings.monitoring.window_days), at)
        batch = _batch(settings, bundle, drift, window, seed + number, simulated=number % 10 == 5)
        report = replace(monitor.check_batch(bundle, batch, look=number + 1), timestamp=at)
        counted = {**batch.columns, SCORE: batch.probability, bundle.schema.target.name: batch.resolved.churned}
        document, profile = report.to_json(), count_profile(bundle.reference, counted)
        name = f"monitoring_report_{report.name}"
        table = decode(batch.columns, batch.outcome, bundle.schema)
        (folder / f"production_batch_{report.name}.csv").write_text(table.write_csv())
        (folder / f"{name}.html").write_text(report_page(document, bundle.reference, profile, bundle.schema))
        (folder / f"{name}.json").write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")
        log.record(Cycle(at, bundle.content_sha256, report.report_only, "finished", f"{name}.json", report.summary()))
        notices = [Notice(a.subject, "firing", a.severity, a.title, "\n".join(a.facts)) for a in alarms(report, "")[0]]
        _, taken = alert_log.take(partial(_all, notices), CHANNELS, now=at, since=at, lease=timedelta(minutes=5))
        tries = [Try(alert.id, channel, None) for alert, channel in taken if alert.id is not None]
        alert_log.finish([replace(t, error="timed out") if t.channel == CHANNELS[-1] else t for t in tries], at)


def _all(notices: Sequence[Notice], _latest: Mapping[str, Alert]) -> Sequence[Notice]:
    """Return all notices, as if each were new."""
    return notices


def _batch(
    settings: Settings,
    bundle: Bundle,
    drift: Drift,
    window: Window,
    seed: int,
    *,
    rows: int = BATCH,
    simulated: bool = False,
) -> Batch:
    """Return simulated customers as a batch of the journal."""
    sources = [settings.path(path) for path in settings.data.production or settings.data.raw]
    made, _ = simulate_customers(sources, bundle.schema, drift, rows=rows, seed=seed)
    source = f"journal, {window[0]:%Y-%m-%d %H:%M} to {window[1]:%Y-%m-%d %H:%M} UTC"
    batch = batch_from_columns(made.columns, made.outcome, bundle, source, acts_as=None if simulated else LIVE)
    return replace(batch, window=window, simulated=simulated)


def _decide(settings: Settings, engine: Engine, bundle: Bundle, others: Sequence[Bundle], now: datetime) -> None:
    """Compare the model with the others on batches, as a retraining does, and write the gate's decisions."""
    log, folder = DecisionLog(engine), settings.path(settings.monitoring.directory)
    for number in range(RETRAININGS):
        at = now - timedelta(days=DAYS * (1 - (number + 1) / (RETRAININGS + 1)))
        challenger = others[number % len(others)] if others else bundle
        batch = _batch(settings, bundle, Drift(), (at, at), number)
        scores = challenger.predict(batch.columns).probability
        decision = decide(batch.outcome, batch.probability, scores, settings.retraining, seed=number)
        because = ("performance: ROC-AUC is below the limit",)
        hashes = (bundle.content_sha256, challenger.content_sha256)
        request = {"cause": "monitoring", "because": list(because)}
        log.record(RecordedDecision(at, "retrain", "yes", "enough new customers", hashes[0], None, request))
        log.record(RecordedDecision(at, "deploy", decision.verdict, decision.reason, *hashes, decision.to_json()))
        status: Status = "cannot tell" if decision.verdict == "cannot tell" else "kept"
        reason = f"another model was deployed meanwhile; {decision.reason}" if decision.deploy else decision.reason
        permission = Permission(True, ("enough new customers",))
        summary = RetrainingSummary(at, "monitoring", because, status, reason, permission, bundle.version_name)
        path, metrics = summary.write(folder), challenger.metrics
        document = summary.to_json() | {
            "challenger": challenger.version_name,
            "version": number + 2,
            "winner": challenger.algorithm,
            "rows": {"train": 4000, "held_out": BATCH, "champion_knows": 0, "production": 2000, "batch": 0},
            "candidates": {
                challenger.algorithm: {
                    "validation": dict(metrics["cross_validation"]),
                    "hyperparameters": {},
                    "held_out_roc_auc": decision.challenger,
                }
            },
            "held_out": {"champion": bundle.metrics.get("held_out"), "challenger": metrics.get("held_out")},
            "decision": decision.to_json(),
            "run_id": f"{number:032x}",
        }
        path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n")


def _predict(
    settings: Settings, engine: Engine, bundle: Bundle, count: int, now: datetime, rng: np.random.Generator
) -> None:
    """Write predictions by time, and the outcomes of most of those whose horizon has passed."""
    pool = _batch(settings, bundle, Drift(covariate=0.1), (now, now), 1, rows=min(POOL, count))
    rows, horizon = _answers(bundle, pool), round(settings.journal.label_horizon * DAY)
    times = np.sort(rng.integers(microseconds(now) - DAYS * DAY, microseconds(now), count))
    for start in range(0, count, CHUNK):
        at = times[start : start + CHUNK]
        chosen = rng.integers(0, pool.rows, at.size)
        known = np.flatnonzero((at + horizon + 3 * DAY < times[-1]) & (rng.random(at.size) < KNOWN))
        ids = [_id(int(when), start + i) for i, when in enumerate(at)]
        write_predictions(
            engine,
            [
                rows[who]._replace(id=ids[i], at=moment(int(at[i])), customer_id=f"C-{(start + i) % (count // 4 + 1)}")
                for i, who in enumerate(chosen.tolist())
            ],
        )
        churned = pool.outcome[chosen] == 1.0
        outcome_at = at + np.where(churned, rng.integers(DAY, horizon, at.size), horizon)
        recorded_at = np.maximum(outcome_at, at + horizon) + rng.integers(0, 3 * DAY, at.size)
        if known.size:
            values = [
                {
                    "subject_kind": "prediction",
                    "subject": ids[i],
                    "revision": 1,
                    "churned": bool(churned[i]),
                    "outcome_at": int(outcome_at[i]),
                    "recorded_at": int(recorded_at[i]),
                }
                for i in known.tolist()
            ]
            with engine.begin() as connection:
                connection.execute(insert(labels), values)


def _answers(bundle: Bundle, pool: Batch) -> list[PredictionRow]:
    """Return the journal's rows for a pool of customers, without ids and times."""
    form, explanation = CustomerForm(bundle.schema), bundle.explain(pool.columns)
    positions, shares = explanation.top(bundle.selected)
    probability, churn = explanation.prediction.probability.tolist(), explanation.prediction.churn.tolist()
    layout = Layout.of_bundle(bundle)
    rows = []
    for row in range(pool.rows):
        packed = layout.pack(form.example(pool.columns, row))
        reasons = pack_reasons(positions[row].tolist(), shares[row].tolist())
        packed = packed._replace(reasons=reasons)
        rows.append(PredictionRow("", EPOCH, None, layout, probability[row], churn[row], *packed, "api"))
    return rows


def _id(at: int, number: int) -> str:
    """Return an id that sorts by time like the product's (UUID, version 7), without a random part."""
    text = f"{at // 1000:012x}7{number % 4096:03x}{1 << 63 | number:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


if __name__ == "__main__":
    main()
