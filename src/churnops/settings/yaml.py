"""YAML of settings, for the file and for variables: the core schema of YAML 1.2.

PyYAML follows YAML 1.1, which reads `2:13:20` as 8000, `010` as 8 and `yes` as true. Here `2:13:20` and `yes` are text.
A number with a leading zero is ambiguous, and refused.
"""

import re
from typing import Any

import yaml

from churnops.limits import MAX_MERGED, MAX_NESTED

_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TAG = "tag:yaml.org,2002:"


class Loader(yaml.SafeLoader):
    """Reads the core schema of YAML 1.2 and merge keys; refuses a repeated key.

    >>> yaml.load("[0x1F, 1e3, 2:13:20, 1_000, yes, 2024-01-01, true, ~]", Loader)
    [31, 1000.0, '2:13:20', '1_000', 'yes', '2024-01-01', True, None]
    """

    def fetch_flow_collection_start(self, token_class: Any) -> None:
        """Begin a list or mapping in brackets; limit the depth, because PyYAML's time grows with its square."""
        if self.flow_level >= MAX_NESTED:
            raise yaml.scanner.ScannerError(None, None, f"nested deeper than {MAX_NESTED}", self.get_mark())
        super().fetch_flow_collection_start(token_class)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping, and refuse a repeated key."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key.value}' is given twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge the keys of the mappings after `<<` into this mapping, which may have at most `MAX_MERGED` keys."""
        super().flatten_mapping(node)
        if len(node.value) > MAX_MERGED:
            raise yaml.constructor.ConstructorError(None, None, f"more than {MAX_MERGED} keys", node.start_mark)

    def _number(self, node: yaml.ScalarNode) -> int | float:
        text = node.value
        if re.fullmatch(r"[-+]?0[0-9]+", text):
            problem = "a number begins with 0, which is ambiguous: remove the 0, or put text in quotes"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        if _INTEGER.fullmatch(text):
            return int(text, 0) if text[:2] in ("0x", "0o") else int(text)
        if _FLOAT.fullmatch(text):
            return float(text)
        if _INFINITE.fullmatch(text):
            return float(text.lower().replace(".", ""))
        raise yaml.constructor.ConstructorError(None, None, "a value is not a number", node.start_mark)

    def _boolean(self, node: yaml.ScalarNode) -> bool:
        if (text := str(node.value).lower()) not in ("true", "false"):
            raise yaml.constructor.ConstructorError(None, None, "a value is not a boolean", node.start_mark)
        return text == "true"


Loader.yaml_implicit_resolvers = {}  # without the resolvers of YAML 1.1
for _name, _pattern, _first in (
    ("bool", re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    ("int", _INTEGER, "-+0123456789"),
    ("float", re.compile(f"{_FLOAT.pattern}|{_INFINITE.pattern}"), "-+.0123456789"),
    ("merge", re.compile(r"<<"), "<"),
    ("null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""]),
):
    # PyYAML calls `match`, which ignores the rest of a text, so the pattern ends with `\Z`.
    Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"(?:{_pattern.pattern})\\Z"), list(_first))
Loader.add_constructor(f"{_TAG}int", Loader._number)
Loader.add_constructor(f"{_TAG}float", Loader._number)
Loader.add_constructor(f"{_TAG}bool", Loader._boolean)


def read_yaml(text: str) -> Any:
    """Read one document.

    Raises
    ------
    yaml.YAMLError
        If the text is not YAML, a key is repeated, or a number begins with 0.
    ValueError
        If a number has too many digits.
    RecursionError
        If a list or mapping is nested too deeply.
    """
    return yaml.load(text, Loader=Loader)  # noqa: S506  (a SafeLoader)
