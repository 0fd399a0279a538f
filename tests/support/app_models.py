"""Deployments for tests of the Models page."""

from datetime import UTC, datetime, timedelta
from typing import Any

from churnops.app.models.history import Comparison, comparison
from churnops.journal import Deployment, RecordedDecision
from churnops.journal.deployment_log import InProduction, in_production
from churnops.retraining.gate import Decision, Guardrail

BEGIN = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
NOW = BEGIN + timedelta(days=10)


def deployment(number: int, version: int, day: int, **changes: Any) -> Deployment:
    folder = f"20261101T120000.00000{version}Z-xgboost-v{version}"
    said = {
        "id": number,
        "at": BEGIN + timedelta(days=day),
        "folder": folder,
        "version": version,
        "content_sha256": f"{version:064x}"[::-1],
        "previous": None,
        "reason": "because",
        "kind": "deploy",
        "by": "ann",
        "closed": "done",
    }
    return Deployment(**(said | changes))


def spells() -> list[InProduction]:
    """Record deployments of version 1, 2 and again 1."""
    return in_production([deployment(1, 1, 0), deployment(3, 2, 4), deployment(5, 1, 7, kind="rollback")])


def decided(**changes: Any) -> RecordedDecision:
    found = Decision(
        verdict="cannot tell",
        reason="not proven",
        metric="roc_auc",
        champion=0.90,
        challenger=0.92,
        gain=0.02,
        standard_error=0.01,
        low=-0.005,
        high=0.045,
        min_improvement=0.01,
        confidence=0.95,
        compared=1,
        rows=400,
        churned=60,
        guards=(Guardrail("log_loss", 0.2, 0.3, 0.01),),
        labels_needed=1234,
    )
    details = found.to_json() | changes
    return RecordedDecision(NOW, "deploy", details["verdict"], "not proven", "a" * 64, "b" * 64, details)


def shown(**changes: Any) -> Comparison:
    return comparison(decided(**changes), {})
