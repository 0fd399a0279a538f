"""Release a candidate: ask the gate, deploy, check the deployment through the running API, roll back if that fails."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from churnops.alerting.alarms import deployment, rollback
from churnops.alerting.alerts import Alerts
from churnops.decision.proposal import proposal
from churnops.errors import BundleError, ChurnopsError, RegistryError, reason_of
from churnops.evaluation.leaks import ACCEPTED_LEAKS, unaccepted_leaks
from churnops.experiments.experiment import end_overtaken
from churnops.journal.decisions import RecordedDecision
from churnops.model import Bundle
from churnops.pipelines.aftermath import Aftermath
from churnops.pipelines.webhook import NO_WEBHOOK, send_production, send_state
from churnops.project import Project
from churnops.registry import DeploymentFolder, Registry
from churnops.registry.folder import UnfinishedDeploymentError, who
from churnops.retraining.check import Check, check_deployment
from churnops.retraining.comparison import compare_with_production
from churnops.retraining.follow import check_replicas
from churnops.retraining.gate import Decision
from churnops.traces import span

LEAST_SECONDS = 5.0  # for the check of probabilities, if the replicas have used up the time

Gate = Literal["ask", "overrule", "skip"]
"""Role of the gate: `ask`: it decides; `overrule`: its decision is recorded, then ignored; `skip`: it does not run."""


@dataclass(frozen=True)
class ReleaseCandidate:
    """A registered version that may replace the deployed model.

    Attributes
    ----------
    reason
        A person's reason, for the deployment log; None: the gate's reason only.
    facts
        Further lines for the alert channels.
    by
        Name for the deployment log. None: the user.
    otherwise
        Status if the gate refuses: `challenger` gives the version the alias of this name; `refused` changes nothing.
    decision
        The gate's decision, if it was made before the release. None: the gate compares now.
    champion
        Content hash of the model that `decision` compared with.
    accepted_leaks
        Names of leaking columns that a person accepts.
    held
        Whether a person deploys it later, if the gate permits it.
    approved
        Whether a person with a key approves the deployment, which the setting `registry.approval` asks for.
    """

    bundle: Bundle
    version: int
    reason: str | None = None
    facts: Sequence[str] = ()
    by: str | None = None
    otherwise: Literal["challenger", "refused"] = "challenger"
    decision: Decision | None = None
    champion: str | None = None
    accepted_leaks: Collection[str] = ()
    held: bool = False
    approved: bool = False

    def because(self, note: str) -> str:
        """Return a note, after the person's reason if there is one."""
        return f"{self.reason}; {note}" if self.reason else note


@dataclass(frozen=True)
class Release:
    """Result of a release.

    Attributes
    ----------
    status
        `unchanged`: the deployed model has the same content. `challenger`, `refused`: the gate kept the deployed
        model. `held`: the gate permits the candidate, and a person may deploy it. `rolled back`: the candidate was
        deployed and failed its check; the earlier model is deployed again.
    folder
        Folder of the model that is deployed now; None if there is none.
    decision
        The gate's decision; None if it did not run, or failed.
    check
        Result of the check through the running API; None if it was not made, such as without `retraining.check_url`.
    warning
        Failures after the link swap, and unfinished work; None if there are none.
    unaccepted_leaks
        Names of the leaking columns for which the candidate is not deployed.
    """

    status: Literal["deployed", "unchanged", "challenger", "refused", "held", "rolled back"]
    version: int
    model_version: str
    folder: Path | None
    reason: str
    decision: Decision | None = None
    check: Check | None = None
    warning: str | None = None
    unaccepted_leaks: Sequence[str] = ()

    @property
    def swapped(self) -> bool:
        """Whether the candidate was deployed, so that later failures are warnings."""
        return self.status in ("deployed", "rolled back")

    @property
    def headline(self) -> str:
        """The result in a few words, without its reason."""
        version = f"version {self.version} ({self.model_version})"
        present = "the deployed model stays" if self.folder else "no model is deployed"
        return {
            "deployed": f"Deployed {version}",
            "unchanged": f"Nothing changed, {version} is deployed already",
            "challenger": f"Registered {version} as challenger, {present}",
            "refused": f"Refused {version}, {present}",
            "held": f"Registered {version} as challenger for approval, {present}",
            "rolled back": f"Rolled back {version}, the earlier model is deployed again",
        }[self.status]

    @property
    def full_warning(self) -> str | None:
        """The warning, and the reason why a deployed candidate did not pass its check; None if there is neither."""
        stays = self.status == "deployed" and self.check is not None and self.check.status != "passed"
        return "; ".join(filter(None, [self.warning, self.check.reason if self.check and stays else None])) or None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {
            "status": self.status,
            "version": self.version,
            "model_version": self.model_version,
            "production": str(self.folder) if self.folder else None,
            "reason": self.reason,
            "warning": self.full_warning,
            "gate": self.decision.to_json() if self.decision else None,
            "unaccepted_leaks": list(self.unaccepted_leaks),
        }


