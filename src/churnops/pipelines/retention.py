"""Removal of the files of versions that are no longer in use."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from churnops.errors import ChurnopsError
from churnops.journal.deployment_log import in_production
from churnops.pipelines.webhook import NO_WEBHOOK, send_state
from churnops.project import Project
from churnops.registry import Registry
from churnops.registry.folder import who
from churnops.registry.retention import NOT_IN_USE, RetentionPlan, carry_out, plan
from churnops.settings import Settings
from churnops.tracking import Tracker


@dataclass(frozen=True)
class PrunedModels:
    """Result of a pruning.

    `bytes` is the size of the removed files, None for a dry run; `warning` is why the webhook was not told.
    """

    planned: RetentionPlan
    bytes: int | None
    warning: str | None = None

    @property
    def sentences(self) -> str:
        """Result for people: a line for each version, and a sum."""
        dry_run = self.bytes is None
        lines = [version.describe(dry_run=dry_run) for version in self.planned.versions]
        folders, models = len(self.planned.folders), len(self.planned.removed)
        total = f"{folders} {'folder' if folders == 1 else 'folders'}"
        if models:
            total += f" and {models} {'model' if models == 1 else 'models'} in MLflow"
        if self.bytes is None:
            return "\n".join([*lines, f"Would remove {total}: repeat the command without --dry-run"])
        return "\n".join([*lines, f"Removed {total}, {self.bytes / 1e6:.1f} MB"])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "dry_run": self.bytes is None,
            "removed": self.planned.folders,
            "bytes": self.bytes or 0,
            "warning": self.warning,
            "versions": [asdict(version) for version in self.planned.versions],
        }


def prune_models(settings: Settings, keep: int, *, dry_run: bool = False) -> PrunedModels:
    """Remove the files of versions that are not in use, and older folders of the others. See `retention.plan`.

    A version is also in use if a replica of the service answers with it, or if it has predictions that wait for their
    outcomes or belong to the newest monitoring window.

    Parameters
    ----------
    keep
        Number of newest versions, and of newest deployments, that stay.
    dry_run
        Only find out what would be removed.

    Raises
    ------
    ChurnopsError
        If MLflow, the journal or a store of the files does not answer. A repeated call continues.
    """
    with Project.open(settings) as project:
        registry = Registry(Tracker(settings), project.folder)
        with registry.deployed.locked():
            planned = plan(registry, keep, _uses(project), _challengers(project))
            if dry_run:
                return PrunedModels(planned, None)
            freed = carry_out(registry, planned)
        try:
            for version in planned.removed:
                send_state(project, version, "archived", NOT_IN_USE, who())
        except ChurnopsError as error:
            return PrunedModels(planned, freed, f"{NO_WEBHOOK}: {error}")
    return PrunedModels(planned, freed)


def _uses(project: Project) -> Mapping[str, str]:
    """Return the uses of versions that only the journal knows, by content hash."""
    settings = project.settings
    days = max(settings.journal.label_horizon, settings.monitoring.window_days)
    since = datetime.now(UTC) - timedelta(days=days)
    recent = {
        period.deployment.content_sha256
        for period in in_production(project.folder.answered())
        if period.until is None or period.until >= since
    }
    uses = dict.fromkeys(project.journal.answering_since(since, recent), "its predictions wait for outcomes")
    for process, _ in project.replicas.read():
        if process.content_sha256:
            uses[process.content_sha256] = f"{process.host} {process.address}".strip() + " answers with it"
    return uses


def _challengers(project: Project) -> Mapping[str, tuple[str, str]]:
    """Return the folder of the running experiment's challenger, with its content hash and use."""
    running = project.experiments.running()
    if running is None:
        return {}
    return {running.folder: (running.challenger, f"challenger of {running.kind} {running.id}, which is running")}
