"""Licences of the locked packages: `python -m scripts.licences` lists them, and fails if one is not allowed.

A licence comes from the metadata of the installed package. `READ` has those of packages without such metadata, and of
packages for other platforms.
"""

import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).parents[1]
LOCK, DEV_LOCK = REPOSITORY / "requirements.txt", REPOSITORY / "requirements-dev.txt"
TOOLS = "tools of tests and benchmarks, which no user installs"

SHORT_NAMES = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "BSD License": "BSD-3-Clause",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""SPDX name of each licence that older metadata spells otherwise."""

READ = {
    "huey": "MIT",
    "pywin32": "PSF-2.0",
    "skops": "MIT",
    "tzdata": "Apache-2.0",
    "waitress": "ZPL-2.1",
    "xgboost": "Apache-2.0",
}
"""Licences that packages declare only in their files, and those of packages for other platforms."""

ALLOWED = {
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "PSF-2.0",
    "ZPL-2.1",
    "Zlib",
}
"""Permissive licences, and MPL-2.0, whose terms hold for its own files only."""

LGPL = {"psycopg": "LGPL-3.0-only", "psycopg-binary": "LGPL-3.0-only"}
"""The driver for PostgreSQL: churnops imports it, and changes nothing in it."""


@dataclass(frozen=True)
class Package:
    """A line of a lock file. `hashes` are the SHA-256 of its files, each in 64 hexadecimal digits."""

    name: str
    version: str
    hashes: tuple[str, ...]


def locked(lock: Path = LOCK) -> list[Package]:
    """Return the packages of a lock file, for every platform, sorted by name."""
    entries = re.split(r"^(?=[a-z0-9])", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    packages = []
    for entry in entries:
        requirement = Requirement(entry.partition("\\")[0])
        version = str(requirement.specifier).removeprefix("==")
        packages.append(Package(requirement.name, version, tuple(re.findall(r"sha256:([0-9a-f]{64})", entry))))
    return sorted(packages, key=lambda package: package.name)


def licence(name: str) -> str:
    """Return the SPDX expression of a package's licence; as declared if it has no such name.

    Raises
    ------
    LookupError
        If neither the metadata nor `READ` has it.
    """
    if name in READ:
        return READ[name]
    try:
        metadata = distribution(name).metadata
    except PackageNotFoundError:
        raise LookupError(f"{name} is not installed: add its licence to READ") from None
    if expression := metadata.get("License-Expression"):
        return str(expression)
    classifiers = [line.split(" :: ") for line in metadata.get_all("Classifier", [])]
    declared = [parts[-1] for parts in classifiers if parts[0] == "License" and len(parts) > 2]
    text = metadata.get("License") or ""
    if not declared and text and "\n" not in text:
        declared = [text]
    if not declared:
        raise LookupError(f"{name} declares no licence: read its files, and add it to READ")
    return " AND ".join(SHORT_NAMES.get(one, one) for one in declared)


def objection(name: str, expression: str) -> str | None:
    """Return why a package may not be a dependency; None if it may.

    >>> objection("adder", "MIT AND (Apache-2.0 WITH LLVM-exception)")
    >>> objection("adder", "MIT AND GPL-3.0-only")
    'adder: GPL-3.0-only is neither permissive nor MPL-2.0'
    """
    if LGPL.get(name) == expression:
        return None
    plain = re.sub(r" WITH [\w.-]+", "", expression)
    for one in re.split(r" AND | OR ", plain.replace("(", "").replace(")", "")):
        if one not in ALLOWED:
            return f"{name}: {one} is neither permissive nor MPL-2.0"
    return None


def needs(name: str, extra: str = "") -> list[Requirement]:
    """Return the requirements of an installed package and one of its extras, on this platform."""
    try:
        requirements = [Requirement(text) for text in distribution(name).requires or ()]
    except PackageNotFoundError:
        return []
    return [r for r in requirements if applies(r, extra)]


def applies(requirement: Requirement, extra: str = "") -> bool:
    """Return whether a requirement holds on this platform."""
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def closure(requirements: Iterable[Requirement]) -> set[str]:
    """Return the names of requirements, of their requirements, and so on."""
    seen: set[tuple[str, str]] = set()
    queue = list(requirements)
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        for extra in {"", *requirement.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            queue += needs(name, extra)
    return {name for name, _ in seen}


def declared() -> dict[str, list[Requirement]]:
    """Return the requirements of `pyproject.toml` on this platform: of the core, each extra, and the build."""
    document = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    lists = {"core": document["project"]["dependencies"], **document["project"]["optional-dependencies"]}
    lists["build"] = document["dependency-groups"]["build"]
    return {group: [r for r in map(Requirement, texts) if applies(r)] for group, texts in lists.items()}


def groups() -> dict[str, set[str]]:
    """Return the names of the locked packages: of the core, of each extra, of other platforms, and of the tools."""
    names = {group: closure(requirements) for group, requirements in declared().items()}
    runtime = {package.name for package in locked()}
    tools = {package.name for package in locked(DEV_LOCK)} - runtime
    core = names.pop("core") & runtime
    extras = {group: members & runtime - core for group, members in names.items()}
    others = runtime - core.union(*extras.values())
    return {"core": core, **extras, "other platforms": others, TOOLS: tools}


def main() -> int:
    """Print the licences of each group; return 1 if one is not allowed, else 0."""
    problems = []
    for group, names in groups().items():
        print(f"\n{group}: {len(names)} packages")
        by_licence = defaultdict(list)
        for name in sorted(names):
            try:
                expression = licence(name)
                problem = objection(name, expression)
            except LookupError as error:
                expression, problem = "unknown", str(error)
            by_licence[expression].append(name)
            if problem and group != TOOLS:
                problems.append(problem)
        for expression, members in sorted(by_licence.items()):
            print(f"  {expression}: {', '.join(members)}")
    print(*problems, sep="\n", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
