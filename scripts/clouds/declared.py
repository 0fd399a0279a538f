"""Types of a provider's resources, from its npm package `@cdktf/provider-*`."""

import re
from collections.abc import Iterable, Iterator, Mapping

META = {"count", "depends_on", "for_each", "lifecycle", "provider"}
"""Arguments of Terraform itself, which every resource has."""
INTERFACE = re.compile(r"^export interface (\w+) .*?\{$(.*?)^\}$", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"#(\w+) \w+#\1\}(?:(?!readonly).)*readonly \w+(\??): (.*?);$", re.MULTILINE | re.DOTALL)


def arguments(declaration: str) -> dict[str, bool]:
    """Return the path of each argument and block of a resource, and whether it is required.

    Parameters
    ----------
    declaration
        Text of the resource's `index.d.ts`.
    """
    interfaces: Mapping[str, str] = dict(INTERFACE.findall(declaration))
    root = next(name for name in interfaces if name.endswith("Config") and "extends" in declaration)
    return dict(_paths(interfaces, root, ""))


def _paths(interfaces: Mapping[str, str], name: str, path: str) -> Iterator[tuple[str, bool]]:
    for argument, optional, kind in FIELD.findall(interfaces[name]):
        yield path + argument, not optional
        for inner in set(re.findall(r"\w+", kind)) & interfaces.keys() - {name}:
            yield from _paths(interfaces, inner, f"{path}{argument}.")


def problems(declared: Mapping[str, bool], used: Iterable[str]) -> Iterator[str]:
    """Yield a line for each argument that does not exist, and for each required one that is missing.

    >>> list(problems({"name": True, "disk": False, "disk.size": True}, ["disk", "disk.kind"]))
    ['disk.kind does not exist', 'name is missing', 'disk.size is missing']
    """
    used = {path for path in used if path.partition(".")[0] not in META}
    yield from (f"{path} does not exist" for path in sorted(used - declared.keys()))
    for path, required in declared.items():
        block = path.rpartition(".")[0]
        if required and path not in used and (not block or block in used):
            yield f"{path} is missing"


def has_attribute(declaration: str, name: str) -> bool:
    """Return whether a resource, or a block of it, can be asked for an attribute such as `secret_arn`."""
    camel = re.sub(r"_(\w)", lambda match: match[1].upper(), name)
    return re.search(rf"^    get {camel}\(\)", declaration, re.MULTILINE) is not None