@dataclass(frozen=True)
class _Ruling:
    """Whether to deploy, the reason, the gate's decision if it ran, and the leaks that prevent the deployment."""

    deploy: bool
    reason: str
    decision: Decision | None = None
    unaccepted_leaks: Sequence[str] = ()


def release(project: Project, registry: Registry, candidate: ReleaseCandidate, *, gate: Gate = "ask") -> Release:
    """Deploy a candidate if it may replace the deployed model, and check it through the API of `retraining.check_url`.

    The first model needs no gate. The gate's decision is recorded, and a deployment is announced to the alert channels.
    A model with a leaking column is deployed only if the leak is accepted, now or in the deployed model. The caller
    holds the lock `registry.deployed.locked()`.

    Raises
    ------
    ChurnopsError
        If a required gate fails, the model to compare with is damaged, or the candidate cannot be deployed: nothing has
        changed. Also if the candidate failed its check and the rollback failed too: the candidate stays deployed, and
        an alert is sent. Other failures after the link swap become warnings.
    """
    note = "no model was deployed before"
    try:
        champion = registry.deployed.production()
    except BundleError:
        if gate == "ask":
            raise
        champion, note = None, "the deployed model was damaged"
    bundle, version = candidate.bundle, candidate.version
    before = frozenset(champion.lineage.get(ACCEPTED_LEAKS, ()) if champion else ())
    same = champion is not None and champion.content_sha256 == bundle.content_sha256
    if same and before.issuperset(candidate.accepted_leaks):
        registry.name_production(bundle.content_sha256)  # a new or emptied MLflow store lacks the alias
        ruling = _Ruling(False, "the deployed model has the same content", candidate.decision)
        return _kept("unchanged", registry, candidate, ruling)
    accepted = before.union(candidate.accepted_leaks)
    if leaks := unaccepted_leaks(bundle.lineage, accepted):
        ruling = _Ruling(False, _leak_reason(candidate, leaks), candidate.decision, tuple(leaks))
    elif same:  # deployed again, so that its lineage has the accepted leaks
        ruling = _Ruling(True, candidate.because("a leak is accepted, and the deployed model has the same content"))
    elif gate == "skip":
        ruling = _Ruling(True, candidate.reason or note)
    elif candidate.decision is not None:
        ruling = _decided_before(candidate, candidate.decision, champion)
    elif champion is None:
        ruling = _Ruling(True, candidate.because(note))
    else:
        ruling = _ask(project, candidate, champion, gate)
    if note := proposal(project.policy(), bundle, champion):
        ruling = replace(ruling, reason=f"{ruling.reason}; {note}")
    waits = project.settings.registry.approval and not candidate.approved
    if ruling.deploy and waits:
        ruling = replace(ruling, reason=f"{ruling.reason}; `churnops promote {version}` approves and deploys it")
    if ruling.deploy and not candidate.held and not waits:
        if kept := accepted.intersection(column.name for column in bundle.schema.model_inputs):
            lineage = {ACCEPTED_LEAKS: sorted(kept)}
            candidate = replace(candidate, bundle=bundle.with_metadata(metrics={}, lineage=lineage))
        return _deploy(project, registry, candidate, ruling)
    result = _kept("held" if ruling.deploy else candidate.otherwise, registry, candidate, ruling)
    if candidate.otherwise == "refused":
        return result
    registry.make_challenger(version)
    aftermath = Aftermath()
    aftermath.deployed = True  # the alias has moved: a failure is a warning
    with aftermath.warning(NO_WEBHOOK):
        send_state(project, version, "challenger", ruling.reason, candidate.by)
    return replace(result, warning=aftermath.text)


