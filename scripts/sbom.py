"""Write the software bill of materials of a lock file, in CycloneDX 1.6: `python -m scripts.sbom [LOCK]`.

The same lock gives the same bytes, so the document has no time and no serial number.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from scripts.licences import LOCK, Package, declared, licence, locked, needs

import churnops


def document(lock: Path = LOCK) -> dict[str, Any]:
    """Return the packages of a lock file with licences, hashes and what they need.

    Packages for other platforms than this one have no list of their needs.
    """
    packages = locked(lock)
    references = {package.name: purl(package.name, package.version) for package in packages}
    direct = [requirement for group in declared().values() for requirement in group]
    product = {
        "type": "application",
        "bom-ref": purl("churnops", churnops.__version__),
        "name": "churnops",
        "version": churnops.__version__,
        "licenses": [{"expression": "Apache-2.0"}],
        "purl": purl("churnops", churnops.__version__),
    }
    dependencies = {product["bom-ref"]: _among(direct, references)}
    extras = {requirement.name: requirement.extras for requirement in direct}
    for name, reference in references.items():
        requirements = [r for extra in ("", *extras.get(name, ())) for r in needs(name, extra)]
        dependencies[reference] = _among(requirements, references)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": product},
        "components": [_component(package) for package in packages],
        "dependencies": [{"ref": reference, "dependsOn": needed} for reference, needed in dependencies.items()],
    }


def _component(package: Package) -> dict[str, Any]:
    reference = purl(package.name, package.version)
    hashes = [{"alg": "SHA-256", "content": one} for one in package.hashes]
    files = {"type": "distribution", "url": reference, "comment": "pip accepts one of these files", "hashes": hashes}
    return {
        "type": "library",
        "bom-ref": reference,
        "name": package.name,
        "version": package.version,
        "licenses": [{"expression": licence(package.name)}],
        "purl": reference,
        "externalReferences": [files],
    }


def _among(requirements: Iterable[Requirement], references: Mapping[str, str]) -> list[str]:
    """Return the references of the requirements that are locked."""
    names = {canonicalize_name(requirement.name) for requirement in requirements}
    return [reference for name, reference in references.items() if name in names]


def purl(name: str, version: str) -> str:
    """Return the package URL of a package of the Python index.

    >>> purl("numpy", "2.4.6")
    'pkg:pypi/numpy@2.4.6'
    """
    return f"pkg:pypi/{name}@{version}"


if __name__ == "__main__":
    print(json.dumps(document(Path(sys.argv[1]) if sys.argv[1:] else LOCK), indent=1))
