"""Registry: model versions and the aliases `production`, `challenger` and `previous` in MLflow."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast
from urllib.parse import unquote, urlsplit

from churnops.errors import BundleError, RegistryError, redact
from churnops.evaluation.leaks import LEAKS
from churnops.files import temporary_folder
from churnops.model import Bundle
from churnops.registry.folder import DeploymentFolder
from churnops.tracking import Tracker
from churnops.tracking.answers import answering
from churnops.tracking.models import ARTIFACT, remove_files

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

PRODUCTION, CHALLENGER, PREVIOUS = "production", "challenger", "previous"
HASH_TAG, ALGORITHM_TAG, LEAKS_TAG, FILES_TAG = "content_sha256", "algorithm", "leaks", "files"
Files = Literal["kept", "removing", "removed"]
State = Literal["candidate", "challenger", "production", "previous", "archived"]


@dataclass(frozen=True)
class ModelVersion:
    """A registered version: number, aliases, content hash and the run that made it.

    `files` is whether MLflow has the version's files; `removing` is left by an interrupted `churnops models prune`.
    """

    version: int
    aliases: tuple[str, ...]
    algorithm: str
    content_sha256: str
    created: datetime
    run_id: str
    files: Files = "kept"

    def state(self, deployed: Collection[str]) -> State:
        """Return the state by the aliases; without one, a version is archived once it was deployed or lost its files.

        Parameters
        ----------
        deployed
            Content hashes of all models that were ever deployed.
        """
        aliased: tuple[State, ...] = ("production", "challenger", "previous")
        if named := [state for state in aliased if state in self.aliases]:
            return named[0]
        return "archived" if self.files != "kept" or self.content_sha256 in deployed else "candidate"


class Registry:
    """The registered model of the settings, and the folder of its deployed versions.

    Decide and deploy inside `deployed.locked()`: one process at a time, on one machine.

    Parameters
    ----------
    folder
        The folder of deployed models. The attribute `deployed` is the same folder, and moves MLflow's aliases too.
    """

    def __init__(self, tracker: Tracker, folder: DeploymentFolder) -> None:
        self.name = tracker.settings.registry.model_name
        self._client = tracker.client
        self._uri = tracker.uri
        self._artifacts = tracker.settings.path(tracker.settings.tracking.artifacts)
        self.deployed = DeploymentFolder(folder.place, folder.log, self.name_production)

    def versions(self) -> list[ModelVersion]:
        """Return all registered versions, newest first."""
        import mlflow

        with answering("the model registry", RegistryError):
            try:
                aliases = self._client.get_registered_model(self.name).aliases
            except mlflow.MlflowException as error:
                if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                    return []
                raise
            items = self._client.search_model_versions(f"name='{self.name}'")
            versions = [
                _version(item, [alias for alias, v in aliases.items() if str(v) == str(item.version)]) for item in items
            ]
        return sorted(versions, key=lambda version: -version.version)

    def register(self, bundle: Bundle, address: str, run_id: str, tags: Mapping[str, str] | None = None) -> int:
        """Return the version with this content and its files; register the model logged at `address` if there is none.

        The files of a known version stay as they are. They may lack leaks of `bundle`, so a tag keeps these.

        Parameters
        ----------
        tags
            Further tags of a new version, such as its metric and the reason for its training.
        """
        import mlflow

        known = self._newest(bundle.content_sha256)
        if known is not None and known.files == "kept":
            if leaks := bundle.lineage.get(LEAKS):
                with answering("the model registry", RegistryError):
                    earlier = self._later_leaks(known.version)
                    tag = json.dumps(earlier | leaks)
                    self._client.set_model_version_tag(self.name, str(known.version), LEAKS_TAG, tag)
            return known.version
        tags = {**(tags or {}), HASH_TAG: bundle.content_sha256, ALGORITHM_TAG: bundle.algorithm}
        with answering("the model registry", RegistryError):
            try:
                self._client.create_registered_model(self.name, description="Churn models made by churnops")
            except mlflow.MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            model_id = address.removeprefix("models:/")
            logged = self._client.get_logged_model(model_id)
            made = self._client.create_model_version(
                self.name,
                logged.artifact_location,
                run_id=run_id,
                tags=tags,
                description=f"{bundle.version_name}, from run {run_id}",
                model_id=model_id,
            )
            # The list of models in MLflow shows the registered version by this tag.
            listed = json.dumps([{"name": self.name, "version": int(made.version)}])
            self._client.set_logged_model_tags(model_id, {"mlflow.modelVersions": listed})
        return int(made.version)

    def make_challenger(self, version: int) -> None:
        """Move the alias `challenger` to this version."""
        with answering("the model registry", RegistryError):
            self._client.set_registered_model_alias(self.name, CHALLENGER, str(version))

    def bundle(self, version: int) -> Bundle:
        """Load and check the bundle of a registered version from MLflow's files; its lineage has leaks found later.

        Raises
        ------
        RegistryError
            If there is no such version, or its files cannot be read.
        BundleError
            If the files are damaged or belong to another model.
        """
        import mlflow

        registered = self._version(version)
        if registered.files != "kept":
            raise RegistryError(f"version {version} has no files any more: `churnops models prune` removed them")
        address = self._address(version)
        with answering("the model registry", RegistryError):
            later = self._later_leaks(version)
        with temporary_folder() as folder:
            try:
                copied = mlflow.artifacts.download_artifacts(address, dst_path=str(folder), tracking_uri=self._uri)
            except Exception as error:  # each kind of artifact store raises its own errors
                reason = redact(" ".join(str(error).split())[:300])
                raise RegistryError(f"the files of version {version} cannot be read from MLflow: {reason}") from None
            try:
                bundle = Bundle.load(Path(copied, "artifacts", ARTIFACT))
            except BundleError as error:
                reason = str(error).rpartition(" is refused: ")[2]
                raise BundleError(f"version {version} in MLflow ({redact(address)}) is refused: {reason}") from None
        if bundle.content_sha256 != registered.content_sha256:
            raise BundleError(
                f"version {version} in MLflow ({redact(address)}) is refused: another bundle was registered"
            )
        leaks = {**bundle.lineage.get(LEAKS, {}), **later}
        return bundle.with_metadata(metrics={}, lineage={LEAKS: leaks}) if later else bundle

    def _later_leaks(self, version: int) -> dict[str, str]:
        """Return the leaks that were found after the registration; an error of the store goes through."""
        leaks: dict[str, str] = json.loads(
            self._client.get_model_version(self.name, str(version)).tags.get(LEAKS_TAG, "{}")
        )
        return leaks

    def page(self, version: int, name: str) -> bytes:
        """Return a file of the run that made a registered version.

        Raises
        ------
        RegistryError
            If there is no such version, or its run has no such file.
        """
        import mlflow

        run_id = self._version(version).run_id
        with temporary_folder() as folder:
            try:
                copied = mlflow.artifacts.download_artifacts(
                    run_id=run_id, artifact_path=name, dst_path=str(folder), tracking_uri=self._uri
                )
                return Path(copied).read_bytes()
            except Exception as error:  # each kind of artifact store raises its own errors
                reason = redact(" ".join(str(error).split())[:300])
                raise RegistryError(f"the run of version {version} has no {name} that can be read: {reason}") from None

    def version_of(self, content_sha256: str) -> int | None:
        """Return the number of the newest version with this content; None if it is not registered."""
        known = self._newest(content_sha256)
        return known.version if known else None

    def mark_files(self, version: int, files: Files) -> None:
        """Record whether a version has its files."""
        with answering("the model registry", RegistryError):
            self._client.set_model_version_tag(self.name, str(version), FILES_TAG, files)

    def owns_files(self, version: int) -> bool:
        """Whether a version's files in MLflow belong to this project: those of a copied project may not."""
        address = urlsplit(self._address(version))
        local = address.scheme in ("file", "")
        return not local or Path(unquote(address.path)).resolve().is_relative_to(self._artifacts.resolve())

    def remove_files(self, version: int) -> int:
        """Remove a version's files from MLflow, and return their size in bytes. The version stays registered.

        Raises
        ------
        RegistryError
            If MLflow's artifact store does not answer, or cannot remove files.
        """
        try:
            freed = remove_files(self._address(version), self._uri)
        except Exception as error:  # each kind of artifact store raises its own errors
            reason = redact(" ".join(str(error).split())[:300])
            raise RegistryError(f"the files of version {version} cannot be removed from MLflow: {reason}") from None
        self.mark_files(version, "removed")
        return freed

    def name_production(self, content_sha256: str) -> None:
        """Move the alias `production` to the version with this content; the version that had it becomes `previous`.

        A repeated call changes nothing. A store without this version, such as a new store, stays as it is: the link
        decides which model is deployed, and the next run registers the version.
        """
        version = self.version_of(content_sha256)
        if version is None:
            return
        with answering("the model registry", RegistryError):
            aliases = dict(self._client.get_registered_model(self.name).aliases)
            before = aliases.get(PRODUCTION)
            if before is not None and int(before) != version:
                self._client.set_registered_model_alias(self.name, PREVIOUS, str(before))
            self._client.set_registered_model_alias(self.name, PRODUCTION, str(version))
            if CHALLENGER in aliases and int(aliases[CHALLENGER]) == version:
                self._client.delete_registered_model_alias(self.name, CHALLENGER)

    def _address(self, version: int) -> str:
        """Return the address of a version's files in MLflow."""
        with answering("the model registry", RegistryError):
            return str(self._client.get_model_version_download_uri(self.name, str(version)))

    def _newest(self, content_sha256: str) -> ModelVersion | None:
        """Return the newest version with this content, and files if one has them; None if it is not registered."""
        same = [version for version in self.versions() if version.content_sha256 == content_sha256]
        return max(same, key=lambda version: (version.files == "kept", version.version), default=None)

    def _version(self, number: int) -> ModelVersion:
        versions = self.versions()
        for version in versions:
            if version.version == number:
                return version
        newest = ", ".join(str(version.version) for version in versions[:10])
        known = (
            f"the newest {'are' if ',' in newest else 'is'} {newest}"
            if newest
            else "no version exists yet: type `churnops run`"
        )
        raise RegistryError(f"version {number} is not registered; {known}")


def _version(item: "MlflowVersion", aliases: list[str]) -> ModelVersion:
    return ModelVersion(
        version=int(item.version),
        aliases=tuple(sorted(aliases)),
        algorithm=item.tags.get(ALGORITHM_TAG, "unknown"),
        content_sha256=item.tags.get(HASH_TAG, ""),
        created=datetime.fromtimestamp(item.creation_timestamp / 1000, UTC),
        run_id=item.run_id or "",
        files=cast(Files, item.tags.get(FILES_TAG, "kept")),
    )