def check_replaceable(deployed: DeploymentFolder, gate: Gate, option: str) -> None:
    """Refuse a damaged deployed model before the work begins, if the gate needs it.

    `option` is the end of the message: the command that replaces the model.

    Raises
    ------
    BundleError
        If the deployed model is damaged and the gate needs it.
    """
    try:
        deployed.production()
    except BundleError as error:
        if gate == "ask":
            raise BundleError(f"{error}; {option}") from None


def record_decision(
    project: Project,
    decision: Decision,
    challenger: Bundle,
    champion: Bundle,
    *,
    evidence: Mapping[str, Any] | None = None,
) -> None:
    """Record a decision of the gate. The next retraining does not count the outcomes in `evidence` as new."""
    details = decision.to_json() | ({} if evidence is None else {"evidence": dict(evidence)})
    models = champion.content_sha256, challenger.content_sha256
    now = datetime.now(UTC)
    project.decisions.record(RecordedDecision(now, "deploy", decision.verdict, decision.reason, *models, details))


def _ask(project: Project, candidate: ReleaseCandidate, champion: Bundle, gate: Gate) -> _Ruling:
    """Let the gate compare the candidate with the deployed model, and record its decision."""
    challenger = candidate.bundle
    try:
        with span("ask the gate"):
            decision = compare_with_production(project, challenger, champion)
    except ChurnopsError as error:
        if gate == "ask":
            raise
        models = champion.content_sha256, challenger.content_sha256
        unknown = RecordedDecision(datetime.now(UTC), "deploy", "cannot tell", str(error), *models, {})
        project.decisions.record(unknown)
        return _Ruling(
            True, candidate.because(f"deployed without the gate, which could not compare the models: {error}")
        )
    record_decision(project, decision, challenger, champion)
    if candidate.reason is None or not (decision.deploy or gate == "overrule"):
        return _Ruling(decision.deploy, decision.reason, decision)
    opinion = "the gate agrees" if decision.deploy else "deployed against the gate"
    return _Ruling(True, candidate.because(f"{opinion}: {decision.reason}"), decision)


def _decided_before(candidate: ReleaseCandidate, decision: Decision, champion: Bundle | None) -> _Ruling:
    """Apply an earlier decision, if the model that the candidate was compared with is still deployed."""
    if champion is None or champion.content_sha256 != candidate.champion:
        meanwhile = "another model was deployed meanwhile, so the comparison no longer holds"
        return _Ruling(False, f"{meanwhile}; {decision.reason}")
    return _Ruling(decision.deploy, decision.reason, decision)


def _kept(
    status: Literal["unchanged", "challenger", "refused", "held"],
    registry: Registry,
    candidate: ReleaseCandidate,
    ruling: _Ruling,
) -> Release:
    return Release(
        status,
        candidate.version,
        candidate.bundle.version_name,
        registry.deployed.link.resolve() if registry.deployed.current() else None,
        ruling.reason,
        ruling.decision,
        unaccepted_leaks=ruling.unaccepted_leaks,
    )


