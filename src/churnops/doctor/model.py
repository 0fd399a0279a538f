"""Checks of the deployed model: link, Bundle, object store, deployments, and replicas of the service."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from shlex import quote

from churnops import __version__
from churnops.address import is_object_address
from churnops.doctor.finding import Parts, ProjectFinding
from churnops.errors import BundleError, RegistryError, StoreError
from churnops.files import lock_holders
from churnops.journal import DeploymentLog
from churnops.journal.experiments import ExperimentStore
from churnops.journal.replicas import ReplicaStore
from churnops.model import Bundle
from churnops.model.deployed import deployed
from churnops.objects import ObjectStore
from churnops.registry.place import REMOVED, UNFINISHED
from churnops.registry.production_document import ProductionObject
from churnops.registry.replicas import late, replicas_of

_IN_PROGRESS = timedelta(minutes=5)
_RECOVER = "python -m churnops.pipelines.recovery"
_STATUS = "churnops deployments status"
_PRUNE = "churnops models prune --keep 1000"
_MENDED = '--reason "found by churnops doctor"'


def deployed_model(parts: Parts) -> Iterator[ProjectFinding]:
    """Check that `production` is a link to an undamaged Bundle, and to the one that was deployed last."""
    place, folder = parts.place, parts.deployments()
    try:
        place.check_link()
    except RegistryError as error:
        yield ProjectFinding(str(error), f"mv {quote(str(place.link))} {quote(f'{place.link}.aside')}")
        return
    answered = folder.answered() if folder else []
    current = place.current()
    if current is None and not answered:
        yield ProjectFinding("no model is deployed yet", "churnops run", wrong=False)
        return
    again, back = _commands(parts, answered[-1].version if answered else None)
    try:
        bundle = deployed(place.folder)
    except BundleError as error:
        yield ProjectFinding(str(error), again)
        return
    if bundle is None:
        yield ProjectFinding(f"version {answered[-1].version} was deployed, but the link {place.link} is missing", back)
    elif answered and answered[-1].content_sha256 != bundle.content_sha256:
        if back != _STATUS and not (place.versions / answered[-1].folder).is_dir():
            message = f"the journal's newest deployment, {answered[-1].folder}, has no folder in {place.versions}"
            question = "does another project use this journal? A journal is for one project (journal.url)"
            yield ProjectFinding(f"{message}: {question}", "churnops models")
            return
        again = f"if the journal was restored, deploy {current} again afterwards (churnops promote)"
        yield ProjectFinding(f"the link {place.link} leads to {current}, which was not deployed last; {again}", back)


def _commands(parts: Parts, version: int | None) -> tuple[str, str]:
    """Return the commands that write the deployed version's files again, and that point the link to them."""
    if is_object_address(parts.settings.registry.directory):  # the next command copies the version that is deployed
        return _STATUS, _STATUS
    if version is None:
        return "churnops run --deploy", "churnops run --deploy"
    return f"churnops promote {version} {_MENDED} --force", f"churnops rollback --to {version} {_MENDED}"


def model_store(parts: Parts) -> Iterator[ProjectFinding]:
    """Check the object store of the models, and that this machine's copy follows it."""
    address = parts.settings.registry.directory
    if not is_object_address(address):
        return
    try:
        document = ProductionObject(ObjectStore(address)).read()
    except (StoreError, RegistryError) as error:
        yield ProjectFinding(str(error), _STATUS)
        return
    named, here = document.folder if document else None, parts.place.current()
    if named != here:
        message = f"{address} names {named or 'no model'} as deployed, and its copy on this machine {here or 'none'}"
        yield ProjectFinding(message, _STATUS)


def deployments(parts: Parts) -> Iterator[ProjectFinding]:
    """Check for deployments and folders that a killed process left unfinished."""
    place = parts.place
    if lock_holders(place.folder / ".lock"):  # a deployment is in progress
        return
    entries = place.versions.iterdir() if place.versions.is_dir() else ()
    left = [entry.name for entry in entries if entry.name.startswith((UNFINISHED, REMOVED))]
    if left:
        yield ProjectFinding(
            f"a killed process left {len(left)} unfinished folders in {place.versions}", _PRUNE, wrong=False
        )
    engine = parts.journal()
    elsewhere = is_object_address(parts.settings.registry.directory)  # another machine may be deploying
    for intent in DeploymentLog(engine).open_intents() if engine is not None else ():
        if elsewhere and datetime.now(UTC) - intent.at < _IN_PROGRESS:
            continue
        yield ProjectFinding(
            f"the {intent.kind} of version {intent.version}, begun at {intent.at:%Y-%m-%d %H:%M} UTC, was interrupted: "
            "its log entry is open",
            _RECOVER,
        )


def experiment(parts: Parts) -> Iterator[ProjectFinding]:
    """Check that a running experiment has the deployed model as champion, and the files of its challenger."""
    engine, place = parts.journal(), parts.place
    running = ExperimentStore(engine).running() if engine is not None else None
    if running is None or is_object_address(parts.settings.registry.directory):  # a service fetches the challenger
        return
    name, stop = f"{running.kind} {running.id}", f"churnops {running.kind} stop {_MENDED}"
    with suppress(BundleError):  # another check has this finding
        champion = deployed(place.folder)
        if champion is not None and champion.content_sha256 != running.champion:
            yield ProjectFinding(f"{name} is running, but its champion {running.champion_name} is not deployed", stop)
    try:
        Bundle.load(place.versions / running.folder)
    except BundleError as error:
        yield ProjectFinding(f"{name} is running without its challenger: {error}", stop)


def replicas(parts: Parts) -> Iterator[ProjectFinding]:
    """Check that each replica of the service answers with the deployed model, and runs this version of churnops."""
    engine, folder = parts.journal(), parts.deployments()
    if engine is None or folder is None:
        return
    states = replicas_of(ReplicaStore(engine).read(), parts.place.current())
    for replica in late(states, folder.since(), datetime.now(UTC)):
        yield ProjectFinding(f"replica {replica.description}, not with the deployed model", _STATUS)
    for replica in states:
        if replica.state != "away" and replica.process.churnops != __version__:
            message = f"replica {replica.name} runs churnops {replica.process.churnops}, this is {__version__}"
            yield ProjectFinding(f"{message}: restart it", _STATUS, wrong=False)


def locks(parts: Parts) -> Iterator[ProjectFinding]:
    """Name the processes that hold a lock of the project. The system releases a lock when its process ends."""
    for path in (parts.place.folder / ".lock", parts.place.folder / ".copy"):
        for pid in lock_holders(path):
            message = f"process {pid} holds {quote(str(path))}: deployments wait for it"
            yield ProjectFinding(f"{message}; end it only if it hangs", f"kill {pid}", wrong=False)
