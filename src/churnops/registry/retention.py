"""Retention: which versions are in use, and removal of the files of all others.

The files of a version are its folders, its model in MLflow, the hashes of its training customers and its reference
sample. They go together. The version stays registered in MLflow, with its run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from churnops.registry.folder import NEWEST
from churnops.registry.registry import ModelVersion, Registry

NOT_IN_USE = "not in use"
"""Reason for the removal of a version's files."""


@dataclass(frozen=True)
class Retained:
    """Effect of a pruning on one version.

    Attributes
    ----------
    stays
        Whether the version keeps its files.
    reason
        Use of the version; `not in use` if it has none.
    registered
        Whether MLflow has the version. If not, it has only folders.
    folders
        Names of the folders to remove, oldest first. A version that stays keeps its newest folder.
    """

    version: int
    stays: bool
    reason: str
    registered: bool
    folders: tuple[str, ...]

    def describe(self, *, dry_run: bool) -> str:
        """Return one line for people."""
        done = "would be removed" if dry_run else "removed"
        number = len(self.folders)
        folders = "" if not number else f"{number} {'folder' if number == 1 else 'folders'}"
        if self.stays:
            older = f"; {folders} {done}" if folders else ""
            return f"version {self.version} stays: {self.reason}{older}"
        files = " and ".join(filter(None, [folders, "its files in MLflow" if self.registered else ""]))
        return f"version {self.version} {done}: {self.reason} ({files})"


@dataclass(frozen=True)
class RetentionPlan:
    """Effect of a pruning on each version, newest first.

    `contents` are the content hashes of the models whose training customers' files go.
    """

    versions: tuple[Retained, ...]
    contents: tuple[str, ...]

    @property
    def removed(self) -> tuple[int, ...]:
        """Numbers of the registered versions whose files go, newest first."""
        return tuple(each.version for each in self.versions if each.registered and not each.stays)

    @property
    def folders(self) -> tuple[str, ...]:
        """Names of all folders to remove, oldest first."""
        return tuple(sorted(name for version in self.versions for name in version.folders))


def plan(
    registry: Registry, keep: int, uses: Mapping[str, str], running: Mapping[str, tuple[str, str]] | None = None
) -> RetentionPlan:
    """Decide which versions and folders stay. Nothing is changed.

    A version stays if it has an alias, is one of the `keep` newest or last deployed, is deployed, is being deployed, is
    the target of a rollback, or has one of the given uses. The newest version always stays, because it may be about to
    be compared. So do versions that were not made by churnops, and those whose files in MLflow are another project's.

    Parameters
    ----------
    keep
        Number of newest versions, and of newest deployments, that stay.
    uses
        Further uses, by content hash.
    running
        Folders of the challenger of a running experiment, each with its content hash and use.
    """
    challengers = running or {}
    versions = [version for version in registry.versions() if version.content_sha256]
    content_of = {deployment.folder: deployment.content_sha256 for deployment in registry.deployed.log.history()}
    content_of |= {name: content for name, (content, _) in challengers.items()}
    folder_uses = registry.deployed.in_use(keep) | {name: use for name, (_, use) in challengers.items()}
    half_removed = {v.content_sha256 for v in versions if v.files == "removing"}
    half_removed -= {v.content_sha256 for v in versions if v.files == "kept"}
    for name in [name for name, use in folder_uses.items() if use == NEWEST and content_of.get(name) in half_removed]:
        del folder_uses[name]
    in_use = {
        **_version_uses(registry, versions, keep, uses),
        **{content_of[name]: use for name, use in folder_uses.items() if name in content_of},
    }
    names = registry.deployed.names()
    newest = {content_of[name]: name for name in names if name in content_of}
    kept = {*folder_uses, *(newest[content] for content in in_use if content in newest)}
    gone = {name: content_of.get(name, "") for name in names if name not in kept}
    pruned = {version.content_sha256 for version in versions} - in_use.keys()
    return RetentionPlan(tuple(_by_version(versions, in_use, gone)), tuple(sorted(pruned)))


def _version_uses(
    registry: Registry, versions: Iterable[ModelVersion], keep: int, uses: Mapping[str, str]
) -> dict[str, str]:
    """Return the uses that no folder has, by content hash; of several, the one that a person would name."""
    with_files = [version for version in versions if version.files == "kept"]
    in_use = {version.content_sha256: "one of the newest versions" for version in with_files[: max(keep, 1)]}
    in_use |= uses
    for version in with_files:
        if version.aliases:
            in_use[version.content_sha256] = f"it has the alias {version.aliases[0]}"
        elif version.content_sha256 not in in_use and not registry.owns_files(version.version):
            in_use[version.content_sha256] = "its files in MLflow are outside of this project"
    return in_use


def carry_out(registry: Registry, planned: RetentionPlan) -> int:
    """Remove the planned folders and files; return their size in bytes.

    A version is marked before its first file goes, and again after the last. So the next call finishes an interrupted
    one, and nobody deploys a version that has lost files.
    """
    for number in planned.removed:
        registry.mark_files(number, "removing")
    freed = registry.deployed.remove(planned.folders)
    freed += sum(registry.deployed.place.remove_customers(content) for content in planned.contents)
    return freed + sum(registry.remove_files(number) for number in planned.removed)


def _by_version(
    versions: Iterable[ModelVersion], in_use: Mapping[str, str], gone: Mapping[str, str]
) -> Iterable[Retained]:
    """Yield the effect on each version, newest first; versions whose files are gone are left out.

    The folders of a content belong to its newest version that has files. Of a version that MLflow lacks, the name of
    the folder has the number.
    """
    registered = {version.version: version for version in versions if version.files != "removed"}
    owner = {version.content_sha256: version.version for version in sorted(registered.values(), key=_newest_last)}
    folders: dict[int, list[str]] = {number: [] for number in registered}
    for name, content in gone.items():
        folders.setdefault(owner.get(content) or int(name.rpartition("-v")[2]), []).append(name)
    for number in sorted(folders, reverse=True):
        version = registered.get(number)
        stays = version is not None and version.files == "kept" and version.content_sha256 in in_use
        reason = in_use[version.content_sha256] if version and stays else NOT_IN_USE
        yield Retained(number, stays, reason, version is not None, tuple(folders[number]))


def _newest_last(version: ModelVersion) -> tuple[bool, int]:
    return version.files == "kept", version.version
