"""A Bundle that is sent to other processes as the bytes of its files, and checked there as from a folder."""

from dataclasses import dataclass
from pathlib import Path

from churnops.errors import BundleError
from churnops.files import temporary_folder
from churnops.model.bundle import Bundle
from churnops.model.bundle_folder import DOCUMENT, ESTIMATOR, REFERENCE

_loaded: dict[str, Bundle] = {}
"""The Bundles that this process used last, by their hashes: a champion and a challenger at most."""


@dataclass(frozen=True)
class SentBundle:
    """The files of a Bundle, by name; picklable."""

    content_sha256: str
    files: tuple[tuple[str, bytes], ...]
    threshold: float
    decision_version: int

    @classmethod
    def of(cls, bundle: Bundle) -> "SentBundle":
        """Take a Bundle's files."""
        with temporary_folder() as folder:
            saved = bundle.save(folder / "bundle")
            files = tuple((name, (saved / name).read_bytes()) for name in (DOCUMENT, ESTIMATOR, REFERENCE))
        _keep(bundle)
        return cls(bundle.content_sha256, files, bundle.threshold, bundle.decision_version)

    def load(self) -> Bundle:
        """Return the Bundle under its policy; its files are checked once in each process.

        Raises
        ------
        BundleError
            If they were changed, or this program cannot read them.
        """
        bundle = _loaded.get(self.content_sha256)
        if bundle is None:
            with temporary_folder() as folder:
                _write(folder / "bundle", self.files)
                bundle = Bundle.load(folder / "bundle")
            if bundle.content_sha256 != self.content_sha256:
                raise BundleError(f"the bundle {self.content_sha256[:12]} was changed on its way: its hash differs")
            _keep(bundle)
        return bundle.under_policy(self.threshold, self.decision_version)


def _keep(bundle: Bundle) -> None:
    while len(_loaded) > 1:
        del _loaded[next(iter(_loaded))]
    _loaded[bundle.content_sha256] = bundle


def _write(folder: Path, files: tuple[tuple[str, bytes], ...]) -> None:
    folder.mkdir()
    for name, data in files:
        (folder / name).write_bytes(data)
