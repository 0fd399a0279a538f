"""Count the habits that make a text hard to read, as docs/style.md describes them.

    python -m scripts.prose              # the counts; fails if one is above its limit
    python -m scripts.prose src/churnops/journal --list    # one line for each place

Counted over the docstrings and comments of `src`, `benchmarks` and `scripts`; names of
tests over `tests`.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("src", "benchmarks", "scripts")
WORD = re.compile(r"[A-Za-z']+")
CODE = re.compile(r"`[^`]*`")
RELATIVE = re.compile(r"\bwhat(ever)?\b", re.IGNORECASE)
SAYING = re.compile(r"\b(say|says|said|saying|(?<!cannot )tell|tells|told|telling)\b", re.IGNORECASE)
FRAGMENT = re.compile(r"(Of|What|Whom|Who|Whose|By|For|As|How|Which|Where)\b")
VAGUE_NAMES = frozenset(("found", "told", "said", "aside", "mine", "most", "become", "spells", "worth", "asked"))
LONGEST_TEST_NAME = 64
PER_THOUSAND = {"what": 2.0, "say/tell": 1.0}
NONE_ALLOWED = ("docs that begin with a fragment", "vague names", "long test names")


@dataclass(frozen=True)
class Place:
    """One line that counts against a rule."""

    rule: str
    path: Path
    line: int
    text: str


def texts(tree: ast.Module, source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each docstring, attribute docstring and comment."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and (text := _text(node)):
            yield node.lineno, text
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def places(path: Path) -> Iterator[Place]:
    """Yield each place of a source file that counts against a rule."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    for line, text in texts(tree, source):
        prose = CODE.sub("", text)
        for rule, pattern in (("what", RELATIVE), ("say/tell", SAYING)):
            for match in pattern.finditer(prose):
                around = prose[max(0, match.start() - 40) : match.end() + 40]
                yield Place(rule, path, line, " ".join(around.split()))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and FRAGMENT.match(text := _text(node) or ""):
            yield Place(NONE_ALLOWED[0], path, node.lineno, text)
        line, name = _name_given(node)
        if name.strip("_").lower() in VAGUE_NAMES:
            yield Place(NONE_ALLOWED[1], path, line, name)


def test_names(path: Path) -> Iterator[Place]:
    """Yield each test whose name is too long to read."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        line, name = _name_given(node)
        if name.startswith("test_") and len(name) > LONGEST_TEST_NAME:
            yield Place(NONE_ALLOWED[2], path, line, name)


def words(path: Path) -> int:
    """Count the words of a file's docstrings and comments."""
    source = path.read_text(encoding="utf-8")
    return sum(len(WORD.findall(text)) for _, text in texts(ast.parse(source), source))


def _text(node: ast.AST) -> str | None:
    """Return the text of a statement that is a string: a docstring or an attribute's."""
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return text
    return None


def _name_given(node: ast.AST) -> tuple[int, str]:
    """Return line and name of a definition, a parameter or an assignment."""
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return node.lineno, node.name
        case ast.arg():
            return node.lineno, node.arg
        case ast.Name(ctx=ast.Store()):
            return node.lineno, node.id
    return 0, ""


def main() -> int:
    """Print the counts, and return 1 if one is above its limit."""
    parser = argparse.ArgumentParser(description="Count the habits that docs/style.md asks to avoid.")
    parser.add_argument("paths", nargs="*", type=Path, help="files or folders; all of them if none")
    parser.add_argument("--list", action="store_true", help="print each place")
    options = parser.parse_args()
    files = _python_files(options.paths or [Path(folder) for folder in (*FOLDERS, "tests")])
    prose = [path for path in files if "tests" not in path.parts]
    all_places = [place for path in prose for place in places(path)]
    all_places += [place for path in files if "tests" in path.parts for place in test_names(path)]
    if options.list:
        for place in all_places:
            print(f"{place.path}:{place.line}: {place.rule}: {place.text.splitlines()[0]}")
    total = max(1, sum(words(path) for path in prose))
    failed = False
    for rule in (*PER_THOUSAND, *NONE_ALLOWED):
        count = sum(place.rule == rule for place in all_places)
        rate, limit = 1000 * count / total, PER_THOUSAND.get(rule, 0)
        above = rate > limit
        failed |= above
        shown = f"{rate:.1f} in 1,000 words (limit {limit:g})" if rule in PER_THOUSAND else f"{count} (limit 0)"
        print(f"{'above' if above else 'fine '}  {rule}: {shown}")
    return int(failed)


def _python_files(paths: list[Path]) -> list[Path]:
    return sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))


if __name__ == "__main__":
    sys.exit(main())