def _leak_reason(candidate: ReleaseCandidate, leaks: Mapping[str, str]) -> str:
    """Name the leaks, their evidence, and the two ways out."""
    columns = candidate.bundle.schema.by_name
    names = "; ".join(f"{columns[name].full_name} {evidence}" for name, evidence in leaks.items())
    options = " ".join(f"--accept-leak {name}" for name in leaks)
    them = "the column" if len(leaks) == 1 else "these columns"
    return (
        f"{names}: remove {them} from the schema, or accept the leak with `churnops run {options}` or "
        f"`churnops promote {candidate.version} --reason TEXT {options}`"
    )


def _deploy(project: Project, registry: Registry, candidate: ReleaseCandidate, ruling: _Ruling) -> Release:
    """Deploy the candidate, check it, roll back if the check failed, and announce the result."""
    deployed, options, bundle = registry.deployed, project.settings.retraining, candidate.bundle
    alerts = Alerts.of(project.settings, project.alerts)
    before, aftermath = deployed.current(), Aftermath()
    try:
        with span("deploy"):
            deployed.deploy(bundle, candidate.version, ruling.reason, candidate.by)
    except UnfinishedDeploymentError as error:  # the candidate is deployed nevertheless
        aftermath.add(str(error))
    aftermath.deployed = True
    check = None
    with aftermath.warning("the check through the API was not made"):
        if options.check_url:
            with span("check deployment"):
                check = _check(project, bundle, deployed.current() or "")
    name, reason = bundle.version_name, ruling.reason
    rolled_back = check is not None and check.status == "failed" and before is not None
    if check is not None and rolled_back:
        _roll_back(deployed, alerts, bundle, check, candidate.by, aftermath)
        reason = f"{check.reason}; {reason}"
    else:
        with aftermath.warning("no alert was sent"):
            facts = [*candidate.facts, *([check.reason] if check else [])]
            alerts.announce(deployment(name, reason, facts, ""))
    with aftermath.warning("the running experiment has not ended"):
        end_overtaken(project, project.require_deployed(), candidate.by or who())
    with aftermath.warning(NO_WEBHOOK):
        send_production(project)
    return Release(
        "rolled back" if rolled_back else "deployed",
        candidate.version,
        name,
        deployed.link.resolve(),
        reason,
        ruling.decision,
        check,
        aftermath.text,
    )


def _check(project: Project, bundle: Bundle, folder: str) -> Check:
    """Check that every replica answers with the deployed model, then its probabilities through `check_url`."""
    options = project.settings.retraining
    replicas = check_replicas(project.replicas, folder, options.check_seconds)
    if replicas.status == "failed":
        return replicas
    left = max(options.check_seconds - replicas.seconds, min(options.check_seconds, LEAST_SECONDS))
    check = check_deployment(bundle, options.check_url, key=options.check_key, seconds=left)
    return replace(check, reason="; ".join(filter(None, [check.reason, replicas.reason])))


def _roll_back(
    deployed: DeploymentFolder, alerts: Alerts, bundle: Bundle, check: Check, by: str | None, aftermath: Aftermath
) -> None:
    """Roll back a deployment that failed its check, and announce it."""
    why = f"{bundle.version_name} failed its check through the API: {check.reason}"
    try:
        with span("deploy"):
            restored = deployed.rollback(None, why, by)
    except UnfinishedDeploymentError as error:
        aftermath.add(str(error))
        restored = deployed.link.resolve()
    except (ChurnopsError, OSError) as error:
        stuck = f"the rollback failed: {reason_of(error)}"
        with aftermath.warning("no alert was sent"):
            alerts.announce(deployment(bundle.version_name, why, [stuck], "", severity="critical"))
        raise RegistryError("; ".join(filter(None, [why, stuck, aftermath.text]))) from None
    with aftermath.warning("no alert was sent"):
        alerts.announce(rollback(Bundle.load(restored).version_name, why, ""))
